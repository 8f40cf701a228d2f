"""The loss of rebuilding the graph's own edges."""

from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges, over_negatives


class Reconstruction(Loss):
    """Rebuild a block of the adjacency matrix: the batch's users by the sampled items, 1 where there is an edge.

    The reconstruction of Kipf & Welling 2016, "Variational graph auto-encoders" (GAE, section 2), on cosines over a
    temperature as logits. Ones are few in a sparse matrix, so ones and zeros are averaged apart, as their code does by
    ``pos_weight`` and ``norm``. Sampled items that the user has an edge to are ones here, not left out; each user's
    edges of the batch count as one more entry of its row, so that no row is without a one.

    Args:
        temperature: What cosines are divided by.
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
        own, num_users = (
            F.softplus(-logits[inputs.is_seen]),
            len(inputs.negative),
        )  # Few of them: not all are looked at.
        of_edges = over_edges(F.softplus(-inputs.positive / self.temperature), inputs)
        ones = (own.sum() + num_users * of_edges) / (len(own) + num_users)
        zeros = over_negatives(F.softplus(logits), inputs)
        return self.balance * ones + (1.0 - self.balance) * zeros
