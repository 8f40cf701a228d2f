"""Training graphs of one node type and one edge type, such as road segments."""

from collections.abc import Sequence

import numpy as np

from springtide.errors import TrainingError
from springtide.graph.edges import EdgeType
from springtide.graph.view import GraphView
from springtide.interactions import Observed
from springtide.model.attributes import Attributes, NumberScale
from springtide.model.vector_scale import VectorScale
from springtide.plugins.contracts import Schema
from springtide.training.dislikes import Dislikes
from springtide.training.graph import Nodes, TrainingGraph
from springtide.training.message_edges import Ratings, pair_edges
from springtide.training.passed_over import PassedOver


def homogeneous_graph(
    view: GraphView,
    edge_type: EdgeType,
    labels: Sequence[tuple[str, str]] = (),
    half_life_days: float | None = None,
) -> TrainingGraph:
    """Return the graph of one edge type between nodes of one type, such as road segments that lead to each other.

    It is for encoders that are not relational: each pair of nodes with an edge has one in each direction.

    Args:
        view: The graph that nodes and edges are read from.
        edge_type: The edge type; its source and target type are the same.
        labels: (node type, attribute) of attributes that are predicted: these are no inputs.
        half_life_days: How fast an edge fades with its age; None for never.

    Raises:
        TrainingError: If the source and target type differ.
    """
    node_type, _, target_type = edge_type
    if node_type != target_type:
        raise TrainingError(f"wanted edges between nodes of one type, got {edge_type}")
    hidden = [attribute for labelled, attribute in labels if labelled == node_type]
    table, count, edges = view.nodes(node_type), view.num_nodes(node_type), view.edges(edge_type)
    nodes = Nodes(
        view,
        Schema((node_type,)),
        counts={node_type: count},
        starts={node_type: 0},
        item_type=node_type,
        attributes={node_type: Attributes.of(table, count, (), hidden)},
        scales={node_type: NumberScale.of(table, count, hidden)},
        vectors={node_type: VectorScale.of(table, count, hidden)},
    )
    order = np.argsort(edges.timestamps_ms, kind="stable")
    in_order = Observed(edges.source[order], edges.target[order], edges.timestamps_ms[order], edges.weights[order])
    pairs, strengths = pair_edges(in_order, 0, 0, count, view.newest_ms or 0, half_life_days)
    return TrainingGraph(nodes, in_order, strengths, Ratings.none(), Dislikes.none(), PassedOver.none(), pairs)
