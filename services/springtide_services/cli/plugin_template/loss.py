"""A loss that compares pairs."""

from collections.abc import Callable

from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossFactory, LossInputs
from springtide.plugins.hookspecs import hookimpl


class MyPart(Loss):
    """Each positive against each sampled item that is not the user's own: ``log(1 + exp(k · (negative − positive)))``.

    Args:
        sharpness: ``k``, how soon a pair in the wrong order counts in full.
    """

    def __init__(self, sharpness: PositiveFloat = 5.0) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean over pairs, float32 scalar; pairs count by the weight of their edge."""
        distance = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)  # [num_edges, num_negatives]
        weight = ~inputs.is_seen[inputs.user] * inputs.weight.unsqueeze(-1)
        return (F.softplus(self.sharpness * distance) * weight).sum() / weight.sum().clamp(min=1e-12)


@hookimpl
def register_losses(register: Callable[[str, LossFactory], None]) -> None:
    """Register the loss."""
    register("my_part", MyPart)
