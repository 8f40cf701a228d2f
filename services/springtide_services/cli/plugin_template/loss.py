"""A loss over pairs of a positive and a negative item."""

from collections.abc import Callable

from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossFactory, LossInputs
from springtide.plugins.hookspecs import hookimpl


class MyPart(Loss):
    """Each positive against each sampled item that the user has not seen: ``log(1 + exp(k · (negative − positive)))``.

    Args:
        sharpness: ``k``; the greater, the steeper the loss around equal cosines.
    """

    def __init__(self, sharpness: PositiveFloat = 5.0) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean over all pairs, weighted by their edges, as a float32 scalar."""
        difference = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)  # [num_edges, num_negatives]
        weight = ~inputs.is_seen[inputs.user] * inputs.weight.unsqueeze(-1)
        return (F.softplus(self.sharpness * difference) * weight).sum() / weight.sum().clamp(min=1e-12)


@hookimpl
def register_losses(register: Callable[[str, LossFactory], None]) -> None:
    """Register the loss."""
    register("my_part", MyPart)
