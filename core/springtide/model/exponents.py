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
        cosine: What cosines are multiplied by, 0 or more: one over the temperature.
        factors: For each context weight, the exponent of each factor; a factor that is missing has exponent 0.
    """

    cosine: float
    factors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, name: str, weight: ContextWeight) -> Array:
        """Return the exponents of one weight's factors, float32 ``[num_factors]``."""
        known = self.factors.get(name, {})
        return np.array([known.get(factor.name, 0.0) for factor in weight.factors], np.float32)


@dataclass(frozen=True, slots=True)
class Exponents:
    """What the last fit found, apart for items that the user has seen and those that it has not.

    They differ since a cosine has seen the very edge to an item that the user had, and since habit, where there is
    one, makes popularity count for less.

    Attributes:
        unseen: For items that the user never had; its cosine is above 0.
        seen: For items that the user had.
    """

    unseen: TermExponents
    seen: TermExponents

    @property
    def temperature(self) -> float:
        """What the cosines of unseen items are divided by."""
        return 1.0 / self.unseen.cosine


_WITHOUT_MODEL = {"popularity": {"share": 1.0}, "trend": {"1d": 0.5, "28d": 0.5}}


FALLBACK_EXPONENTS = Exponents(
    unseen=TermExponents(1.0, _WITHOUT_MODEL),
    seen=TermExponents(1.0, {**_WITHOUT_MODEL, "repeat": {"had": 3.0, "count": 1.0, "recent_30d": 0.5}}),
)
"""Before any model has learned exponents: what is popular and rising, and what the user has again and again."""


NO_EXPONENTS = Exponents(unseen=TermExponents(1.0), seen=TermExponents(1.0))
"""Where no context weight counts: a baseline ranks by its own score alone."""
