"""The `recommend` command: items for a user, or for each user of a file."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.asking import Asking, Count, ExcludeSeen, asks_server
from springtide_services.cli.durations import Duration
from springtide_services.cli.options import Recent


@asks_server()
def recommend(
    asking: Asking,
    user: Annotated[
        str | None, typer.Argument(help="The user's id; '' with --recent for a user without an id.")
    ] = None,
    count: Count = None,
    recent: Recent = None,
    exclude_seen: ExcludeSeen = None,
    only: Annotated[list[str] | None, typer.Option(help="Category filter, ATTRIBUTE=VALUE; may be repeated.")] = None,
    booster: Annotated[
        str, typer.Option(help="Expression that multiplies each item's odds, such as '2 if promo else 1'.")
    ] = "",
    diversity: Annotated[float | None, typer.Option(help="How much the items shall differ, 0 to 1.")] = None,
    diversity_attribute: Annotated[str, typer.Option(help="In which attribute; by default their vectors.")] = "",
    max_per: Annotated[
        list[str] | None, typer.Option(help="At most so many with one value: brand=3; may be repeated.")
    ] = None,
    rotation_rate: Annotated[
        float | None, typer.Option(help="How far items sink that were shown and ignored, 0 to 1.")
    ] = None,
    rotation_time: Annotated[
        timedelta | None, typer.Option(parser=Duration(), help="After how long they are back, such as 12h.")
    ] = None,
    exploration: Annotated[
        float | None, typer.Option(help="Share of the places for uncertain or new items, 0 to 1.")
    ] = None,
    min_relevance: Annotated[
        float | None, typer.Option(help="Leave out items whose cosine is below this, -1 to 1.")
    ] = None,
    reranker: Annotated[str, typer.Option(help="Plugin that orders the best items.")] = "",
    page_token: Annotated[str, typer.Option(help="The page after the one that gave this token.")] = "",
    pages: Annotated[int, typer.Option(min=1, help="How many pages to show.")] = 1,
    batch: Annotated[
        str, typer.Option(help="File with a user's id a line, '-' for standard input: prints a line of JSON for each.")
    ] = "",
) -> None:
    """Ask the running server for items for a user, or for each user of a file."""
    from springtide.v1 import recommender_pb2 as pb
    from springtide_services.cli.answer_tables import category_filters, most_per, show_pages

    request = pb.RecommendRequest(
        recent_items=recent or (),
        exclude_seen=exclude_seen or (),
        category_filters=category_filters(only or ()),
        booster=booster,
        diversity=diversity,
        diversity_attribute=diversity_attribute,
        max_per=most_per(max_per or ()),
        rotation_rate=rotation_rate,
        exploration=exploration,
        min_relevance=min_relevance,
        reranker=reranker,
        page_token=page_token,
        view=pb.RECOMMEND_VIEW_BASIC if batch else pb.RECOMMEND_VIEW_FULL,
    )
    if rotation_time is not None:
        request.rotation_time.FromTimedelta(rotation_time)
    asking.fill(request, count)
    if (user is None) == (not batch):
        raise typer.BadParameter("wanted a USER, or --batch FILE")
    with asking.client() as client:
        if user is not None:
            request.user = user
            show_pages(client, request, pages, as_json=asking.as_json)
            return
        from springtide_services.cli.list_tables import print_batch

        print_batch(client, _users_in(batch), request)


def _users_in(path: str) -> Iterator[str]:
    """Yield the ids in a file, one a line; blank lines are none."""
    try:
        with sys.stdin if path == "-" else Path(path).open(encoding="utf-8") as lines:
            for line in lines:
                if user := line.strip("\r\n"):
                    yield user
    except OSError as error:
        raise typer.BadParameter(f"--batch: {path} cannot be read: {error.strerror}") from error
