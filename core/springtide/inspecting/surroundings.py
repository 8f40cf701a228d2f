"""What is around a node: the nodes that its latest edges lead to, step by step, and the edges between all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from springtide.graph.latest_edges import latest_edges
from springtide.inspecting.summaries import Inspected, NodeSummary

MAX_NODES = 400
MAX_EDGES = 4_000

_EDGES_PER_NODE = 50  # Many edges may lead to one node: so many times more are looked at than are followed.
_MOST_LOOKED_AT = 2_000  # Edges from one node and of one type, in search of those that join two of the nodes found.

Place = tuple[str, int]  # Node type and row.


@dataclass(frozen=True, slots=True)
class JoiningEdges:
    """The edges of one relation from one node to another.

    Attributes:
        source: Position of the source among the nodes.
        target: Position of the target.
        relation: The relation, such as ``purchase``.
        count: How many edges they are.
        latest_ms: Event time of the latest one.
    """

    source: int
    target: int
    relation: str
    count: int
    latest_ms: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around a node.

    Attributes:
        nodes: The nodes, the one that was asked for first, then in the order of steps.
        depths: How many steps away each is.
        edges: The edges between them.
        is_cut: Whether there is more than that.
    """

    nodes: Sequence[NodeSummary]
    depths: Sequence[int]
    edges: Sequence[JoiningEdges]
    is_cut: bool


def surroundings_of(
    inspected: Inspected, node_type: str, row: int, max_edges: int, depth: int, is_over: Callable[[], bool]
) -> Surroundings:
    """Return what is around a node: at most 400 nodes.

    Args:
        inspected: The graph.
        node_type: Its type.
        row: The node.
        max_edges: To how many nodes to go from one at most: those that its latest edges lead to.
        depth: How many steps to go.
        is_over: Says whether to give up.

    Raises:
        TimeoutError: If the time is over.
    """
    steps: dict[Place, int] = {(node_type, row): 0}
    edge_of = [(node_type, row)]
    is_cut = False
    for step in range(1, depth + 1):
        new: list[Place] = []
        for place in edge_of:
            if is_over():
                raise TimeoutError("to look around the node took too long")
            others, has_more = _latest_others(inspected, place, max_edges)
            fresh = [other for other in others if other not in steps]
            room = MAX_NODES - len(steps)
            is_cut |= has_more or len(fresh) > room
            for other in fresh[:room]:
                steps[other] = step
                new.append(other)
        edge_of = new
    places = _living(inspected, steps)
    edges, has_more = _edges_between(inspected, {place: at for at, place in enumerate(places)}, is_over)
    return Surroundings(list(places.values()), [steps[place] for place in places], edges, is_cut or has_more)


def _latest_others(inspected: Inspected, place: Place, count: int) -> tuple[list[Place], bool]:
    """Return the nodes that the latest edges of a node lead to, the latest first, and whether there are more."""
    node_type, row = place
    limit, has_more = _EDGES_PER_NODE * count, False
    latest: dict[Place, int] = {}
    for edge_type, is_source in inspected.sides(node_type):
        sources, targets, times, _, _ = latest_edges(inspected.view.edges(edge_type), row, limit, is_source=is_source)
        has_more |= len(times) == limit
        other_type, others = (edge_type[2], targets) if is_source else (edge_type[0], sources)
        for other, time_ms in zip(others.tolist(), times.tolist(), strict=True):
            latest[other_type, other] = max(latest.get((other_type, other), time_ms), time_ms)
    ordered = sorted(latest, key=lambda other: -latest[other])
    return ordered[:count], has_more or len(ordered) > count


def _living(inspected: Inspected, steps: dict[Place, int]) -> dict[Place, NodeSummary]:
    """Return the nodes that were found, in their order, in short; without those that are gone."""
    rows_of: dict[str, list[int]] = {}
    for node_type, row in steps:
        rows_of.setdefault(node_type, []).append(row)
    found = {node_type: inspected.summaries(node_type, rows) for node_type, rows in rows_of.items()}
    return {(name, row): found[name][row] for name, row in steps if row in found[name]}


def _edges_between(
    inspected: Inspected, places: dict[Place, int], is_over: Callable[[], bool]
) -> tuple[list[JoiningEdges], bool]:
    """Return the edges from one of some nodes to another, the latest first, and whether some may be missing."""
    rows_of = {name: np.array([row for each, row in places if each == name], np.int32) for name, _ in places}
    found: list[JoiningEdges] = []
    is_cut = False
    for (node_type, row), position in places.items():
        if is_over():
            raise TimeoutError("to look around the node took too long")
        for edge_type in inspected.view.edge_types:
            if edge_type[0] != node_type or edge_type[2] not in rows_of:
                continue
            edges = inspected.view.edges(edge_type)
            _, targets, times, _, _ = latest_edges(edges, row, _MOST_LOOKED_AT, is_source=True)
            is_cut |= len(times) == _MOST_LOOKED_AT
            is_there = np.isin(targets, rows_of[edge_type[2]])
            rows, first, counts = np.unique(targets[is_there], return_index=True, return_counts=True)
            latest = times[is_there][first]  # The first one is the latest.
            for target, count, time_ms in zip(rows.tolist(), counts.tolist(), latest.tolist(), strict=True):
                found.append(JoiningEdges(position, places[edge_type[2], target], edge_type[1], count, time_ms))
    found.sort(key=lambda each: -each.latest_ms)
    return found[:MAX_EDGES], is_cut or len(found) > MAX_EDGES
