"""Message passing neural networks: a message network and an update network."""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import Edges, Encoder, Schema
from springtide_plugins.encoders.dense import dense
from springtide_plugins.encoders.edge_terms import EdgeTerm
from springtide_plugins.encoders.gates import remembering_gru


class MPNN(Encoder):
    """A message network on both nodes and the edge, and an update network on the node and its aggregated message.

    Gilmer et al. 2017, "Neural Message Passing for Quantum Chemistry", eqs. 1 and 2. The message network has a hidden
    layer, ``W_out relu(W_source h_source + W_target h_target + edge + b)``. No matrix is multiplied for each edge: the
    nodes' parts are multiplied once for each node, then gathered; and ``W_out`` comes after the aggregator, which gives
    the same for sums and means, since they are linear.

    Args:
        width: Width of every level, and of the hidden layer.
        num_layers: Number of layers.
        aggregator: Combines the messages.
        schema: Schema, whose relations are the types of edges.
        update: ``gru`` as in the paper, which keeps most of a node's own level at first; or ``mlp``, which adds the
            result of a network with one hidden layer to the node's level.
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
        update: Literal["gru", "mlp"] = "gru",
        fanout: PositiveInt | None = 15,
    ) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        make_update = remembering_gru if update == "gru" else _MLPUpdate
        self.of_source = nn.ModuleList(dense(width, width) for _ in range(num_layers))
        self.of_target = nn.ModuleList(dense(width, width, has_bias=False) for _ in range(num_layers))
        self.of_edge = nn.ModuleList(EdgeTerm(width, schema) for _ in range(num_layers))
        self.out = nn.ModuleList(dense(width, width, has_bias=False) for _ in range(num_layers))
        self.updates = nn.ModuleList(make_update(width) for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        hidden = (
            self.of_source[depth](sources).index_select(0, edges.source)
            + self.of_target[depth](targets).index_select(0, edges.target)
            + self.of_edge[depth](edges)
        ).relu()  # [num_edges, d]
        message = self.out[depth](edges.combine(hidden, self.aggregators[depth]))
        updated: Tensor = self.updates[depth](message, targets)
        return updated


class _MLPUpdate(nn.Module):
    """Adds the result of a network with one hidden layer, on the level and the message, to the level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = dense(2 * width, width)
        self.out = dense(width, width)

    def forward(self, message: Tensor, level: Tensor) -> Tensor:
        """Return float32 ``[n, d]``; message and level have this shape too."""
        added: Tensor = self.out(self.hidden(torch.cat([level, message], dim=-1)).relu())
        return level + added
