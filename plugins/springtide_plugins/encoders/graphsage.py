"""GraphSAGE: a node's own level and the message from its neighbours, each times its own matrix."""

from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import Edges, Encoder
from springtide_plugins.encoders.dense import dense


class GraphSAGE(Encoder):
    """A node's own level and the message from its sampled neighbours, each times its own matrix, added, then a ReLU.

    Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", algorithm 1, in the additive form. The
    last layer has no ReLU, so that components of vectors may be negative.

    Args:
        width: Width of every level.
        num_layers: Number of layers.
        aggregator: Combines the levels of neighbours.
        fanout: Neighbours drawn for each node in each layer of a training step; None for all of them, as in
            inference.
    """

    default_aggregator = "mean"

    def __init__(self, width: int, num_layers: int, aggregator: Aggregation, fanout: PositiveInt | None = 25) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        self.of_neighbours = nn.ModuleList(dense(width, width) for _ in range(num_layers))
        self.of_self = nn.ModuleList(dense(width, width, has_bias=False) for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        message = edges.aggregate(sources, self.aggregators[depth])
        updated: Tensor = self.of_neighbours[depth](message) + self.of_self[depth](targets)
        return updated if depth == self.num_layers - 1 else updated.relu()
