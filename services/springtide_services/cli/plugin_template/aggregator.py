"""An aggregator between the mean and the maximum."""

from collections.abc import Callable

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import AggregatorFactory
from springtide.plugins.hookspecs import hookimpl


class MyPart(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """A smooth maximum of the messages: ``t · log(mean(exp(message / t)))``, in each dimension.

    Args:
        temperature: ``t``; near 0, the result is the maximum; far above the messages, it is the mean.
    """

    def __init__(self, temperature: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        """Reduce messages ``x`` ``[num_edges, d]`` to one per target ``[num_targets, d]``; 0 where none came."""
        greatest = self.reduce(x, index, ptr, dim_size, dim, reduce="max").detach()  # So that exp cannot overflow.
        exponentials = ((x - greatest[index]) / self.temperature).exp()
        mean = self.reduce(exponentials, index, ptr, dim_size, dim, reduce="mean")
        smooth: Tensor = greatest + self.temperature * mean.clamp(min=1e-12).log()
        return torch.where(mean > 0, smooth, 0.0)


@hookimpl
def register_aggregators(register: Callable[[str, AggregatorFactory], None]) -> None:
    """Register the aggregator."""
    register("my_part", MyPart)
