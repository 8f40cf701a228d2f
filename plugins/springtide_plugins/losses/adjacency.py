"""The loss of reconstructing the edges of the graph."""

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges


class Reconstruction(Loss):
    """Reconstruct a block of the adjacency matrix, the batch's users by the sampled items: 1 where there is an edge.

    The reconstruction of Kipf & Welling 2016, "Variational graph auto-encoders" (GAE, section 2), on cosines over a
    temperature as logits. Ones are rare in a sparse matrix, so ones and zeros are averaged separately, as in their code
    by ``pos_weight`` and ``norm``. Sampled items that the user has seen are ones here and are not left out. The mean
    over each user's edges in the batch counts as one more entry of the row, so that every row has a one.

    Args:
        temperature: Divisor of cosines.
        balance: Share of the ones in the loss; the zeros have the rest.
    """

    needs_random_negatives: ClassVar[bool] = True

    def __init__(self, temperature: PositiveFloat = 0.15, balance: Annotated[float, Field(gt=0, lt=1)] = 0.5) -> None:
        super().__init__()
        self.temperature = temperature
        self.balance = balance

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the balanced binary cross entropy of the block, float32 scalar."""
        num_users, num_sampled = inputs.negative.shape
        edges = over_edges(F.softplus(-inputs.positive / self.temperature), inputs)
        user_weight = inputs.weight.new_zeros(num_users).index_add(0, inputs.user, inputs.weight)
        is_one = inputs.is_seen.to(inputs.negative.dtype)
        num_ones = is_one.sum(1)  # [num_users]
        # What each entry counts in the loss: ones and zeros are averaged apart.
        of_one = self.balance / (num_ones.sum() + num_users)
        num_zeros = (user_weight * (num_sampled - num_ones)).sum().clamp(min=1e-12)
        of_zero = ((1.0 - self.balance) / num_zeros * user_weight).unsqueeze(-1)  # [num_users, 1]
        share = torch.addcmul(of_zero, is_one, of_one - of_zero)  # [num_users, num_sampled]
        entropy: Tensor = _CrossEntropy.apply(inputs.negative, is_one, share, self.temperature)  # type: ignore[no-untyped-call]  # torch's own
        return entropy + of_one * num_users * edges


class _CrossEntropy(torch.autograd.Function):
    """Binary cross entropy of logits, each entry multiplied by its share, summed up.

    The block is by far the largest of a training step. Loss and gradient come of one pass over it, in place: this takes
    a third of the time that torch's own functions take one after the other.
    """

    @staticmethod
    def forward(ctx: Any, cosines: Tensor, is_one: Tensor, share: Tensor, temperature: float) -> Tensor:
        """Return float32 scalar, given three of float32 ``[num_users, num_sampled]``."""
        logits = cosines.detach() / temperature
        losses = F.softplus(logits).addcmul_(logits, is_one, value=-1.0)  # softplus(-x) = softplus(x) - x, for ones
        ctx.save_for_backward(logits.sigmoid_().sub_(is_one).mul_(share).div_(temperature))
        return torch.dot(losses.flatten(), share.flatten())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the cosines."""
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None
