"""The power mean, for messages of either sign."""

import math

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import Aggregation

_TINY = 1e-30  # Float32 reaches down to 1e-38; below, logarithms and powers are not finite.


class PowerMean(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """Power mean of the messages, in each component: the higher the power, the nearer to the maximum.

    Li et al. 2020, "DeeperGCN: All You Need to Train Deeper GCNs", its PowerMean aggregation. A power mean is
    defined for positive numbers; PyG's clamps all others to 0.0001, so that negative messages vanish. Here each
    component goes through softplus, ``log(1 + e^x)``, first, and the mean back through its inverse. So no message is
    lost, the result lies between the minimum and the maximum, equal messages give that message, and no slope is
    infinite, as that of ``sign(x) |x|^p`` is at 0.

    Args:
        width: Width of the messages.
        power: Exponent ``p``; the initial value if learned.
        is_learned: Whether it is learned, separately for each component (as its logarithm, so that it stays above 0).
    """

    def __init__(self, width: int, power: PositiveFloat = 2.0, is_learned: bool = True) -> None:
        super().__init__()
        self.initial_power = power
        self.log_power: Tensor
        if is_learned:
            self.log_power = nn.Parameter(torch.empty(width))
        else:
            self.register_buffer("log_power", torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial parameters."""
        nn.init.constant_(self.log_power, math.log(self.initial_power))

    def forward(
        self, x: Tensor, index: Tensor, ptr: Tensor | None = None, dim_size: int | None = None, dim: int = -2
    ) -> Tensor:
        """Combine float32 ``[num_messages, d]`` into ``[dim_size, d]``; zeros where no message came."""
        positive = F.softplus(x).clamp(min=_TINY)
        # Divided by the maximum of the target, since powers of numbers up to 1 do not overflow. It cancels below.
        maximum = self.reduce(positive.detach(), index, None, dim_size, dim, reduce="max")
        has_any = maximum > 0
        maximum = torch.where(has_any, maximum, 1.0)
        power = self.log_power.exp()
        powers = (positive / maximum[index]).pow(power)
        mean = torch.where(has_any, self.reduce(powers, index, None, dim_size, dim, reduce="mean"), 1.0)
        mean = maximum * mean.pow(1 / power)
        return torch.where(has_any, mean + (-torch.expm1(-mean)).log(), 0.0)
