"""Encoders: from a node's neighbours to its vector."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn import Aggregation, SumAggregation

from springtide.plugins.contracts import Encoder
from springtide.plugins.edges import Edges


class LightGCN(Encoder):
    """Neighbours' levels, normalised and summed, nothing else; a node's vector is the mean of its levels.

    He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", eqs. 3 and 4.
    With an aggregator other than ``sum`` the messages are not normalised by degree.
    """

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Pass messages once; see the contract for shapes."""
        weight = edges.symmetric_weight() if type(self.aggregators[depth]) is SumAggregation else None
        return edges.aggregate(sources, self.aggregators[depth], weight)

    def readout(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the mean of the levels."""
        return torch.stack(tuple(levels)).mean(0)


class GraphSAGE(Encoder):
    """A node's own level and its sampled neighbours', each through a matrix of its own, added, through a ReLU.

    Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", algorithm 1, in the additive form: the
    neighbours' messages are reduced to one, multiplied by a learnable matrix, added to the node's own message times
    another, and passed through a ReLU; the last layer has none, so that vectors may point anywhere.

    Args:
        width: Width of every level.
        num_layers: How many times messages are passed.
        aggregator: Reduces the messages to one.
        fanout: Neighbours sampled for each node in each layer of a training step; all when vectors are made.
    """

    def __init__(self, width: int, num_layers: int, aggregator: Aggregation, fanout: int = 25) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        self.of_neighbours = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))
        self.of_self = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Pass messages once; see the contract for shapes."""
        message = edges.aggregate(sources, self.aggregators[depth])
        updated: Tensor = self.of_neighbours[depth](message) + self.of_self[depth](targets)
        return updated if depth == self.num_layers - 1 else updated.relu()
