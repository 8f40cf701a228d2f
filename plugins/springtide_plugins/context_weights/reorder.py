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
from springtide_plugins.context_weights.tally_kernels import add_to_tally, read_tally

_MANY = 1_000_000  # Items; of so many, half as many more would be much memory.


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
        # First times and repeats, int32 [capacity, 2]; replaced when it must grow, since other threads read it.
        self._tally = np.zeros((0, 2), np.int32)

    def regroup(self, groups: ItemGroups) -> None:
        """Take the groups of items."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction as a first time or a repeat."""
        self._count(observed, self._pairs.add(observed.user_rows, observed.item_rows), 1)

    def unobserve(self, observed: Observed) -> None:
        """Take interactions back: as many first times go as pairs do, whichever interactions these were."""
        self._count(observed, self._pairs.remove(observed.user_rows, observed.item_rows), -1)

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget the pairs of some users and items, and the counts of the items."""
        self._pairs.forget(user_rows, item_rows)
        self._tally[item_rows[item_rows < len(self._tally)]] = 0

    def _count(self, observed: Observed, is_repeat: npt.NDArray[np.bool_], step: int) -> None:
        if not len(observed):
            return
        rows = observed.item_rows
        num_rows, old = 1 + (int(rows[0]) if len(rows) == 1 else int(rows.max())), len(self._tally)
        if num_rows > old:
            longer = np.zeros((max(num_rows, old + (old // 2 if old < _MANY else old // 8)), 2), np.int32)
            longer[:old] = self._tally
            self._tally = longer
        add_to_tally(self._tally, rows, is_repeat, step)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the same for every moment."""
        return 0

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log of each item's share over the share among all items."""
        counts, repeats = np.empty(num_items), np.empty(num_items)
        # Whole numbers, so their order plays no part. What is taken back was counted, unless its pair was forgotten.
        total, total_repeats = (max(each, 0) for each in read_tally(self._tally, counts, repeats))
        if total_repeats == 0:
            return None
        counts *= total_repeats / total
        return log_lift(repeats, counts, self.prior, self._groups)[None, :]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the counts and the pairs."""
        num_rows = int(np.flatnonzero(self._tally.any(axis=1))[-1:].max(initial=-1)) + 1
        return {"tally": self._tally[:num_rows].copy(), **self._pairs.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from saved counts and pairs."""
        if "tally" in state:
            self._tally = np.array(state["tally"], np.int32)
        else:  # A state of before they were plain numbers.
            counts = BinnedCounts(2)
            counts.restore(state)
            whole = counts.weighted(np.eye(2), counts.num_rows)[0].T
            self._tally = np.minimum(whole, 2**31 - 1).astype(np.int32, "C")
        self._pairs.restore(state)
