"""The loss of reconstructing the edges of the graph."""

from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges, over_negatives


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
        logits = inputs.negative / self.temperature
        seen = F.softplus(-logits[inputs.is_seen])  # [num_seen], selected first, since they are few.
        num_users = len(inputs.negative)
        edges = over_edges(F.softplus(-inputs.positive / self.temperature), inputs)
        ones = (seen.sum() + num_users * edges) / (len(seen) + num_users)
        zeros = over_negatives(F.softplus(logits), inputs)
        return self.balance * ones + (1.0 - self.balance) * zeros
