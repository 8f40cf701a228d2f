"""Popularity of an item, whatever the moment."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, Factor, Moment, Observed
from springtide_plugins.context_weights.counts import DecayedCounts


class Popularity(ContextWeight):
    """How popular an item is, compared with the average item.

    The lift is the item's smoothed count over the mean of the items that were chosen at all. The exponent says how much
    of the popularity is not in the cosine already.

    Args:
        prior: Interactions added to the count of every item, above 0.
    """

    bucket_ms = MS_PER_DAY
    factors = (Factor("share", words="chosen {lift} as often as the average item", fallback_exponent=1.0),)

    def __init__(self, prior: PositiveFloat = 1.0) -> None:
        self.prior = prior
        self._counts = DecayedCounts(np.inf)
        self._mean: float | None = None  # Of the items that were chosen, with the prior, when it was last computed.

    def observe(self, observed: Observed) -> None:
        """Count each interaction once, by its weight."""
        self._counts.add(observed.item_rows, observed.timestamps_ms, observed.weights)

    def unobserve(self, observed: Observed) -> None:
        """Take interactions back."""
        self._counts.add(observed.item_rows, observed.timestamps_ms, -observed.weights)

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all interactions of some items; nothing is kept of users."""
        self._counts.forget(item_rows)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the same key for every moment."""
        return "always"

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log of each item's count over that of the average item that was chosen."""
        counts, total = self._counts.with_total(num_items)
        num_chosen = np.count_nonzero(counts)  # Rows of forgotten items are not among them.
        if num_chosen == 0:
            return None
        self._mean = mean = total / num_chosen + self.prior
        return self._log_lifts(counts, mean)

    def later_item_log_lifts(self, moment: Moment, start: int, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the same for the items from ``start`` on, beside the average item of the last time."""
        mean = self._mean
        return None if mean is None else self._log_lifts(self._counts.at_newest(num_items, start=start), mean)

    def _log_lifts(self, counts: npt.NDArray[np.float64], mean: float) -> npt.NDArray[np.float32]:
        counts += self.prior
        counts /= mean
        return np.log(counts, out=counts).astype(np.float32)[None, :]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the counts."""
        return self._counts.state()

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from saved counts."""
        self._counts.restore({"clock": np.array([0, 0, True]), **state})  # Older states hold plain sums alone.
