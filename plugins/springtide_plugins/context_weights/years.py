"""What tells growth from season: in which years an item's events were, beside those of all items at that time of year.

Where an item grows, its later events are more in each time of year; where it has a season, they are not. So events of
one time of year alone are compared, across years. For an item ``i`` with decayed counts ``c_ib`` by time of year ``b``,

    D_i = Σ_e w_e·year_e - Σ_b c_ib·ȳ_b,    V_i = Σ_b c_ib·v_b,

with ``ȳ_b`` and ``v_b`` the mean and the variance of the year of all items' events at that time of year. Whatever its
season, an item that keeps its share has D_i = 0 on average, with variance V_i. Where it grows by ``g`` a year, D_i is
about g·V_i: the score test of ``g`` in the conditional likelihood of the events' years, given their times of year (Cox
and Hinkley 1974). With a prior N(0, τ²) of growth, the first step to the mode is g_i = D_i / (V_i + 1/τ²).

An event costs two additions of whole numbers (``year_kernels``), so sums are exact, in any order, and without what was
taken back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights import year_kernels
from springtide_plugins.context_weights.binned_counts import Quanta
from springtide_plugins.context_weights.counts import Floats, part_of_state, refuse_row
from springtide_plugins.context_weights.epochs import KEPT

Int64s = npt.NDArray[np.int64]

FIRST_YEAR, NUM_YEARS = 1970, 128
_NO_MOMENTS, _NO_TABLE = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
_STEPS = 64  # Of a year: coarser mean years are the same from hour to hour, so that weighted sums can be kept.
_PRIOR = 4.0  # 1/τ², for a standard deviation of 0.5: an item's share changes by 65 % a year.
_GROWTHS = np.linspace(-1.0, 1.0, 17)  # More is for the most part an item's beginning or end.
_REACH = 5.0  # Years that an item grows or shrinks, from the middle of all events on: a wrong date may be far away.
_MAIN_SHARE = 0.95  # A time of year with so much of its events in one year tells nothing of growth,
_MIN_TELLING = 0.5  # and so many times of year must: the others of an item are then as old, on average.


@dataclass(frozen=True, slots=True)
class Pace:
    """How to read the growth of items from sums over their times of year, and what it does to their profiles.

    Attributes:
        base: Year from which ``means`` are counted, itself counted from 1970.
        means: float64 ``[num_parts]``, mean year of all events at each time of year, at least 0, in 64ths.
        variances: float64 ``[num_parts]``, variance of the year, in 64ths; 0 where events are of one year.
        shares: float64 ``[num_parts]``, decayed counts of all events.
        slopes: float64 ``[num_growths]``, ascending: what D/V is on average where an item grows by each of a few rates.
        levels: float64 ``[num_growths, num_parts]``, how much such an item has at each time of year, of what it would
            have without growth; up to a factor.
    """

    base: int
    means: Floats
    variances: Floats
    shares: Floats
    slopes: Floats
    levels: Floats

    def log_expected(self, deviations: Floats, variances: Floats, near: Floats) -> Floats:
        """Return the log of what growth makes of the items' counts around a time of year, float64 ``[num_items]``.

        Args:
            deviations: float64 ``[num_items]``, ``D``.
            variances: float64 ``[num_items]``, ``V``.
            near: float64 ``[num_parts]``, weights of the times of year around the moment.
        """
        around, ever = near * self.shares, self.shares
        if around.sum() == 0:
            return np.zeros(len(deviations))
        log_ratios = np.log((self.levels * around).sum(1) / around.sum())
        log_ratios -= np.log((self.levels * ever).sum(1) / ever.sum())
        logs: Floats = np.interp(deviations / (variances + _PRIOR), self.slopes, log_ratios)
        return logs


def pace_of(table: Floats) -> Pace | None:
    """Return how to read growth, from the decayed counts of all events, float64 ``[128, num_parts]``.

    Returns:
        None if growth cannot be told from season: if fewer than half of the times of year have events in two years.
    """
    years = np.flatnonzero(table.any(1))
    if not len(years):
        return None
    base, table = int(years[0]), np.maximum(table[years], 0.0)
    shares = table.sum(0)
    of_years = np.divide(table, shares, out=np.zeros_like(table), where=shares > 0)
    if ((shares > 0) & (of_years.max(0) < _MAIN_SHARE)).mean() < _MIN_TELLING:
        return None
    numbers = (years - base).astype(np.float64)[:, None]
    means = (of_years * numbers).sum(0)
    variances = (of_years * numbers**2).sum(0) - means**2
    within = (np.arange(table.shape[1]) + 0.5) / table.shape[1]
    middle = float((shares * (means + within)).sum() / shares.sum())
    away = np.clip(numbers + within - middle, -_REACH, _REACH)
    grown = of_years * np.exp(_GROWTHS[:, None, None] * away)  # [num_growths, num_years, num_parts]
    levels = grown.sum(1)
    means_grown = np.divide((grown * numbers).sum(1), levels, out=np.zeros_like(levels), where=levels > 0)
    slopes = ((means_grown - means) * shares).sum(1) / (variances * shares).sum()
    means, variances = (np.rint(numbers_ * _STEPS) / _STEPS for numbers_ in (means, variances))
    return Pace(base, means, variances, shares, slopes, levels)


class YearSums:
    """Exact sums over years: of each row its events' weights times years, and all weights by year and time of year.

    A row takes 8 bytes, as long as events span no more than one epoch.

    Args:
        num_parts: Number of parts of the year.
    """

    def __init__(self, num_parts: int) -> None:
        self._num_parts = num_parts
        # By epoch, in quanta; replaced as one, since other threads read it.
        self._held: Mapping[int, tuple[Int64s, Int64s]] = {}
        # Of the writing thread alone: those of the epochs that are kept.
        self._oldest: int | None = None
        self._moments: list[Int64s] = []
        self._tables: list[Int64s] = []

    def add(self, rows: npt.NDArray[np.int32], bins: Int64s, events: Quanta) -> None:
        """Add events.

        Args:
            rows: int32 ``[n]``.
            bins: int64 ``[4, n]``, as ``count_kernels.bins_of_times`` writes them.
            events: Their weights.
        """
        if events.oldest != self._oldest:
            self._oldest = events.oldest
            self._held = {epoch: held for epoch, held in self._held.items() if epoch >= events.oldest}
            kept = [self._held.get(events.oldest + number, (_NO_MOMENTS, _NO_TABLE)) for number in range(KEPT)]
            self._moments, self._tables = [moments for moments, _ in kept], [table for _, table in kept]
        done = 0
        while True:
            done = year_kernels.add_years(
                self._moments, self._tables, rows, bins, events.of_epoch, events.quanta, FIRST_YEAR, NUM_YEARS, done
            )
            if done == len(rows):
                return
            number = int(events.of_epoch[done])
            refuse_row(int(rows[done]), is_new_epoch=number >= KEPT)
            old = self._moments[number]
            moments = np.zeros(max(int(rows.max()) + 1, len(old) + len(old) // 8), np.int64)
            moments[: len(old)] = old
            if not len(old):
                self._tables[number] = np.zeros((NUM_YEARS, self._num_parts), np.int64)
            self._moments[number] = moments
            self._held = {**self._held, events.oldest + number: (moments, self._tables[number])}

    def forget(self, rows: npt.NDArray[np.int32]) -> None:
        """Forget all events of some rows, int32 ``[n]``; the sums by year and time of year keep them."""
        for moments, _ in self._held.values():
            moments[rows[rows < len(moments)]] = 0

    def table(self, factors: Mapping[int, float]) -> Floats:
        """Return counts of all events, float64 ``[128, num_parts]``, by what a quantum of each epoch counts."""
        table = np.zeros((NUM_YEARS, self._num_parts))
        for epoch, (_, of_epoch) in sorted(self._held.items()):
            table += of_epoch * factors.get(epoch, 0.0)
        return table

    def moments(self, factors: Mapping[int, float], num_rows: int) -> Floats:
        """Return sums of years from 1970 on, float64 ``[num_rows]``, by what a quantum of each epoch counts."""
        sums = np.zeros(num_rows)
        for epoch, (moments, _) in sorted(self._held.items()):
            few = moments[:num_rows]
            sums[: len(few)] += few * factors.get(epoch, 0.0)
        return sums

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that ``restore`` needs."""
        held = {epoch: sums for epoch, sums in sorted(self._held.items()) if any(array.any() for array in sums)}
        first = {
            epoch: int(np.flatnonzero(table.any(1))[0]) if table.any() else 0 for epoch, (_, table) in held.items()
        }
        state: dict[str, npt.NDArray[Any]] = {"epochs": np.array([*first.items()], np.int64).reshape(-1, 2)}
        for index, (epoch, (moments, table)) in enumerate(held.items()):
            in_use, years = np.flatnonzero(moments), np.flatnonzero(table.any(1))
            state[f"{index}/moments"] = moments[: in_use[-1] + 1 if len(in_use) else 0].copy()
            state[f"{index}/table"] = table[first[epoch] : years[-1] + 1 if len(years) else 0].copy()
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned."""
        held = {}
        for index, (epoch, first) in enumerate(state["epochs"].tolist()):
            saved = part_of_state(state, str(index))
            table = np.zeros((NUM_YEARS, self._num_parts), np.int64)
            table[first : first + len(saved["table"])] = saved["table"]
            held[epoch] = saved["moments"].copy(), table
        self.begin_with(held)

    def begin_with(self, held: Mapping[int, tuple[Int64s, Int64s]]) -> None:
        """Continue from sums by epoch: int64 ``[num_rows]`` and ``[128, num_parts]``, as ``add`` makes them."""
        no_rows = np.zeros(1, np.int64)  # Without entries, sums would be taken for some that are not there.
        self._held = {epoch: (sums if len(sums) else no_rows, table) for epoch, (sums, table) in held.items()}
        self._oldest = None
