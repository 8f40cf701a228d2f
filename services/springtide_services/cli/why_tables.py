"""The `explain` command: one request, and the answer as tables, a picture or a graph."""

import importlib.util
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from springtide.errors import SettingsError
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.answer_tables import foot
from springtide_services.cli.season_plot import check_matplotlib
from springtide_services.serving.client import Client, Credentials
from springtide_services.terminal import console

_SHOWN = 5  # Events, and neighbours of each side.


Answer = Callable[[pb.ExplainRequest], pb.ExplainResponse]


def ask_why(
    answer: Answer,
    *,
    user: str,
    item: str,
    at: datetime | None,
    place: str,
    weather: str,
    recent_items: Sequence[str],
    as_json: bool,
    max_paths: int = 5,
    time_limit_ms: float = 1_000.0,
    count: int = 20,
    language: str = "",
    png: Path | None = None,
    graphml: Path | None = None,
) -> None:
    """Ask why an item has its rank, and print the answer; draw it, if a PNG file is named.

    Args:
        answer: Answers the request: ``by_server``, or ``why_offline.by_checkpoint``.
        user: The user's id.
        item: The item's id.
        at: The moment; None for the one of the clock.
        place: The place.
        weather: The weather.
        recent_items: Items just touched.
        as_json: Whether to print the response as JSON.
        max_paths: Most paths.
        time_limit_ms: Time for paths, influence and what would change it.
        count: The counterfactual is about the first so many items.
        language: Language of the reasons.
        png: A PNG file to draw.
        graphml: A GraphML file to write.

    Raises:
        ServerCallError: If there is no answer, or an error.
        SettingsError: If a file cannot be written, or matplotlib or networkx is missing.
    """
    if png is not None:
        check_matplotlib()
    if graphml is not None and importlib.util.find_spec("networkx") is None:
        raise SettingsError("--graphml needs networkx: pip install 'springtide[train]'")
    request = pb.ExplainRequest(
        user=user,
        item=item,
        recent_items=recent_items,
        context=pb.Context(place=place, weather=weather),
        max_paths=max_paths,
        count=count,
        language=language,
    )
    request.time_limit.FromMicroseconds(round(1_000 * time_limit_ms))
    if at is not None:
        request.context.event_time.FromDatetime(at if at.tzinfo is None else at.astimezone(UTC))
    response = answer(request)
    if png is not None:
        from springtide_services.cli.explain_plot import draw

        draw(response, user, png)
    if graphml is not None:
        _write_graphml(response, user, graphml)
    if as_json:
        from google.protobuf.json_format import MessageToJson  # Slow to import.

        console().print_json(MessageToJson(response))
        return
    console().print(Text(response.reason or response.sentence or "nothing speaks for it"))
    console().print(why_table(response))
    if response.paths:
        console().print(Text("paths in the graph" + " (there was no time for more)" * response.is_cut))
        console().print(paths_table(response))
    for title, table in influence_tables(response):
        console().print(Text(title))
        console().print(table)
    if response.HasField("counterfactual"):
        console().print(Text(counterfactual_words(response.counterfactual)))
    console().print(foot(response))


def by_server(address: str, credentials: Credentials | None = None) -> Answer:
    """Return what asks the server at an address."""

    def answer(request: pb.ExplainRequest) -> pb.ExplainResponse:
        with Client(address, credentials=credentials) as client:
            return client.explain(request)

    return answer


def _write_graphml(response: pb.ExplainResponse, user: str, path: Path) -> None:
    from springtide.explaining.graph import write_graphml

    try:
        write_graphml(response, user, path)
    except OSError as error:
        raise SettingsError(f"--graphml: {path} cannot be written: {error}") from error


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
    table = Table(box=None, pad_edge=False)
    for name in ("share", "people", "last 7 days"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("through")
    for path in response.paths:
        at_least = "≥ " if path.is_lower_bound else ""
        counts = [f"{at_least}{count:,}" if count else "" for count in (path.num_people, path.num_recent_people)]
        table.add_row(f"{path.share:.0%}", *counts, Text(path_words(path)))
    return table


def influence_tables(response: pb.ExplainResponse) -> list[tuple[str, Table]]:
    """Return tables of what the user's own events and the neighbours add, the largest of each, with their titles."""
    tables = []
    if response.events:
        table = Table(box=None, pad_edge=False)
        for event in response.events[:_SHOWN]:
            at = f"{event.event_time.ToDatetime():%Y-%m-%d %H:%M}"
            table.add_row(f"{event.influence:+.3f}", Text(event.item), Text(event.relation), at)
        tables.append(("what the user's own events add to the score", table))
    for side in ("user", "item"):
        of_side = [each for each in response.neighbours if each.side == side][:_SHOWN]
        if of_side:
            table = Table(box=None, pad_edge=False)
            for each in of_side:
                attention = f"attention {each.attention:.0%}" if each.HasField("attention") else ""
                table.add_row(f"{each.influence:+.3f}", Text(f"{each.node.type} {each.node.id}"), attention)
            tables.append((f"what neighbours of the {side} add to the cosine", table))
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
