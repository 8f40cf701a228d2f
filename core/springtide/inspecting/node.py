"""One node: its attributes, its latest interactions, how many it had over time, and its edges by type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.edges import EdgeArrays, EdgeType
from springtide.graph.latest_edges import latest_edges
from springtide.graph.tombstones import NEVER_MS
from springtide.inspecting.summaries import Inspected, NodeSummary
from springtide.ranking.attribute_values import attributes_of
from springtide.ranking.query import AttributeValue

MOST_COUNTED = 200_000
"""Interactions of one node that are looked at, the latest of each type: they lie apart in memory, and take 20 ms."""

MOST_SPANS = 400
_SPANS_DAYS = (1, 7, 28, 91, 364)
_MONDAY = 3  # Day 0, 1970-01-01, was a Thursday: weeks begin on Mondays.


@dataclass(frozen=True, slots=True)
class NodeInteraction:
    """An interaction of a node with another one.

    Attributes:
        other: The other node.
        relation: Type of the interaction, such as ``purchase``.
        timestamp_ms: When it happened.
        weight: Its weight in the graph.
        context: Where and how it happened, as far as the graph keeps it.
    """

    other: NodeSummary
    relation: str
    timestamp_ms: int
    weight: float
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CountsInTime:
    """How many interactions there were over time.

    Attributes:
        starts_ms: int64 ``[n]``, when each span with an interaction begins, ascending.
        counts: int64 ``[n]``.
        days: How long each span is.
        num_counted: How many interactions were counted: the latest ones.
    """

    starts_ms: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    days: int
    num_counted: int


@dataclass(frozen=True, slots=True)
class NodeDetails:
    """A node.

    Attributes:
        summary: The node in short.
        attributes: Its attributes by name.
        interactions: Its latest interactions, the latest first.
        counts: How many interactions it had over time.
        num_edges: How many edges it has, by type.
        first_ms: The first event of it that the graph knows of; None if unknown.
    """

    summary: NodeSummary
    attributes: Mapping[str, AttributeValue]
    interactions: Sequence[NodeInteraction]
    counts: CountsInTime
    num_edges: Mapping[EdgeType, int]
    first_ms: int | None


def node_details(
    inspected: Inspected, circumstances: CircumstanceTable, node_type: str, row: int, max_interactions: int
) -> NodeDetails | None:
    """Return all that the graph knows of a node; None if it is gone.

    Args:
        inspected: The graph.
        circumstances: What is kept with interactions.
        node_type: Its type.
        row: The node.
        max_interactions: Most interactions to return, 1 to ``MOST_COUNTED``.
    """
    nodes = inspected.view.nodes(node_type)
    summary = inspected.summaries(node_type, [row]).get(row)
    if summary is None:
        return None
    sides = inspected.interactions(node_type)
    latest = {
        (edge_type, is_source): latest_edges(inspected.view.edges(edge_type), row, MOST_COUNTED, is_source=is_source)
        for edge_type, is_source in sides
    }
    num_edges: dict[EdgeType, int] = {}
    for edge_type, is_source in inspected.sides(node_type):
        if count := inspected.num_edges(edge_type, row, is_source=is_source):
            num_edges[edge_type] = num_edges.get(edge_type, 0) + count
    first_ms = nodes.lifetimes.first_ms(row)
    [attributes] = attributes_of(nodes, np.array([row], np.int32), sorted(nodes.kinds), is_lenient=True)
    times = np.concatenate([edges[2] for edges in latest.values()] or [np.empty(0, np.int64)])
    return NodeDetails(
        summary,
        attributes,
        _interactions(inspected, circumstances, latest, max_interactions),
        counts_in_time(times),
        num_edges,
        None if first_ms == NEVER_MS else first_ms,
    )


def counts_in_time(timestamps_ms: npt.NDArray[np.int64]) -> CountsInTime:
    """Return how many of some times, int64 ``[n]``, lie on each day; or in longer spans, if these were over 400.

    Longer spans begin on Mondays, UTC.
    """
    days = timestamps_ms // MS_PER_DAY
    for span in _SPANS_DAYS:
        shift = 0 if span == 1 else _MONDAY
        starts, counts = np.unique((days + shift) // span * span - shift, return_counts=True)
        if len(starts) <= MOST_SPANS:
            break
    return CountsInTime(starts * MS_PER_DAY, counts.astype(np.int64), span, len(timestamps_ms))


def _interactions(
    inspected: Inspected,
    circumstances: CircumstanceTable,
    latest: Mapping[tuple[EdgeType, bool], EdgeArrays],
    count: int,
) -> list[NodeInteraction]:
    """Return the latest interactions of all types, the latest first."""
    found: list[NodeInteraction] = []
    for (edge_type, is_source), (sources, targets, times, weights, features) in latest.items():
        kept = circumstances.read(None if features is None else features[:count], sources[:count], None)
        others = (targets if is_source else sources)[:count].tolist()
        summaries = inspected.summaries(edge_type[2] if is_source else edge_type[0], list(dict.fromkeys(others)))
        for at, other in enumerate(others):
            if other in summaries:
                context = {key: each.values[each.codes[at]] for key, each in kept.items() if each.codes[at] >= 0}
                found.append(
                    NodeInteraction(summaries[other], edge_type[1], int(times[at]), float(weights[at]), context)
                )
    return sorted(found, key=lambda each: -each.timestamp_ms)[:count]
