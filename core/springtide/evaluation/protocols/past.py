"""The past of a state: graph and context weights as they were at a moment, and the stream that led on from there."""

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

_BEGINNING_MS = np.iinfo(np.int64).min


def state_of_past(state: LiveState, view: GraphView, before_ms: int, settings: Settings, plugins: Plugins) -> LiveState:
    """Return a state of the same nodes with the edges strictly before a moment; its context weights saw just those.

    Rows are those of ``state``, whose nodes it shares and must not change. Nodes that came later are there too, with
    their attributes and without edges; attributes are the latest of now.

    Args:
        state: What the stream has made so far; nobody may write to it.
        view: Of its graph.
        before_ms: The moment.
        settings: Which context weights there are.
        plugins: Where they come from.
    """
    item_type = state.rules.item_type
    weights = make_grouped_weights(settings.ranking, plugins, view.nodes(item_type), view.num_nodes(item_type))
    past = LiveState(settings, weights)
    nodes = {node_type: view.nodes(node_type) for node_type in view.node_types}
    past.graph = LiveGraph(past.graph.max_edges, past.graph.max_age_ms, nodes)
    past.rules = state.rules
    past.circumstances.restore(state.circumstances.snapshot())  # The codes on the edges are its.
    Stream(state, view).feed(past, None, before_ms)
    return past


class Stream:
    """The edges of a graph in order of time, to be brought into a state of its past.

    Args:
        state: Whose edges they are.
        view: Of its graph.

    Attributes:
        interactions: The positive ones, in order of time.
    """

    def __init__(self, state: LiveState, view: GraphView) -> None:
        self.interactions = state.positive_interactions(view)
        self._edges = [_InOrder.of(edge_type, view.edges(edge_type)) for edge_type in view.edge_types]

    def before(self, until_ms: int) -> Observed:
        """Return the positive interactions strictly before a moment."""
        return slice_of(self.interactions, 0, int(np.searchsorted(self.interactions.timestamps_ms, until_ms)))

    def feed(self, past: LiveState, from_ms: int | None, until_ms: int) -> None:
        """Bring the events of ``from_ms <= time < until_ms`` into a state: edges of all types, and context weights.

        Args:
            past: The state; made of the same nodes.
            from_ms: None for the first event of all.
            until_ms: The first moment that is left out.
        """
        bounds = np.array([_BEGINNING_MS if from_ms is None else from_ms, until_ms])
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
class _InOrder:
    """Edges of one type in order of time; columns as in ``EdgeView``."""

    edge_type: EdgeType
    source: npt.NDArray[np.int32]
    target: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, edge_type: EdgeType, edges: EdgeView) -> "_InOrder":
        order = np.argsort(edges.timestamps_ms, kind="stable")
        return cls(
            edge_type,
            edges.source[order],
            edges.target[order],
            edges.timestamps_ms[order],
            edges.weights[order],
            None if edges.features is None else edges.features[order],
        )

    def append_to(self, graph: LiveGraph, which: slice) -> None:
        features = None if self.features is None else self.features[which]
        graph.append(
            self.edge_type,
            self.source[which],
            self.target[which],
            self.timestamps_ms[which],
            self.weights[which],
            None if features is None or np.isnan(features).all() else features,
        )
