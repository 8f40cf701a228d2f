"""The `recommend` and `explain` commands: one request, and the answer as a table."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from springtide.clock import MS_PER_SECOND
from springtide.errors import InvalidRequestError
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.client import Client, Credentials
from springtide_services.terminal import console

_PERSONALIZATIONS = {
    pb.PERSONALIZATION_LEARNED: "from what the model learned of the user",
    pb.PERSONALIZATION_FOLDED_IN: "folded in live: the model has not seen this user",
    pb.PERSONALIZATION_CONTEXT_ONLY: "nothing is known of this user: ranked by the context alone",
    pb.PERSONALIZATION_FALLBACK: "no model yet: ranked by the fallback",
}
_SOURCES = {
    pb.MOMENT_SOURCE_GIVEN: "as asked",
    pb.MOMENT_SOURCE_WALL: "now",
    pb.MOMENT_SOURCE_STREAM: "the stream's time",
}
_SHOWN = 5  # Events, and neighbours of each side.


def ask(
    address: str,
    *,
    user: str,
    count: int,
    at: datetime | None,
    place: str,
    weather: str,
    recent_items: Sequence[str],
    exclude_seen: Sequence[str],
    only: Sequence[str],
    as_json: bool,
    credentials: Credentials | None = None,
) -> None:
    """Ask the server and print the answer.

    Raises:
        ServerCallError: If there is no answer, or an error.
        InvalidRequestError: If an entry of ``only`` is not of the form ATTRIBUTE=VALUE.
    """
    request = pb.RecommendRequest(
        user=user,
        count=count,
        recent_items=recent_items,
        exclude_seen=exclude_seen,
        category_filters=_filters(only),
        context=pb.Context(place=place, weather=weather),
        view=pb.RECOMMEND_VIEW_FULL,
    )
    if at is not None:
        request.context.event_time.FromDatetime(at if at.tzinfo is None else at.astimezone(UTC))
    with Client(address, credentials=credentials) as client:
        response = client.recommend(request)
    if as_json:
        from google.protobuf.json_format import MessageToJson  # Slow to import.

        console().print_json(MessageToJson(response))
        return
    console().print(
        answer_table(response) if response.items else "no items: nothing passes the filters, or is known yet"
    )
    console().print(foot(response))


def ask_why(
    address: str,
    *,
    user: str,
    item: str,
    at: datetime | None,
    place: str,
    weather: str,
    recent_items: Sequence[str],
    as_json: bool,
    credentials: Credentials | None = None,
) -> None:
    """Ask the server why an item has its rank, and print the answer.

    Raises:
        ServerCallError: If there is no answer, or an error.
    """
    request = pb.ExplainRequest(
        user=user, item=item, recent_items=recent_items, context=pb.Context(place=place, weather=weather)
    )
    if at is not None:
        request.context.event_time.FromDatetime(at if at.tzinfo is None else at.astimezone(UTC))
    with Client(address, credentials=credentials) as client:
        response = client.explain(request)
    if as_json:
        from google.protobuf.json_format import MessageToJson  # Slow to import.

        console().print_json(MessageToJson(response))
        return
    console().print(Text(response.sentence or "nothing speaks for it"))
    console().print(why_table(response))
    if response.paths:
        console().print(paths_table(response))
    for table in influence_tables(response):
        console().print(table)
    if response.HasField("counterfactual"):
        console().print(Text(counterfactual_words(response.counterfactual)))
    console().print(foot(response))


def as_of_words(as_of_ms: int, source: pb.MomentSource) -> str:
    """Return which moment an answer speaks of, in words; empty for a server that does not say it."""
    if source not in _SOURCES:
        return ""
    return f"as of {datetime.fromtimestamp(as_of_ms / MS_PER_SECOND, UTC):%Y-%m-%d %H:%M} UTC, {_SOURCES[source]}"


def foot(response: pb.RecommendResponse | pb.ExplainResponse) -> str:
    """Return what ranked, what it knows of the user, and which moment the answer speaks of, in lines."""
    lines = (_served_words(response), as_of_words(response.as_of_ms, response.as_of_source))
    return "\n".join(filter(None, lines))


def _served_words(response: pb.RecommendResponse | pb.ExplainResponse) -> str:
    """Return what ranked, and what it knows of the user, in words."""
    if response.model_version and response.personalization == pb.PERSONALIZATION_FALLBACK:
        return f"model {response.model_version}; ranked by this baseline"
    words = _PERSONALIZATIONS.get(response.personalization, "unknown")
    return f"model {response.model_version or 'none'}; {words}"


def why_table(response: pb.ExplainResponse) -> Table:
    """Return a table of all terms of one item's score: lift, exponent and resulting weight."""
    table = Table(box=None, pad_edge=False, title=f"rank {response.rank:,}, score {response.score:z.2f}")
    table.title_justify = "left"
    table.add_column("")
    for name in ("lift", "exponent", "weight"):
        table.add_column(name, justify="right", no_wrap=True)
    cosine, exponent = response.cosine, response.cosine_exponent
    table.add_row(f"cosine {cosine:z.2f}", "", f"{exponent:.2f}", f"×{math.exp(cosine * exponent):.2f}")
    for weight in response.weights:
        table.add_row(Text(weight.name), "", "", f"×{weight.weight:.2f}")
        for factor in weight.factors:
            numbers = (f"{factor.lift:.2f}×", f"{factor.exponent:.2f}", f"×{factor.weight:.2f}")
            table.add_row(Text(f"  {factor.name}"), *numbers, style="dim")
    return table


def paths_table(response: pb.ExplainResponse) -> Table:
    """Return a table of the paths that carry an explained item."""
    title = "paths in the graph" + (" (there was no time for more)" if response.is_cut else "")
    table = Table(box=None, pad_edge=False, title=title)
    table.title_justify = "left"
    for name in ("share", "people", "last 7 days"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("through")
    for path in response.paths:
        at_least = "≥ " if path.is_lower_bound else ""
        counts = [f"{at_least}{count:,}" if count else "" for count in (path.num_people, path.num_recent_people)]
        table.add_row(f"{path.share:.0%}", *counts, Text(path_words(path)))
    return table


def influence_tables(response: pb.ExplainResponse) -> list[Table]:
    """Return tables of what the user's own events and the neighbours add, the largest of each."""
    tables = []
    if response.events:
        table = Table(box=None, pad_edge=False, title="what the user's own events add to the score")
        table.title_justify = "left"
        for event in response.events[:_SHOWN]:
            at = f"{event.event_time.ToDatetime():%Y-%m-%d %H:%M}"
            table.add_row(f"{event.influence:+.3f}", Text(event.item), Text(event.relation), at)
        tables.append(table)
    for side in ("user", "item"):
        of_side = [each for each in response.neighbours if each.side == side][:_SHOWN]
        if of_side:
            table = Table(box=None, pad_edge=False, title=f"what neighbours of the {side} add to the cosine")
            table.title_justify = "left"
            for each in of_side:
                attention = f"attention {each.attention:.0%}" if each.HasField("attention") else ""
                table.add_row(f"{each.influence:+.3f}", Text(f"{each.node.type} {each.node.id}"), attention)
            tables.append(table)
    return tables


def counterfactual_words(found: pb.Counterfactual) -> str:
    """Return without which items the explained one would not be among the first."""
    rank = f"its rank would be {found.rank:,}" if found.rank else "it would not be in the answer"
    smallest = "" if found.is_smallest else " (perhaps fewer would do)"
    return f"had the user not had {', '.join(found.items)}, {rank}{smallest}"


def path_words(path: pb.Path) -> str:
    """Return what a path goes through, in a few words."""
    first = path.nodes[0].id
    if path.kind == "own":
        return f"had on {path.num_own:,} {'day' if path.num_own == 1 else 'days'}"
    if path.kind == "attribute":
        return f"{path.attribute} = {path.value}, as {path.num_own:,} of the user's items, such as {first}"
    if path.kind == "relation":
        return path.relation if len(path.nodes) == 1 else f"{path.relation}, {path.nodes[0].type} {first}"
    return f"people who had {first}"


def answer_table(
    response: pb.RecommendResponse, titles: Mapping[str, str] | None = None, former: Sequence[str] | None = None
) -> Table:
    """Return a table of the items of an answer, with the cosine of every item, and each context weight that it gives.

    Args:
        response: The answer.
        titles: Readable names by item id; items without one are shown by their id.
        former: The items of an earlier answer, best first; a column then shows each item's rank in it.
    """
    columns = sorted(enumerate(response.weight_names), key=lambda column: column[1])
    table = Table(box=None, pad_edge=False)
    former_ranks = {item_id: str(rank) for rank, item_id in enumerate(former or (), start=1)}
    was = [] if former is None else ["was"]
    rows: list[tuple[str | Text, ...]] = [
        (
            str(rank),
            *(former_ranks.get(item.item, "-") for _ in was),
            Text((titles or {}).get(item.item, item.item), no_wrap=True, overflow="ellipsis"),
            f"{item.score:z.2f}",
            f"{item.cosine:z.2f}",
            *(f"×{item.weights[column]:.2f}" for column, _ in columns),
        )
        for rank, item in enumerate(response.items, start=1)
    ]
    for name in ("", *was, "item", "score", "cosine", *(name for _, name in columns)):
        # A narrow terminal shortens the columns that may wrap: the items alone, whose text then ends in "…".
        is_item = name == "item"
        table.add_column(name, justify="left" if is_item else "right", no_wrap=not is_item)
    for row in rows:
        table.add_row(*row)
    return table


def _filters(only: Sequence[str]) -> list[pb.CategoryFilter]:
    filters: dict[str, pb.CategoryFilter] = {}
    for entry in only:
        attribute, equals, value = entry.partition("=")
        if not (attribute and equals and value):
            raise InvalidRequestError("--only", f"wanted ATTRIBUTE=VALUE, got {entry!r}")
        filters.setdefault(attribute, pb.CategoryFilter(attribute=attribute)).values.append(value)
    return list(filters.values())
