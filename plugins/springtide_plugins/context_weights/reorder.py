"""How often people buy or use an item again."""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.counts import NO_GROUPS, log_lift
from springtide_plugins.context_weights.pair_set import SeenPairs


class Reorder(ContextWeight):
    """The share of an item's interactions that are repeats by the same user, over that share among all items.

    Milk is bought again, a cake tin is not: among seen items milk is likelier, among unseen items rather the cake tin.
    So the factor is signed, and has exponents of its own for seen and for unseen items. An item with few interactions
    borrows from its group (``counts.log_lift``).

    Counts do not decay, so the order of two events does not matter. About ``max_pairs`` pairs of user and item are
    remembered (``pairs.SeenPairs``); a repeat after more pairs than that counts as a first time.

    Args:
        prior: Weight of the prior, which is the share of the item's group, in interactions, above 0.
        max_pairs: Number of pairs of user and item to remember.
    """

    bucket_ms = MS_PER_DAY
    factors = (Factor("rate", is_signed=True, words="had again {lift} as often as the usual item"),)

    def __init__(
        self,
        prior: PositiveFloat = 5.0,
        max_pairs: Annotated[int, Field(ge=1)] = 4_000_000,
    ) -> None:
        self.prior = prior
        self._groups = NO_GROUPS
        self._pairs = SeenPairs(max_pairs)
        self._counts = BinnedCounts(2)  # First times, and repeats.

    def regroup(self, groups: ItemGroups) -> None:
        """Take the groups of items."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction as a first time or a repeat."""
        is_repeat = self._pairs.add(observed.user_rows, observed.item_rows)
        one = np.empty(len(observed), np.float32)
        one.fill(1)  # Both are calls in C, which np.ones is not.
        self._counts.add(observed.item_rows, is_repeat.astype(np.int64), observed.timestamps_ms, one)

    def unobserve(self, observed: Observed) -> None:
        """Take interactions back: as many first times go as pairs do, whichever interactions these were."""
        is_repeat = self._pairs.remove(observed.user_rows, observed.item_rows)
        minus_one = np.full(len(observed), -1, np.float32)
        self._counts.add(observed.item_rows, is_repeat.astype(np.int64), observed.timestamps_ms, minus_one)

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget the pairs of some users and items, and the counts of the items."""
        self._pairs.forget(user_rows, item_rows)
        self._counts.forget(item_rows)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the same for every moment."""
        return 0

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log of each item's share over the share among all items."""
        repeats, total_repeats = self._counts.smoothed(1, np.array([1.0, 0.0]), num_items)
        counts, total = self._counts.totals(num_items)
        if total_repeats == 0:
            return None
        return log_lift(repeats, counts * (total_repeats / total), self.prior, self._groups)[None, :]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the counts and the pairs."""
        return {**self._counts.state(), **self._pairs.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from saved counts and pairs."""
        self._counts.restore(state)
        self._pairs.restore(state)
