"""Gated graph neural networks: neighbours' messages update a node's state by a gate."""

from pydantic import PositiveInt
from torch import Tensor
from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import Edges, Encoder
from springtide_plugins.encoders.dense import dense
from springtide_plugins.encoders.gates import remembering_gru


class GGNN(Encoder):
    """Neighbours' messages update a node's state by a gate; the same in every layer, as a recurrent network has it.

    Li et al. 2016, "Gated Graph Sequence Neural Networks", eqs. 2 to 6, for edges of one type; PyG's
    ``GatedGraphConv``, which wants the whole square graph, gives the same on one if its layers share their matrix.
    The gate keeps most of a node's own level at first.

    Args:
        width: Width of every level.
        num_layers: How many times messages are passed. An aggregator that learns has parameters for each layer.
        aggregator: Combines the messages.
        fanout: Neighbours drawn for each node in each layer of a training step; None for all of them.
    """

    default_aggregator = "mean"

    def __init__(self, width: int, num_layers: int, aggregator: Aggregation, fanout: PositiveInt | None = None) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        self.message = dense(width, width, has_bias=False)
        self.gate = remembering_gru(width)

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Pass messages once; see the contract for shapes."""
        combined = edges.aggregate(self.message(sources), self.aggregators[depth])
        updated: Tensor = self.gate(combined, targets)
        return updated
