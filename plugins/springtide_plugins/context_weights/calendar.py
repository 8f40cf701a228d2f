"""Demand for an item by hour, weekday and time of year."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide.plugins.wall_clock import TIME_ZONE, WallClock
from springtide_plugins.context_weights import count_kernels
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.counts import NO_GROUPS, log_lift, part_of_state
from springtide_plugins.context_weights.years import FIRST_YEAR, NUM_YEARS, YearSums, pace_of

_PROFILES = ("hour", "weekday", "year")
_DAYS_PER_YEAR_BIN = 5
_NUM_YEAR_BINS = 73  # 365 / 5; the 366th day of a leap year joins the last bin.
_NUM_BINS = (24, 7, _NUM_YEAR_BINS)
_YEAR = 2  # Number of the profile.
_MOST_YEARS, _MOST_VARIANCE = 2.0**6, 2.0**12  # Weights of bins must be small; by powers of 2 nothing is rounded.
_YEAR_WORDS = "wanted {lift} as much as usual at this time of year"


class Calendar(ContextWeight):
    """An item's share of interactions around this hour, weekday and time of year over its share at any time.

    The time of year has two factors. At moments near the newest event it overlaps with the trend, so it has an exponent
    of its own there (``year_near``). As the moment moves away from the newest event, in either direction, the lift
    moves from ``year_near`` to ``year``.

    Growth is not taken for season (``years``): once half of the times of year have events in two years, an item's
    growth is learned from events of the same time of year in different years, and what growth alone would do to the
    profile is expected. Before, nobody can tell one from the other, and all counts as season. Old years fade.

    Profiles are cyclic and smooth: each bin also counts its neighbours, weighted by a Gaussian. An item with few
    interactions borrows from its group (``counts.log_lift``), so a new Christmas item has a Christmas profile.

    Times are local times of the user: the time zone comes from the context of the event or the request (``time_zone``,
    an IANA name), or from the user's attribute of that name.

    Args:
        time_zone: Time zone of users without one, or with an unknown one; such as ``Europe/Lisbon``.
        prior: Weight of the prior, which is the profile of the item's group, in interactions, above 0.
        hour_width: Standard deviation of the smoothing of hours, in hours, above 0.
        year_width_days: Standard deviation of the smoothing of the year, in days, above 0.
        half_life_days: Half-life of the counts, in days; None for no decay.
        near_days: Days away from the newest event at which ``year`` and ``year_near`` have equal shares of the lift.
    """

    factors = (
        Factor("hour", words="wanted {lift} as much as usual at this hour"),
        Factor("weekday", words="wanted {lift} as much as usual on this day of the week"),
        Factor("year", needs_whole_history=True, words=_YEAR_WORDS, shares_lift=True),
        Factor("year_near", words=_YEAR_WORDS, shares_lift=True),
    )
    context_keys = (TIME_ZONE,)
    bucket_ms = MS_PER_SECOND  # A local hour may begin at any: in 1890, Berlin was 53 minutes and 28 seconds ahead.

    def __init__(
        self,
        time_zone: str = "UTC",
        prior: PositiveFloat = 5.0,
        hour_width: PositiveFloat = 1.5,
        year_width_days: PositiveFloat = 10.0,
        near_days: PositiveFloat = 7.0,
        half_life_days: PositiveFloat | None = 1_095.0,
    ) -> None:
        half_life_ms = np.inf if half_life_days is None else half_life_days * MS_PER_DAY
        self._clock = WallClock("calendar", time_zone)
        self.prior = prior
        self._near_ms = near_days * MS_PER_DAY
        self._newest_ms = 0
        self._groups = NO_GROUPS
        self._profiles = BinnedCounts(_NUM_BINS, half_life_ms)
        self._years = YearSums(_NUM_YEAR_BINS)
        one_weekday = np.eye(1, 7)[0]  # Weekdays are not smoothed: a Saturday is not much like a Friday.
        self._kernels = (
            _cyclic_gaussian(24, hour_width),
            one_weekday,
            _cyclic_gaussian(_NUM_YEAR_BINS, year_width_days / _DAYS_PER_YEAR_BIN),
        )

    def regroup(self, groups: ItemGroups) -> None:
        """Take the groups of items."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction into its hour, weekday and time of year."""
        self._count(observed, observed.weights)

    def unobserve(self, observed: Observed) -> None:
        """Take interactions back."""
        self._count(observed, -observed.weights)

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all interactions of some items; nothing is kept of users."""
        self._profiles.forget(item_rows)
        self._years.forget(item_rows)

    def _count(self, observed: Observed, weights: npt.NDArray[np.float32]) -> None:
        newest_ms = observed.clock_ms
        if newest_ms is None:
            return
        self._newest_ms = max(self._newest_ms, newest_ms)
        bins = _bins(self._clock.of_events(observed))
        events = self._profiles.add(observed.item_rows, bins[:3], observed.timestamps_ms, weights, newest_ms)
        if events is not None:
            self._years.add(observed.item_rows, bins, events)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the local hour."""
        return int(self._clock.of_moment(moment)[0] // MS_PER_HOUR)

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log lifts of hour, weekday and time of year, the last split between ``year`` and ``year_near``."""
        factors = self._profiles.factors()
        pace = pace_of(self._years.table(factors))
        num_sets = 1 + len(_PROFILES)
        weights = np.zeros((num_sets + (0 if pace is None else 2), sum(_NUM_BINS)))  # Any time, and around the moment.
        weights[0, : _NUM_BINS[0]] = 1.0
        first = 0
        for of_profile, kernel, bin_ in zip(
            weights[1:num_sets], self._kernels, _bins(self._clock.of_moment(moment))[:3, 0].tolist(), strict=True
        ):
            # Divided by the sum of squares, a sum weighted by a kernel has the variance of a plain count.
            of_profile[first : first + len(kernel)] = np.roll(kernel, bin_) / np.square(kernel).sum()
            first += len(kernel)
        near = weights[num_sets - 1, -_NUM_YEAR_BINS:]
        if pace is not None:
            weights[num_sets:, -_NUM_YEAR_BINS:] = pace.means / _MOST_YEARS, pace.variances / _MOST_VARIANCE
        counts, (total, *totals) = self._profiles.weighted(weights, num_items)
        if total == 0:
            return None
        usual, profiles = counts[0], counts[1:num_sets]
        nearness = np.float32(2.0 ** (-abs(moment.timestamp_ms - self._newest_ms) / self._near_ms))
        lifts = np.empty((len(self.factors), num_items), np.float32)
        expected = np.empty(num_items)
        for index, (now, total_now) in enumerate(zip(profiles, totals[: len(profiles)], strict=True)):
            np.multiply(usual, total_now / total, out=expected)
            if pace is not None and index == _YEAR:
                deviations = self._years.moments(factors, num_items) - pace.base * usual - _MOST_YEARS * counts[-2]
                expected *= np.exp(pace.log_expected(deviations, _MOST_VARIANCE * counts[-1], near))
            lifts[index] = log_lift(now, expected, self.prior, self._groups)
        np.multiply(lifts[2], nearness, out=lifts[3])
        lifts[2] *= 1 - nearness
        return lifts

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all profiles."""
        years = {f"years/{name}": array for name, array in self._years.state().items()}
        return {"newest_ms": np.array([self._newest_ms], np.int64), **self._profiles.state(), **years}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from saved profiles."""
        self._newest_ms = int(state["newest_ms"][0])
        if "hour" in state:  # A state of before there were epochs.
            clock = state["clock"]
            self._profiles.restore_parts([{"counts": state[name], "clock": clock} for name in _PROFILES])
        elif "hour/counts" in state:  # One of before the profiles were counted together.
            self._profiles.restore_parts([part_of_state(state, name) for name in _PROFILES])
        else:
            self._profiles.restore(state)
        if "years/epochs" in state:
            self._years.restore(part_of_state(state, "years"))
        else:  # One of before there were sums over years.
            self._assume_years()

    def _assume_years(self) -> None:
        """Count all events so far to the latest year that they can be of.

        So they say nothing of growth themselves; what comes later is compared with them. The newest time is taken in
        UTC, which is exact enough for bins of days.
        """
        held = {}
        for epoch in self._profiles.factors():
            newest_ms = np.array([self._profiles.newest_in(epoch)], np.int64)
            _, _, newest_bin, newest_year = _bins(newest_ms)[:, 0].tolist()
            years = newest_year - FIRST_YEAR - (np.arange(_NUM_YEAR_BINS) > newest_bin)
            weights = np.zeros((1 + _NUM_YEAR_BINS, sum(_NUM_BINS)), np.int64)
            weights[0, -_NUM_YEAR_BINS:] = np.clip(years, 0, NUM_YEARS - 1)
            weights[1:, -_NUM_YEAR_BINS:] = np.eye(_NUM_YEAR_BINS, dtype=np.int64)
            moments, (_, *totals) = self._profiles.exact(epoch, weights)
            table = np.zeros((NUM_YEARS, _NUM_YEAR_BINS), np.int64)
            table[weights[0, -_NUM_YEAR_BINS:], np.arange(_NUM_YEAR_BINS)] = totals
            held[epoch] = moments, table
        self._years.begin_with(held)


def _bins(local_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return hour, weekday, bin of the year, and year of local times, int64 ``[4, n]``."""
    bins = np.empty((4, len(local_ms)), np.int64)
    count_kernels.bins_of_times(local_ms, bins, _DAYS_PER_YEAR_BIN)
    return bins


def _cyclic_gaussian(num_bins: int, width: float) -> npt.NDArray[np.float64]:
    """Return the weights of the bins 0, 1, … steps away, cyclic, float64 ``[num_bins]``; small weights are 0."""
    steps = np.arange(num_bins)
    distance = np.minimum(steps, num_bins - steps)
    kernel = np.exp(-0.5 * (distance / width) ** 2)
    kernel[kernel < 0.01] = 0.0
    normalised: npt.NDArray[np.float64] = kernel / kernel.sum()
    return normalised
