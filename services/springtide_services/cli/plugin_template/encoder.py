"""An encoder that moves each node towards the message of its neighbours."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import Edges, Encoder, EncoderFactory
from springtide.plugins.hookspecs import hookimpl


class MyPart(Encoder):
    """Each layer is a weighted mean of a node's vector and its neighbours' message.

    Args:
        width: Width of the vectors of every layer.
        num_layers: Number of layers.
        aggregator: Reduces the neighbours' messages to one.
        pull: Weight of the message, above 0 and at most 1.
    """

    def __init__(
        self, width: int, num_layers: int, aggregator: Aggregation, pull: Annotated[float, Field(gt=0, le=1)] = 0.5
    ) -> None:
        super().__init__(width, num_layers, aggregator)
        self.pull = pull
        self.linear = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Pass messages once: ``sources`` ``[num_sources, d]`` to ``targets`` ``[num_targets, d]``."""
        message: Tensor = self.linear[depth](edges.aggregate(sources, self.aggregators[depth]))
        return (1 - self.pull) * targets + self.pull * message


@hookimpl
def register_encoders(register: Callable[[str, EncoderFactory], None]) -> None:
    """Register the encoder."""
    register("my_part", MyPart)
