"""Losses of pairs: an item of the user against a sampled item."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_pairs


class PairwiseLoss(Loss):
    """The mean penalty over pairs of an edge and a sampled item that the user has not seen.

    Args:
        max_negatives: Number of sampled items that each edge is compared with, at most, the first ones: memory grows
            with edges times negatives.
    """

    def __init__(self, max_negatives: int) -> None:
        super().__init__()
        self.max_negatives = max_negatives

    def penalty(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the penalty of each pair.

        Args:
            positive: float32 ``[num_edges, 1]``, cosines.
            negative: float32 ``[num_edges, num_negatives]``, cosines.

        Returns:
            float32 ``[num_edges, num_negatives]``.
        """
        raise NotImplementedError

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean penalty of the batch, float32 scalar."""
        negative = inputs.negative[:, : self.max_negatives][inputs.user]  # [num_edges, max_negatives]
        is_negative = ~inputs.is_seen[:, : self.max_negatives][inputs.user]
        return over_pairs(self.penalty(inputs.positive.unsqueeze(-1), negative), is_negative, inputs)


class Hinge(PairwiseLoss):
    """The score of a user's item must be 1 above that of a sampled item; a score is a cosine over a temperature.

    The pairwise hinge of Ranking SVM, Joachims 2002, "Optimizing search engines using clickthrough data", section 4.
    It equals the loss of ``max_margin`` whose margin is this temperature, divided by the temperature.

    Args:
        temperature: Divisor of cosines.
        max_negatives: Number of sampled items that each edge is compared with, at most.
    """

    def __init__(self, temperature: PositiveFloat = 0.5, max_negatives: PositiveInt = 128) -> None:
        super().__init__(max_negatives)
        self.temperature = temperature

    def penalty(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return ``max(0, 1 − (positive − negative) / temperature)``."""
        return F.relu(1.0 - (positive - negative) / self.temperature)


class PairwiseLogistic(PairwiseLoss):
    """A user's item must be more likely than a sampled one: Bayesian personalised ranking.

    Rendle et al. 2009, "BPR: Bayesian personalized ranking from implicit feedback", section 4.1 (BPR-Opt), on cosines
    over a temperature.

    Args:
        temperature: Divisor of cosines.
        max_negatives: Number of sampled items that each edge is compared with, at most.
    """

    def __init__(self, temperature: PositiveFloat = 0.15, max_negatives: PositiveInt = 128) -> None:
        super().__init__(max_negatives)
        self.temperature = temperature

    def penalty(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return ``−log σ((positive − negative) / temperature)``."""
        return F.softplus((negative - positive) / self.temperature)


class Triplet(PairwiseLoss):
    """A user must be nearer to its item than to a sampled one, by a margin: distances between unit vectors.

    Schroff et al. 2015, "FaceNet", eq. 1, with the user as the anchor; on the unit sphere
    ``‖a − b‖² = 2 − 2 cos(a, b)``. FaceNet has squared distances, which equal cosines with half the margin. With plain
    distances, as in Balntas et al. 2016, the gradient grows as a positive comes nearer.

    Args:
        margin: Margin between distances, or between squared distances.
        distance: ``euclidean``, or ``squared`` for its square.
        max_negatives: Number of sampled items that each edge is compared with, at most.
    """

    def __init__(
        self,
        margin: PositiveFloat = 0.5,
        distance: Literal["euclidean", "squared"] = "euclidean",
        max_negatives: PositiveInt = 128,
    ) -> None:
        super().__init__(max_negatives)
        self.margin = margin
        self.distance = distance

    def penalty(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return ``max(0, distance(positive) − distance(negative) + margin)``."""
        return F.relu(self._distance(positive) - self._distance(negative) + self.margin)

    def _distance(self, cosine: Tensor) -> Tensor:
        squared = 2.0 - 2.0 * cosine
        # The slope of a root is infinite at 0, where two vectors are equal.
        return squared if self.distance == "squared" else squared.clamp(min=1e-6).sqrt()
