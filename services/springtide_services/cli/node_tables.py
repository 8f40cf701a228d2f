"""Nodes of a running server's graph, as tables or JSON."""

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from springtide.v1 import inspection_pb2 as pb
from springtide_services.cli.answer_tables import attribute_words
from springtide_services.cli.list_tables import print_json
from springtide_services.terminal import console

if TYPE_CHECKING:
    from springtide_services.cli.connection import Operators

_BAR_LETTERS = 40
_MOST_BARS = 14


def print_found(operators: "Operators", request: pb.SearchNodesRequest, *, as_json: bool) -> None:
    """Search for nodes, and print them.

    Raises:
        ServerCallError: If there is no answer, or an error.
    """
    with operators.client() as client:
        response: pb.SearchNodesResponse = client.inspect(request)
    if as_json:
        print_json(response)
        return
    table = _table("id", "name", "interactions", "latest")
    for node in response.nodes:
        table.add_row(Text(node.id), Text(_name(node)), f"{node.num_interactions:,}", _latest(node))
    console().print(table if table.row_count else f"no {request.type} has {request.text!r} in its id or name")
    if response.has_more:
        console().print("there are more: --count, or a longer text")


def print_node(operators: "Operators", request: pb.GetNodeRequest, *, as_json: bool) -> None:
    """Ask for a node, and print it.

    Raises:
        ServerCallError: If there is no answer, or an error.
    """
    with operators.client() as client:
        response: pb.GetNodeResponse = client.inspect(request)
    if as_json:
        print_json(response)
        return
    node, show = response.node, console().print
    first = f", known since {_time(response.first_time)}" if response.HasField("first_time") else ""
    show(Text(f"{node.type} {node.id}" + (f": {_name(node)}" if _name(node) else "")))
    show(f"{node.num_interactions:,} interactions{f', the latest at {_latest(node)}' if _latest(node) else ''}{first}")
    rows = [(name, attribute_words(value)) for name, value in sorted(response.attributes.items())]
    rows += [(f"edges {name}", f"{count:,}") for name, count in sorted(response.num_edges.items())]
    if rows:
        facts = _table("", "", has_header=False)
        for name, words in rows:
            facts.add_row(Text(name), Text(words))
        show(facts)
    if response.interactions:
        latest = _table("time", "interaction", "with", "name", "weight", "context")
        for each in response.interactions:
            context = ", ".join(f"{key} {value}" for key, value in sorted(each.context.items()))
            cells = (f"{each.other.type} {each.other.id}", _name(each.other), f"{each.weight:g}", context)
            latest.add_row(_time(each.event_time), Text(each.type), *map(Text, cells))
        show(latest)
    if len(response.counts) > 1:
        days = response.days_per_count
        show(f"interactions by {'day' if days == 1 else f'{days} days'}, the latest of {len(response.counts):,} spans")
        bars, latest_counts = _table("", "", "", has_header=False), response.counts[-_MOST_BARS:]
        most = max(span.count for span in latest_counts)
        for span in latest_counts:
            bar = "█" * max(1, round(_BAR_LETTERS * span.count / most))
            bars.add_row(span.start_time.ToDatetime().strftime("%Y-%m-%d"), f"{span.count:,}", bar)
        show(bars)


def _table(*columns: str, has_header: bool = True) -> Table:
    table = Table(box=None, pad_edge=False, show_header=has_header)
    for name in columns:
        is_number = name in ("interactions", "weight")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    return table


def _name(node: pb.NodeSummary) -> str:
    return "" if node.name == node.id else node.name


def _latest(node: pb.NodeSummary) -> str:
    return _time(node.latest_time) if node.HasField("latest_time") else ""


def _time(time: Timestamp) -> str:
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M")
