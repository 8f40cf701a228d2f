"""Losses of single cosines: binary cross entropy, and the squared error of explicit ratings."""

from dataclasses import replace
from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges, over_negatives


class BinaryCrossEntropy(Loss):
    """Classify each item by itself: 1 for a user's items, 0 for sampled items that the user has not seen.

    He et al. 2017, "Neural collaborative filtering", eq. 7, on cosines over a temperature as logits.

    Args:
        temperature: Divisor of cosines.
        negative_weight: Weight of the mean over sampled items; the mean over edges has weight 1.
    """

    def __init__(self, temperature: PositiveFloat = 0.15, negative_weight: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.negative_weight = negative_weight

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the weighted mean over edges and sampled items, float32 scalar."""
        ones = over_edges(F.softplus(-inputs.positive / self.temperature), inputs)  # −log σ(x)
        zeros = over_negatives(F.softplus(inputs.negative / self.temperature), inputs)  # −log(1 − σ(x))
        return (ones + self.negative_weight * zeros) / (1.0 + self.negative_weight)


class MeanSquaredError(Loss):
    """Explicit ratings: the cosine of a user with a rated item must equal the rating, scaled to −1 to 1.

    The squared error of Koren et al. 2009, "Matrix factorization techniques for recommender systems", eq. 2, on
    cosines. Edges whose user has not rated the item count as the highest rating, and unseen sampled items as 0, neither
    liked nor disliked. Otherwise items that nobody has rated could not be ranked below items that everybody likes.

    Args:
        negative_weight: Weight of the mean over sampled items; the other means have weight 1.
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
