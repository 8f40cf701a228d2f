"""GATv2: the levels of neighbours, weighted by attention."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation, GATv2Conv, SumAggregation

from springtide.errors import SettingsError
from springtide.plugins.contracts import Edges, Encoder
from springtide.plugins.edges import NUM_EDGE_FEATURES


class GATv2(Encoder):
    """The levels of neighbours times a matrix, weighted by attention to both nodes and the edge, plus the node's own.

    Brody et al. 2022, "How Attentive are Graph Attention Networks?", eq. 7, with PyG's ``GATv2Conv``; the attention
    depends on the strength and the age of an edge too. As in Veličković et al. 2018, section 3.3, the heads are
    concatenated, an ELU lies between the layers, and skip connections keep a node's own level.

    The paper's aggregator is ``sum``. Any other one gets messages weighted by attention over the mean attention at
    their target, so that equal attention changes nothing; ``mean`` then gives the same as ``sum``.

    Args:
        width: Width of every level.
        num_layers: Number of layers.
        aggregator: Combines the weighted messages.
        heads: Number of attention heads, each with its share of the width.
        fanout: Neighbours drawn for each node in each layer of a training step; None for all of them.

    Raises:
        SettingsError: If the width is not a multiple of the number of heads.
    """

    default_aggregator = "sum"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregator: Aggregation,
        heads: PositiveInt = 4,
        fanout: PositiveInt | None = 15,
    ) -> None:
        if width % heads:
            raise SettingsError(f"encoder 'gat': wanted a width that its {heads} heads can share, got {width}")
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        self.attentions = nn.ModuleList(_Attention(width, heads) for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        updated: Tensor = self.attentions[depth](sources, targets, edges, self.aggregators[depth])
        return updated if depth == self.num_layers - 1 else nn.functional.elu(updated)


class _Attention(GATv2Conv):  # type: ignore[misc]  # PyG carries no types
    """PyG's attention and messages, for any aggregator, and with ``Edges`` as arguments."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, width // heads, heads, edge_dim=NUM_EDGE_FEATURES, add_self_loops=False, residual=True)

    def forward(self, sources: Tensor, targets: Tensor, edges: Edges, aggregator: Aggregation) -> Tensor:
        """Return float32 ``[num_targets, d]``."""
        shape = (-1, self.heads, self.out_channels)
        ends = (self.lin_l(sources).view(shape), self.lin_r(targets).view(shape))
        edge_index = torch.stack([edges.source, edges.target])
        attention = self.edge_updater(edge_index, x=ends, edge_attr=edges.features())  # [num_edges, heads]
        if type(aggregator) is not SumAggregation:
            attention = attention * edges.pointers.diff()[edges.target].unsqueeze(-1)  # Its mean at a target is 1.
        messages = self.message(ends[0].index_select(0, edges.source), attention).flatten(1)  # [num_edges, d]
        # Attention replaces the weights of the edges, which are among its inputs.
        combined = edges.combine(messages, aggregator, torch.ones_like(edges.weight))
        updated: Tensor = combined + self.res(targets) + self.bias
        return updated
