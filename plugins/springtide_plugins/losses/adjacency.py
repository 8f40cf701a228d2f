"""The loss of reconstructing the edges of the graph."""

from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossInputs
from springtide.plugins.thread_parts import even_bounds, share_out
from springtide_plugins.losses.kernels import cross_entropies
from springtide_plugins.losses.means import over_edges

_LEAST_ENTRIES = 65_536  # Entries that are worth a part of their own: some 100 µs.


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
        num_ones = inputs.is_seen.count_nonzero(1)  # [num_users]
        # What each entry counts in the loss: ones and zeros are averaged apart.
        of_one = self.balance / (num_ones.sum().to(user_weight.dtype) + num_users)
        num_zeros = (user_weight * (num_sampled - num_ones)).sum().clamp(min=1e-12)
        of_zero = (1.0 - self.balance) / num_zeros * user_weight  # [num_users]
        entropy: Tensor = _CrossEntropy.apply(inputs.negative, inputs.is_seen, of_one, of_zero, self.temperature)  # type: ignore[no-untyped-call]  # torch's own
        return entropy + of_one * num_users * edges


class _CrossEntropy(torch.autograd.Function):
    """Binary cross entropy of logits, each entry multiplied by what it counts, summed up.

    The block is by far the largest of a training step. Loss and gradient come of one pass over it.
    """

    @staticmethod
    def forward(
        ctx: Any, cosines: Tensor, is_one: Tensor, of_one: Tensor, of_zero: Tensor, temperature: float
    ) -> Tensor:
        """Return float32 scalar.

        Args:
            ctx: Torch's.
            cosines: float32 ``[num_users, num_sampled]``.
            is_one: bool ``[num_users, num_sampled]``.
            of_one: float32 scalar, what each one counts.
            of_zero: float32 ``[num_users]``, what each zero of a row counts.
            temperature: Divisor of cosines.
        """
        found = _compiled if cosines.device.type == "cpu" and cosines.dtype == torch.float32 else _by_torch
        entropy, gradient = found(cosines.detach(), is_one, of_one, of_zero, temperature)
        ctx.save_for_backward(gradient)
        return entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Return the gradient of the cosines."""
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None, None


def _compiled(
    cosines: Tensor, is_one: Tensor, of_one: Tensor, of_zero: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    cosines, gradient = cosines.contiguous(), torch.empty(cosines.shape)
    entropies = np.empty(len(cosines))
    given, marks, of_zeros = cosines.numpy(), is_one.contiguous().numpy(), of_zero.contiguous().numpy()

    def work(first: int, stop: int) -> None:
        cross_entropies(given, marks, first, stop, temperature, of_one.item(), of_zeros, gradient.numpy(), entropies)

    share_out(work, even_bounds(len(cosines), _LEAST_ENTRIES // max(cosines.shape[1], 1)).tolist())
    return torch.tensor(entropies.sum(), dtype=torch.float32), gradient


def _by_torch(
    cosines: Tensor, is_one: Tensor, of_one: Tensor, of_zero: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logits, ones = cosines / temperature, is_one.to(cosines.dtype)
    share = torch.addcmul(of_zero.unsqueeze(-1), ones, of_one - of_zero.unsqueeze(-1))  # [num_users, num_sampled]
    losses = F.softplus(logits).addcmul_(logits, ones, value=-1.0)  # softplus(-x) = softplus(x) - x, for ones
    return torch.dot(losses.flatten(), share.flatten()), logits.sigmoid().sub_(ones).mul_(share).div_(temperature)
