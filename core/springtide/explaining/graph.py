"""An explanation as a graph for networkx: the user, what carries the item, and the item."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from springtide.v1 import recommender_pb2 as pb

if TYPE_CHECKING:
    import networkx as nx


def to_networkx(response: pb.ExplainResponse, user: str) -> "nx.DiGraph":
    """Return the paths of an explanation as one graph, from the user to the item.

    Every node has ``kind`` (``user``, ``item``, ``people``, ``value``, or the type of another node) and ``label``, and
    every edge ``share``: how much of the paths' weight goes over it. A node of people has ``num_people``,
    ``num_recent_people`` and ``is_lower_bound``; an item that the user had ``influence``, if it is known.

    Args:
        response: The answer to ``Explain``.
        user: The user; empty for nobody known.

    Raises:
        ModuleNotFoundError: If networkx is not installed.
    """
    import networkx as nx  # Slow to import.

    graph = nx.DiGraph()
    source, target = f"user:{user}", f"item:{response.item}"
    graph.add_node(source, kind="user", label=user or "the user")
    graph.add_node(target, kind="item", label=response.item, rank=response.rank, score=response.score)
    influences = {event.item: event.influence for event in response.events}
    for number, path in enumerate(response.paths):
        way = [source]
        for node in path.nodes[:-1]:
            name = f"{node.type}:{node.id}"
            graph.add_node(name, kind=node.type, label=node.id)
            if node.type == path.nodes[-1].type and node.id in influences:
                graph.nodes[name]["influence"] = influences[node.id]
            way.append(name)
        if path.num_people:
            name = f"people:{number}"
            graph.add_node(
                name,
                kind="people",
                label=people_label(path),
                num_people=path.num_people,
                num_recent_people=path.num_recent_people,
                is_lower_bound=path.is_lower_bound,
            )
            way.append(name)
        if path.attribute:
            name = f"value:{path.attribute}={path.value}"
            graph.add_node(name, kind="value", label=f"{path.attribute}\n{path.value}")
            way.append(name)
        way.append(target)
        for start, end in itertools.pairwise(way):
            share = graph.edges[start, end]["share"] if graph.has_edge(start, end) else 0.0
            graph.add_edge(start, end, share=share + path.share, kind=path.kind, relation=path.relation)
    return graph


def write_graphml(response: pb.ExplainResponse, user: str, path: Path) -> None:
    """Write ``to_networkx`` as GraphML.

    Raises:
        OSError: If the file cannot be written.
        ModuleNotFoundError: If networkx is not installed.
    """
    import networkx as nx

    nx.write_graphml(to_networkx(response, user), path)


def people_label(path: pb.Path) -> str:
    """Return the people of a path in a few words, in two lines if some had the item lately."""
    at_least = "≥ " if path.is_lower_bound else ""
    people = f"{at_least}{path.num_people:,} {'person' if path.num_people == 1 else 'people'}"
    return f"{people}\n{path.num_recent_people:,} in 7 days" if path.num_recent_people else people
