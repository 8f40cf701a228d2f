"""Whether an item is one that people come back to."""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide_plugins.context_weights.counts import NO_GROUPS, BinnedCounts, log_lift
from springtide_plugins.context_weights.pairs import SeenPairs


class Reorder(ContextWeight):
    """The share of an item's interactions that are by people who had it before, over that share among all items.

    Milk is bought again, a cake tin is not: of a user's own items the one is likelier, of items new to the user rather
    the other. So the factor is signed, and the exponents of new items and of own ones say which holds. An item that was
    seldom seen borrows from its kind (``counts.log_lift``).

    Each interaction counts alike and for ever, so that it does not matter which of two came first. Which pairs came
    before is kept for nearly ``max_pairs`` of them (``pairs.SeenPairs``): what comes again after longer counts as new.

    Args:
        prior: How many interactions the prior belief in the share of an item's kind weighs, above 0.
        max_pairs: How many pairs of user and item are remembered.
    """

    factors = (Factor("rate", is_signed=True, words="had again {lift} as often as the usual item"),)

    def __init__(
        self,
        prior: PositiveFloat = 5.0,
        max_pairs: Annotated[int, Field(ge=1)] = 4_000_000,
    ) -> None:
        self.prior = prior
        self._groups = NO_GROUPS
        self._pairs = SeenPairs(max_pairs)
        self._counts = BinnedCounts(2)  # Of interactions that came for the first time, and of those that came again.

    def regroup(self, groups: ItemGroups) -> None:
        """Take what items belong to."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction, and again if its user had the item before."""
        is_again = self._pairs.add(observed.user_rows, observed.item_rows)
        one = np.ones(len(observed), np.float32)
        self._counts.add(observed.item_rows, is_again.astype(np.int64), observed.timestamps_ms, one)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the same for every moment."""
        return 0

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log of each item's share over the share among all items."""
        again, counts = self._counts.bin(1, num_items), self._counts.totals(num_items)
        if not again.any():
            return None
        return log_lift(again, counts * (again.sum() / counts.sum()), self.prior, self._groups)[None, :]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the counts and the pairs."""
        return {**self._counts.state(), **self._pairs.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up the counts and the pairs."""
        self._counts.restore(state)
        self._pairs.restore(state)
