"""What one stream has made so far: the graph, what the context weights learned, and the position that they are at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.errors import EventRefusedError
from springtide.events.model import EventBatch, NodeUpsert
from springtide.graph.applying import USER, apply_events
from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.edges import EdgeType, EdgeView
from springtide.graph.live import LiveGraph
from springtide.graph.nodes import AttributesSnapshot
from springtide.graph.view import GraphView
from springtide.interactions import Observed
from springtide.settings.model import Settings

if TYPE_CHECKING:
    from springtide.plugins.contracts import ContextWeight  # It imports torch, which readers of a state need not load.


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """How far the stream has been read.

    Attributes:
        topic: Name of the topic.
        topic_id: The broker's id for it, which a topic that is made anew does not share; empty if unknown.
        next_offsets: For each partition, the offset that comes next.
    """

    topic: str
    topic_id: str
    next_offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class EdgesSnapshot:
    """Edges of one type, and the lineage that tells whether an earlier state is a prefix of them."""

    edge_type: EdgeType
    lineage: str
    edges: EdgeView


@dataclass(frozen=True, slots=True)
class NodesSnapshot:
    """Nodes of one type: ids in row order with their lineage, and attributes."""

    node_type: str
    ids_lineage: str
    ids: list[str]
    attributes: AttributesSnapshot


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """A state as it was between two batches; another thread may write it while the stream goes on.

    Attributes:
        version: The graph's version.
        position: Where the stream was, or None if it was not read from one.
        num_events: Interactions applied ever.
        newest_ms: The newest event time of an edge, or None.
        num_forgotten: Nodes forgotten ever.
        edges: By edge type, in order.
        nodes: By node type, in order.
        context_weights: What each learned, as arrays by name.
        circumstances: Keys and values of what is kept with interactions.
    """

    version: int
    position: StreamPosition | None
    num_events: int
    newest_ms: int | None
    num_forgotten: int
    edges: tuple[EdgesSnapshot, ...]
    nodes: tuple[NodesSnapshot, ...]
    context_weights: dict[str, dict[str, npt.NDArray[np.generic]]]
    circumstances: dict[str, Any] = field(default_factory=dict)


class LiveState:
    """What one stream has made so far. One thread applies events; any thread may read views of the graph.

    Args:
        settings: Gives the interaction rules and the graph's bounds.
        context_weights: They learn from each positive interaction.

    Attributes:
        graph: The live graph.
        rules: The interaction rules.
        context_weights: By name.
        circumstances: Those that the context weights look at, which are kept with interactions.
        position: Where the stream is, or None before it is read from one.
        num_events: Interactions applied ever, those that were forgotten or evicted since included.
    """

    def __init__(self, settings: Settings, context_weights: "Mapping[str, ContextWeight]") -> None:
        max_age_days = settings.graph.max_age_days
        self.graph = LiveGraph(
            settings.graph.max_edges, None if max_age_days is None else max(1, round(max_age_days * MS_PER_DAY))
        )
        self.rules = settings.interaction_rules()
        self.context_weights = dict(context_weights)
        self.circumstances = CircumstanceTable(
            key for weight in context_weights.values() for key in weight.context_keys
        )
        self.position: StreamPosition | None = None
        self.num_events = 0

    def claim_attribute_kinds(self, upsert: NodeUpsert) -> EventRefusedError | None:
        """Return why the upsert cannot be applied, or None if it can, which settles the kinds of its new attributes."""
        try:
            self.graph.nodes(upsert.node_type).claim_kinds(upsert)
        except EventRefusedError as error:
            return error
        return None

    def apply(self, batch: EventBatch) -> None:
        """Apply a batch: deletes, upserts, relations, then interactions; readers see all of it or nothing.

        Raises:
            EventRefusedError: If an upsert is one that ``claim_attribute_kinds`` would have told of.
        """
        observed = apply_events(self.graph, batch, self.rules, self.circumstances)
        if len(observed):
            for weight in self.context_weights.values():
                weight.observe(observed)
        self.num_events += len(batch.interactions)

    def advance(self, next_offsets: Mapping[int, int]) -> None:
        """Note which offsets come next, after what lies before them was applied; other partitions stay where they are.

        Raises:
            ValueError: If the position was never set.
        """
        if self.position is None:
            raise ValueError("wanted a position to advance from: set it when the topic is known")
        position = self.position
        self.position = StreamPosition(position.topic, position.topic_id, {**position.next_offsets, **next_offsets})

    @property
    def next_offsets(self) -> Mapping[int, int]:
        """For each partition, the offset of the first event that has not been applied; empty before the first read."""
        position = self.position
        return {} if position is None else position.next_offsets

    def has_reached(self, next_offsets: Mapping[int, int]) -> bool:
        """Return whether all events before the given offsets, by partition, have been applied."""
        reached = self.next_offsets
        return all(reached.get(partition, 0) >= offset for partition, offset in next_offsets.items())

    def positive_interactions(self, view: GraphView) -> Observed:
        """Return all positive interactions in the view, sorted by time, with their circumstances."""
        views = [view.edges(self.rules.edge_type(relation)) for relation in self.rules.positive_relations]
        times = np.concatenate([edges.timestamps_ms for edges in views] or [np.empty(0, np.int64)])
        order = np.argsort(times, kind="stable")
        if not len(order):
            no_rows = np.empty(0, np.int32)
            return Observed(no_rows, no_rows, times, np.empty(0, np.float32))
        users = np.concatenate([edges.source for edges in views])[order]
        return Observed(
            users,
            np.concatenate([edges.target for edges in views])[order],
            times[order],
            np.concatenate([edges.weights for edges in views])[order],
            self.circumstances.read(_features_of(views, order), users, view.nodes(USER)),
        )

    def snapshot(self) -> StateSnapshot:
        """Return the state as it is, for a checkpoint; called by the thread that applies, between two batches."""
        view = self.graph.view()
        return StateSnapshot(
            version=view.version,
            position=self.position,
            num_events=self.num_events,
            newest_ms=view.newest_ms,
            num_forgotten=self.graph.num_forgotten,
            edges=tuple(
                EdgesSnapshot(edge_type, self.graph.store(edge_type).lineage, view.edges(edge_type))
                for edge_type in view.edge_types
            ),
            nodes=tuple(
                NodesSnapshot(name, table.ids_lineage, table.ids.all_ids(), table.snapshot())
                for name, table in ((name, self.graph.nodes(name)) for name in self.graph.node_types)
            ),
            context_weights={name: weight.state() for name, weight in self.context_weights.items()},
            circumstances=self.circumstances.snapshot(),
        )


def _features_of(views: Sequence[EdgeView], order: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
    """Return the features of edges of several types in an order, float32 ``[n, width]``; None if none is kept."""
    width = max((0 if edges.features is None else edges.features.shape[1]) for edges in views)
    if width <= 1:
        return None
    features = np.full((len(order), width), np.nan, np.float32)
    start = 0
    for edges in views:
        if edges.features is not None:
            features[start : start + len(edges), : edges.features.shape[1]] = edges.features
        start += len(edges)
    return features[order]
