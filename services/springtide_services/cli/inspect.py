"""The commands that look into the graph of a running server: `search` for nodes, `inspect` for one of them."""

from typing import Annotated

import typer

from springtide_services.cli.connection import Operators, asks_operators
from springtide_services.cli.options import AsJson

NodeType = Annotated[str, typer.Argument(help="The node type, such as user or item.", metavar="TYPE")]


@asks_operators
def search(
    operators: Operators,
    type_: NodeType,
    text: Annotated[str, typer.Argument(help="Part of an id or a name. Without it: the most interactions.")] = "",
    count: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find nodes of the running server's graph by id or name. It shows who is there: role `explain`."""
    from springtide.v1 import inspection_pb2 as pb
    from springtide_services.cli.node_tables import print_found

    print_found(operators, pb.SearchNodesRequest(type=type_, text=text, page_size=count), as_json=as_json)


@asks_operators
def inspect(
    operators: Operators,
    type_: NodeType,
    node_id: Annotated[str, typer.Argument(help="The node's id.", metavar="ID")],
    count: Annotated[int, typer.Option(min=1, max=1_000, help="How many of its latest interactions.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show a node of the running server's graph: attributes, latest interactions, edges. Role `explain`."""
    from springtide.v1 import inspection_pb2 as pb
    from springtide_services.cli.node_tables import print_node

    print_node(operators, pb.GetNodeRequest(type=type_, id=node_id, max_interactions=count), as_json=as_json)
