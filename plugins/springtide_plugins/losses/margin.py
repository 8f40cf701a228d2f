"""The max-margin loss of PinSage, and low-rank positives."""

from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from springtide.errors import SettingsError
from springtide.plugins.contracts import LossInputs
from springtide_plugins.losses.means import over_pairs
from springtide_plugins.losses.pairwise import PairwiseLoss

Margin = Annotated[float, Field(gt=0, le=2)]


class MaxMargin(PairwiseLoss):
    """The cosine of a user's item must be above that of each sampled item by a margin.

    PinSage (Ying et al. 2018), eq. 1: the mean of ``max(0, negative − positive + margin)`` over edges and sampled items
    that the user has not seen.

    With a ``low_rank_weight`` above 0, the low-rank positives of Jain et al. 2019, "Food discovery with Uber Eats:
    Using graph learning to power recommendations", are added: a dish ordered once must rank below one ordered often,
    but not as far below as one never ordered. The term is ``low_rank_weight`` times the mean, over pairs of edges of
    one user, of ``max(0, weaker − stronger + low_rank_margin)``; the strength of an edge is its weight in the graph.

    Args:
        margin: Margin between cosines.
        low_rank_margin: Margin between a user's stronger and weaker items, smaller than ``margin``.
        low_rank_weight: Weight of the low-rank term; 0 leaves it out.
        max_negatives: Number of sampled items that each edge is compared with, at most.
        max_low_ranks: Number of the user's other edges that each edge is compared with, at most.

    Raises:
        SettingsError: If ``low_rank_weight`` is above 0 and ``low_rank_margin`` is not smaller than ``margin``.
    """

    def __init__(
        self,
        margin: Margin = 0.2,
        low_rank_margin: Margin = 0.05,
        low_rank_weight: NonNegativeFloat = 0.0,
        max_negatives: PositiveInt = 128,
        max_low_ranks: PositiveInt = 16,
    ) -> None:
        super().__init__(max_negatives)
        if low_rank_weight and low_rank_margin >= margin:
            raise SettingsError(f"wanted a low_rank_margin below the margin of {margin:g}, got {low_rank_margin:g}")
        self.margin = margin
        self.low_rank_margin = low_rank_margin
        self.low_rank_weight = low_rank_weight
        self.max_low_ranks = max_low_ranks

    def penalty(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return ``max(0, negative − positive + margin)``."""
        return (negative - positive + self.margin).relu()

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean over negatives plus the weighted low-rank term, float32 scalar."""
        loss = super().forward(inputs)
        if self.low_rank_weight:
            other = _others_of_the_user(inputs.user, self.max_low_ranks)  # [num_edges, max_low_ranks]
            is_weaker = inputs.strength[other] < inputs.strength.unsqueeze(-1)
            hinge = (inputs.positive[other] - inputs.positive.unsqueeze(-1) + self.low_rank_margin).relu()
            loss = loss + self.low_rank_weight * over_pairs(hinge, is_weaker, inputs)
        return loss


class LowRankMaxMargin(MaxMargin):
    """Max-margin with low-rank positives: items that a user chose often must rank above those chosen seldom, too.

    It is ``max_margin`` with the low-rank term, under its own name, for comparisons of parts by name.

    Args:
        margin: Margin between cosines.
        low_rank_margin: Margin between a user's stronger and weaker items, smaller than ``margin``.
        low_rank_weight: Weight of the low-rank term.
        max_negatives: Number of sampled items that each edge is compared with, at most.
        max_low_ranks: Number of the user's other edges that each edge is compared with, at most.
    """

    def __init__(
        self,
        margin: Margin = 0.2,
        low_rank_margin: Margin = 0.05,
        low_rank_weight: PositiveFloat = 0.5,
        max_negatives: PositiveInt = 128,
        max_low_ranks: PositiveInt = 16,
    ) -> None:
        super().__init__(margin, low_rank_margin, low_rank_weight, max_negatives, max_low_ranks)


def _others_of_the_user(user: Tensor, count: int) -> Tensor:
    """Return for each edge the next edges of the same user, cyclically.

    Args:
        user: int64 ``[num_edges]``.
        count: Number of other edges; where the user has fewer, the edge itself fills up.

    Returns:
        int64 ``[num_edges, count]``, positions of edges.
    """
    order = torch.argsort(user, stable=True)
    counts = torch.bincount(user)
    first, total = (counts.cumsum(0) - counts)[user[order]], counts[user[order]]
    position = torch.arange(len(user), device=user.device) - first  # Among the edges of its user.
    step = torch.arange(1, count + 1, device=user.device).expand(len(user), count)
    step = torch.where(step < total.unsqueeze(-1), step, 0)
    others = (position.unsqueeze(-1) + step) % total.unsqueeze(-1).clamp(min=1) + first.unsqueeze(-1)
    found = torch.empty_like(others)
    found[order] = order[others]
    return found
