"""Losses of each cosine alone: binary cross entropy, and the squared error of explicit ratings."""

from dataclasses import replace
from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges, over_negatives


class BinaryCrossEntropy(Loss):
    """Whether there is an edge, item by item: 1 for a user's items, 0 for sampled items that are not its own.

    He et al. 2017, "Neural collaborative filtering", eq. 7, on cosines over a temperature as logits.

    Args:
        temperature: What cosines are divided by.
        negative_weight: What the mean over sampled items counts beside the mean over edges.
    """

    def __init__(self, temperature: PositiveFloat = 0.15, negative_weight: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.negative_weight = negative_weight

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean over both kinds, the negatives by their weight, float32 scalar."""
        ones = over_edges(F.softplus(-inputs.positive / self.temperature), inputs)  # −log σ(x)
        zeros = over_negatives(F.softplus(inputs.negative / self.temperature), inputs)  # −log(1 − σ(x))
        return (ones + self.negative_weight * zeros) / (1.0 + self.negative_weight)


class MeanSquaredError(Loss):
    """Explicit ratings: the cosine of a user with an item that it rated shall be the rating, from −1 to 1.

    The squared error of Koren et al. 2009, "Matrix factorization techniques for recommender systems", eq. 2, on
    cosines. Edges whose user did not rate the item count as the highest rating, and sampled items that are not the
    user's own as 0, neither liked nor disliked; else nothing would tell the items that nobody rated from those that
    everybody likes.

    Args:
        negative_weight: What the mean over sampled items counts beside the others.
    """

    needs_ratings: ClassVar[bool] = True
    looks_at: ClassVar[frozenset[str]] = frozenset({"positive", "negative", "rated"})

    def __init__(self, negative_weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.negative_weight = negative_weight

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the sum of the mean squared errors of ratings, edges and negatives, float32 scalar."""
        loss = self.negative_weight * over_negatives(inputs.negative.square(), inputs)
        unrated = inputs
        if len(inputs.rated):
            loss = loss + (inputs.rated - inputs.rating).square().mean()
        if len(inputs.is_rated):
            unrated = replace(inputs, weight=inputs.weight * ~inputs.is_rated)
        return loss + over_edges((inputs.positive - 1.0).square(), unrated)
