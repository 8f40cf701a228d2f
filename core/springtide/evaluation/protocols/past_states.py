"""Past states: graph and context weights as they were at a moment, and the events that followed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.edges import EdgeType, EdgeView
from springtide.graph.live import LiveGraph
from springtide.graph.view import GraphView
from springtide.interactions import Observed
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_grouped_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.graph import slice_of

_MIN_MS = np.iinfo(np.int64).min


def state_of_past(state: LiveState, view: GraphView, before_ms: int, settings: Settings, plugins: Plugins) -> LiveState:
    """Return a state with the edges strictly before a moment; its context weights have learned from those alone.

    It shares the nodes of ``state``, so rows are the same, and it must not change them. Nodes that were added later are
    there too, without edges. Attributes are the latest, not those of the moment.

    Args:
        state: The present state; nobody may write to it.
        view: View of its graph.
        before_ms: The moment, milliseconds since the epoch.
        settings: Graph bounds and context weights.
        plugins: Plugins that offer the context weights.
    """
    item_type = state.rules.item_type
    weights = make_grouped_weights(settings.ranking, plugins, view.nodes(item_type), view.num_nodes(item_type))
    past = LiveState(settings, weights)
    nodes = {node_type: view.nodes(node_type) for node_type in view.node_types}
    past.graph = LiveGraph(past.graph.max_edges, past.graph.max_age_ms, nodes)
    past.rules = state.rules
    past.circumstances.restore(state.circumstances.snapshot())  # Edges hold codes of this table.
    PastEvents(state, view).apply(past, None, before_ms)
    return past


class PastEvents:
    """The edges of a graph in order of time, to be applied to a past state of it.

    Args:
        state: The present state.
        view: View of its graph.

    Attributes:
        interactions: The positive interactions, in order of time.
    """

    def __init__(self, state: LiveState, view: GraphView) -> None:
        self.interactions = state.positive_interactions(view)
        self._edges = [_SortedEdges.of(edge_type, view.edges(edge_type)) for edge_type in view.edge_types]

    def interactions_before(self, until_ms: int) -> Observed:
        """Return the positive interactions strictly before a moment."""
        return slice_of(self.interactions, 0, int(np.searchsorted(self.interactions.timestamps_ms, until_ms)))

    def apply(self, past: LiveState, from_ms: int | None, until_ms: int) -> None:
        """Apply the events with ``from_ms <= time < until_ms`` to a state: edges of all types, and context weights.

        Args:
            past: The state to change; it has the same nodes.
            from_ms: First moment that is applied; None for the beginning.
            until_ms: First moment that is not applied.
        """
        bounds = np.array([_MIN_MS if from_ms is None else from_ms, until_ms])
        with past.graph.one_change():
            for edges in self._edges:
                start, stop = np.searchsorted(edges.timestamps_ms, bounds).tolist()
                if start < stop:
                    edges.append_to(past.graph, slice(start, stop))
        start, stop = np.searchsorted(self.interactions.timestamps_ms, bounds).tolist()
        if start < stop:
            observed = slice_of(self.interactions, start, stop)
            for weight in past.context_weights.values():
                weight.observe(observed)
        past.num_events += stop - start


@dataclass(frozen=True, slots=True)
class _SortedEdges:
    """Edges of one type in order of time; columns as in ``EdgeView``."""

    edge_type: EdgeType
    source: npt.NDArray[np.int32]
    target: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, edge_type: EdgeType, edges: EdgeView) -> "_SortedEdges":
        order = np.argsort(edges.timestamps_ms, kind="stable")
        return cls(
            edge_type,
            edges.source[order],
            edges.target[order],
            edges.timestamps_ms[order],
            edges.weights[order],
            None if edges.features is None else edges.features[order],
        )

    def append_to(self, graph: LiveGraph, rows: slice) -> None:
        features = None if self.features is None else self.features[rows]
        graph.append(
            self.edge_type,
            self.source[rows],
            self.target[rows],
            self.timestamps_ms[rows],
            self.weights[rows],
            None if features is None or np.isnan(features).all() else features,
        )
