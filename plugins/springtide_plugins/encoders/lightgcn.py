"""LightGCN: normalised sums of the levels of neighbours, without parameters."""

from collections.abc import Sequence

from pydantic import PositiveInt
from torch import Tensor
from torch_geometric.nn import Aggregation, SumAggregation

from springtide.plugins.contracts import Edges, Encoder


class LightGCN(Encoder):
    """Normalised sums of the levels of neighbours, without parameters; a node's vector is the mean of its levels.

    He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", eqs. 3 and 4.
    With an aggregator other than ``sum`` the messages are not normalised by degree.

    Args:
        width: Width of every level.
        num_layers: Number of layers.
        aggregator: Combines the levels of neighbours.
        fanout: Neighbours drawn for each node in each layer of a training step; None for all of them.
    """

    default_aggregator = "sum"

    def __init__(self, width: int, num_layers: int, aggregator: Aggregation, fanout: PositiveInt | None = None) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        weight = edges.symmetric_weight() if type(self.aggregators[depth]) is SumAggregation else None
        return edges.aggregate(sources, self.aggregators[depth], weight)

    def readout(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the mean of the levels."""
        # One after the other, into the same memory: to stack them first takes six times as long, and as much once more.
        if len(levels) == 1:
            return levels[0]
        total = levels[0] + levels[1]
        for level in levels[2:]:
            total += level
        return total.div_(len(levels))
