"""Whether an item is wanted more these days than it usually is."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide_plugins.context_weights.counts import NO_GROUPS, DecayedCounts, HalfLives, log_lift


class Trend(ContextWeight):
    """An item's recent share of interactions over its usual share.

    Recent is exponentially decayed, once for each half-life; usual is everything that was seen. The trend is that of
    the newest event; the logarithm of its lift halves with every half-life that a request's moment is away from it, on
    either side: what is in demand in December says little about July.

    An item that was seldom seen borrows from its kind (``counts.log_lift``): a new product of a rising type rises.

    Args:
        half_lives_days: One factor for each; above 0.
        prior: How many interactions the prior belief in the trend of its kind weighs, above 0.
    """

    def __init__(self, half_lives_days: HalfLives = (7.0, 28.0), prior: PositiveFloat = 0.5) -> None:
        self.prior = prior
        self.factors = tuple(Factor(f"{days:g}d", is_passing=True) for days in half_lives_days)
        self._recent = [DecayedCounts(days * MS_PER_DAY) for days in half_lives_days]
        self._usual = DecayedCounts(np.inf)
        self._groups = NO_GROUPS

    def regroup(self, groups: ItemGroups) -> None:
        """Take what items belong to."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction, by its weight."""
        for counts in (*self._recent, self._usual):
            counts.add(observed.item_rows, observed.timestamps_ms, observed.weights)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the hour."""
        return moment.timestamp_ms // MS_PER_HOUR

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log of recent over usual share, for each half-life."""
        usual = self._usual.at_newest(num_items)
        total = usual.sum()
        if total == 0:
            return None
        lifts = []
        for counts in self._recent:
            recent = counts.at_newest(num_items)
            nearness = np.float32(2.0 ** (-abs(moment.timestamp_ms - counts.newest_ms) / counts.half_life_ms))
            lifts.append(nearness * log_lift(recent, usual * (recent.sum() / total), self.prior, self._groups))
        return np.stack(lifts)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all counts."""
        columns = {"usual": self._usual} | {
            factor.name: counts for factor, counts in zip(self.factors, self._recent, strict=True)
        }
        return {f"{name}/{key}": array for name, counts in columns.items() for key, array in counts.state().items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up all counts."""
        self._usual.restore({key: state[f"usual/{key}"] for key in ("counts", "clock")})
        for factor, counts in zip(self.factors, self._recent, strict=True):
            counts.restore({key: state[f"{factor.name}/{key}"] for key in ("counts", "clock")})
