"""GCN: the levels of a node and its neighbours, normalised by degree, times one matrix."""

from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation, SumAggregation

from springtide.plugins.contracts import Edges, Encoder
from springtide_plugins.encoders.dense import dense


class GCN(Encoder):
    """The levels of a node and its neighbours, normalised by degree, times one matrix, then a ReLU.

    Kipf & Welling 2017, "Semi-Supervised Classification with Graph Convolutional Networks", eq. 2: each node is its
    own neighbour too, with an edge of weight 1, so that degrees (sums of weights) are one more. A node's degree is
    that in the whole graph, which a fold-in knows too. On a whole square graph PyG's ``GCNConv`` gives the same.

    With an aggregator other than ``sum``, the node's level and the aggregated message are averaged, weighted by their
    shares of its degree. With ``mean`` this is the normalisation ``D^-1 A``.

    Args:
        width: Width of every level.
        num_layers: Number of layers.
        aggregator: Combines the levels of neighbours.
        fanout: Neighbours drawn for each node in each layer of a training step; None for all of them.
        is_residual: Whether a layer's result is added to a node's level instead of replacing it (appendix B, eq. 14).
            Without, deeper layers lose what was learned about a node's id.
    """

    default_aggregator = "sum"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregator: Aggregation,
        fanout: PositiveInt | None = None,
        is_residual: bool = True,
    ) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        self.is_residual = is_residual
        self.transforms = nn.ModuleList(dense(width, width) for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        updated: Tensor = self.transforms[depth](self._convolved(depth, sources, targets, edges))
        if depth < self.num_layers - 1:  # The last layer has none: components of vectors may be negative.
            updated = updated.relu()
        return targets + updated if self.is_residual else updated

    def _convolved(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        aggregator, degree = self.aggregators[depth], edges.target_degree + 1
        own_share = 1 / degree.unsqueeze(-1)  # [num_targets, 1]
        if type(aggregator) is SumAggregation:
            product = (edges.source_degree[edges.source] + 1) * degree[edges.target]
            return edges.aggregate(sources, aggregator, edges.counted_weight() / product.sqrt()) + own_share * targets
        return (1 - own_share) * edges.aggregate(sources, aggregator) + own_share * targets
