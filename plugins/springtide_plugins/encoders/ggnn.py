"""Gated graph neural networks: the message from neighbours updates a node's level through a GRU."""

from pydantic import PositiveInt
from torch import Tensor
from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import Edges, Encoder
from springtide_plugins.encoders.dense import dense
from springtide_plugins.encoders.gates import remembering_gru


class GGNN(Encoder):
    """The message from neighbours updates a node's level through a GRU; all layers share their parameters.

    Li et al. 2016, "Gated Graph Sequence Neural Networks", eqs. 2 to 6, for edges of one type. On a whole square graph
    PyG's ``GatedGraphConv`` gives the same if its layers share their matrix. At first the gate keeps most of a node's
    own level.

    Args:
        width: Width of every level.
        num_layers: Number of layers. An aggregator with parameters has its own in each layer.
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
        """Apply one layer; see the contract for shapes."""
        combined = edges.aggregate(self.message(sources), self.aggregators[depth])
        updated: Tensor = self.gate(combined, targets)
        return updated
