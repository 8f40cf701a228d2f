"""What a context weight is: how much likelier an item is here and now than usual."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, ItemGroups, Moment, Observed


@dataclass(frozen=True, slots=True)
class Factor:
    """One term of a context weight that gets its own learned exponent.

    Attributes:
        name: Such as ``hour``; unique within its weight.
        is_signed: Whether the exponent may be negative; lifts are not, habits are.
        needs_whole_history: Whether the exponent is learned on moments of the whole history, not of the latest slice:
            the time of year does not change within a few weeks. The term must be about how items differ with the
            moment, since it is learned without cosines.
        is_short_lived: Whether what it says holds for a while only, as a trend does. Where everything is frozen, its
            exponent is learned over several starts, since at one alone chance decides.
    """

    name: str
    is_signed: bool = False
    needs_whole_history: bool = False
    is_short_lived: bool = False


class ContextWeight:
    """How much likelier an item is here and now than usual.

    A weight gives, for each of its factors, the natural logarithm of a lift: 0 is neutral. Item-side terms depend on
    the moment alone and are shared by all requests of that moment; history terms depend on the user.

    Attributes:
        factors: The terms, each with its own exponent, in the order of every array below.
        context_keys: Circumstances that it looks at: those are kept with every edge, so that exponents can be learned.
    """

    factors: tuple[Factor, ...] = (Factor("lift"),)
    context_keys: tuple[str, ...] = ()

    def regroup(self, groups: ItemGroups) -> None:
        """Take what items belong to, so that an item seldom seen can borrow from its kind. Not needed by default.

        Called by a background thread whenever attributes of items have changed; the arrays are not changed later.
        """

    def observe(self, observed: Observed) -> None:
        """Learn from interactions, in any order; rows may be new. Called by one thread. Nothing to learn by default."""

    def bucket(self, moment: Moment) -> Hashable:
        """Return a key: moments with the same key have the same item lifts. None if there is no item-side term."""
        return None

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return float32 ``[num_factors, num_items]`` of log lifts at the moment, or None if all are neutral."""
        return None

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32] | None:
        """Return float32 ``[num_factors, num_distinct]`` for the user's distinct items, or None if all are neutral.

        The items are those of ``history.distinct()``, in its order; for all other items the terms are 0.
        """
        return None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned, as named arrays for the checkpoint: copies, safe to write later."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``state`` gave."""
