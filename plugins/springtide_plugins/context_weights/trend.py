"""Whether an item is wanted more these days than it usually is."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide_plugins.context_weights.counts import NO_GROUPS, DecayedCounts, HalfLives, log_lift, shrunk_log_lift

_FALLBACK_EXPONENTS = {1.0: 0.5, 28.0: 0.5}  # By half-life in days, before any model has learned exponents.


class Trend(ContextWeight):
    """An item's recent share of interactions over its usual share.

    Recent is exponentially decayed, once for each half-life; usual is everything that was seen. The trend is that of
    the newest event. What a half-life adds to the logarithm of the lift halves with every half-life that a request's
    moment is away from it, on either side: what is in demand in December says little about July.

    A day says most of what sells by the hundred and nothing of what sells once a month. So the trend of each half-life
    is drawn to that of the next longer one, the more the less was seen of the item in its time
    (``counts.shrunk_log_lift``), and the longest to that of the item's kind (``counts.log_lift``): a new product of a
    rising type rises.

    Args:
        half_lives_days: One factor for each; above 0.
        prior: How many interactions the belief in the next longer trend, or in that of the kind, weighs; above 0.
    """

    def __init__(self, half_lives_days: HalfLives = (1.0, 7.0, 28.0), prior: PositiveFloat = 2.0) -> None:
        self.prior = prior
        self.factors = tuple(
            Factor(
                f"{days:g}d",
                is_short_lived=True,
                words="wanted {lift} as much of late as it usually is",
                fallback_exponent=_FALLBACK_EXPONENTS.get(days, 0.0),
            )
            for days in half_lives_days
        )
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
        lifts: dict[int, npt.NDArray[np.float32]] = {}
        of_newest = faded = np.zeros(num_items, np.float32)  # Of the next longer half-life: then, and at the moment.
        for place in sorted(range(len(self._recent)), key=lambda place: -self._recent[place].half_life_ms):
            counts = self._recent[place]
            recent = counts.at_newest(num_items)
            expected = usual * (recent.sum() / total)
            if lifts:
                log_lifts = shrunk_log_lift(recent, expected, self.prior, np.exp(of_newest))
            else:
                log_lifts = log_lift(recent, expected, self.prior, self._groups)
            nearness = np.float32(2.0 ** (-abs(moment.timestamp_ms - counts.newest_ms) / counts.half_life_ms))
            lifts[place] = faded = faded + nearness * (log_lifts - of_newest)
            of_newest = log_lifts
        return np.stack([lifts[place] for place in range(len(lifts))])

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
