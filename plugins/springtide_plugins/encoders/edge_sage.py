"""E-GraphSAGE: GraphSAGE with messages from the neighbour and the edge."""

from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import Edges, Encoder, Schema
from springtide_plugins.encoders.dense import dense
from springtide_plugins.encoders.edge_terms import EdgeTerm


class EdgeSAGE(Encoder):
    """GraphSAGE whose messages come from the neighbour and from the edge: its type, strength and age.

    Lo et al. 2022, "E-GraphSAGE: A Graph Neural Network based Intrusion Detection System for IoT", algorithm 1, with
    messages as in its authors' code: ``W_message [source ‖ edge]``, aggregated, then a ReLU of
    ``W_apply [self ‖ message]``. The last layer has no ReLU, so that components of vectors may be negative. Each matrix
    is split into its blocks, one for each of the concatenated vectors, whose products are added.

    Args:
        width: Width of every level.
        num_layers: Number of layers.
        aggregator: Combines the messages.
        schema: Schema, whose relations are the types of edges.
        fanout: Neighbours drawn for each node in each layer of a training step; None for all of them.
    """

    is_relational = True
    default_aggregator = "mean"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregator: Aggregation,
        schema: Schema,
        fanout: PositiveInt | None = 15,
    ) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        self.of_source = nn.ModuleList(dense(width, width, has_bias=False) for _ in range(num_layers))
        self.of_edge = nn.ModuleList(EdgeTerm(width, schema) for _ in range(num_layers))
        self.of_neighbours = nn.ModuleList(dense(width, width) for _ in range(num_layers))
        self.of_self = nn.ModuleList(dense(width, width, has_bias=False) for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        messages = self.of_source[depth](sources).index_select(0, edges.source) + self.of_edge[depth](edges)
        message = edges.combine(messages, self.aggregators[depth])
        updated: Tensor = self.of_neighbours[depth](message) + self.of_self[depth](targets)
        return updated if depth == self.num_layers - 1 else updated.relu()
