"""How much each term of the ranking counts: the exponents of context weights and the temperature of cosines."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from springtide.plugins.contracts import ContextWeight

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TermExponents:
    """How much each term of the ranking counts.

    Attributes:
        cosine: Factor of the cosine, 0 or more: one over the temperature.
        factors: For each context weight, the exponent of each factor; the exponent of a missing factor is 0.
    """

    cosine: float
    factors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, name: str, weight: ContextWeight) -> Array:
        """Return the exponents of one weight's factors, float32 ``[num_factors]``."""
        known = self.factors.get(name, {})
        return np.array([known.get(factor.name, 0.0) for factor in weight.factors], np.float32)


@dataclass(frozen=True, slots=True)
class DislikeExponents:
    """How much dislikes count.

    Attributes:
        item: What a dislike of weight 1 takes from the score of its item, 0 or more. At 3, an item's odds are divided
            by 20.
        like: How far the user's vector is moved away from what they dislike, 0 or more; see ``ranking.dislikes``.
    """

    item: float = 3.0
    like: float = 0.5


@dataclass(frozen=True, slots=True)
class Exponents:
    """The exponents of all terms, for unseen and for seen items.

    They differ because the user's vector already knows the edge to a seen item, and because habit, where there is one,
    makes popularity count for less.

    Attributes:
        unseen: For items that the user has never had; its cosine is above 0.
        seen: For items that the user has had.
        dislikes: How much dislikes count, for both.
    """

    unseen: TermExponents
    seen: TermExponents
    dislikes: DislikeExponents = DislikeExponents()

    @property
    def temperature(self) -> float:
        """What the cosines of unseen items are divided by."""
        return 1.0 / self.unseen.cosine


def fallback_exponents(weights: Mapping[str, ContextWeight]) -> Exponents:
    """Return the exponents of context weights before any model has learned some, as their factors give them.

    Args:
        weights: By name.
    """
    unseen: dict[str, dict[str, float]] = {}
    seen: dict[str, dict[str, float]] = {}
    for name, weight in weights.items():
        for factor in weight.factors:
            of_unseen, of_seen = factor.fallback_exponent, factor.fallback_exponent_seen
            if of_unseen:
                unseen.setdefault(name, {})[factor.name] = of_unseen
            if of_seen := of_unseen if of_seen is None else of_seen:
                seen.setdefault(name, {})[factor.name] = of_seen
    return Exponents(TermExponents(1.0, unseen), TermExponents(1.0, seen))


NO_EXPONENTS = Exponents(unseen=TermExponents(1.0), seen=TermExponents(1.0))
"""Exponents where no context weight counts, because a baseline ranks by its own score alone."""
