"""Demand for an item in the days around occasions, such as Christmas, Diwali or the cup final."""

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Annotated, Any

import holidays
import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.errors import SettingsError
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide.plugins.wall_clock import TIME_ZONE, WallClock
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.counts import NO_GROUPS, Floats, log_lift

_MAX_OCCASIONS = (
    16  # With 9 parts each, at the most days allowed: 580 bytes an item, so a million items fit into 1 GiB.
)
_MAX_DAYS_BEFORE, _MAX_DAYS_AFTER = 31, 7
_KNOWN_YEARS = range(2015, 2036)  # A country's holidays are those that occur in most of these years.
_FIRST_YEAR, _LAST_YEAR = 1970, 2100  # No event is outside these years: such a time is near no occasion.
_NEIGHBOUR = 0.5  # Weight of the neighbouring parts of a part, if they are as wide.
_DATED = re.compile(r"(?P<name>[^=]*[^=\s])\s*=\s*(?P<year>\d{4}-)?(?P<day>\d{2}-\d{2})")

DatesOfYear = Callable[[int], Sequence[tuple[str, dt.date]]]


class Occasions(ContextWeight):
    """An item's share of interactions this many days before or after an occasion, over its share at any time.

    Each occasion has a profile of its own. Its parts get wider with their distance from the occasion: the day itself,
    the day before, two to three days before, four to seven, and so on. Parts borrow from their neighbours, and items
    from their groups (``counts.log_lift``). Near several occasions, the strongest lift counts.

    A country's holidays come from the package ``holidays``. There are at most 16 occasions, those of ``dates`` first.
    Days are days in the user's time zone. Without a country and dates, the weight is neutral.

    Args:
        country: ISO code of a country whose public holidays count, such as ``PT``.
        subdivision: Its state or province, for holidays of its own.
        dates: Further occasions: ``Black Friday=2024-11-29`` for one year, ``Valentine=02-14`` for every year. An
            occasion whose date moves is given once for each year, under the same name.
        days_before: Days before an occasion that count, 0 to 31.
        days_after: Days after it that count, 0 to 7.
        time_zone: Time zone of users without one, or with an unknown one.
        prior: Weight of the prior, which is the profile of the item's group, in interactions, above 0.
        half_life_days: Half-life of the counts, in days; None for no decay.
    """

    factors = (Factor("near", needs_whole_history=True, words="wanted {lift} as much as usual around this occasion"),)
    context_keys = (TIME_ZONE,)

    def __init__(
        self,
        country: str | None = None,
        subdivision: str | None = None,
        dates: tuple[str, ...] = (),
        days_before: Annotated[int, Field(ge=0, le=_MAX_DAYS_BEFORE)] = 14,
        days_after: Annotated[int, Field(ge=0, le=_MAX_DAYS_AFTER)] = 3,
        time_zone: str = "UTC",
        prior: PositiveFloat = 5.0,
        half_life_days: PositiveFloat | None = 1_095.0,
    ) -> None:
        self._clock = WallClock("occasions", time_zone)
        self.prior = prior
        self._groups = NO_GROUPS
        given_names, given_dates = _given_dates(dates)
        names, holidays_of = _country_holidays(country, subdivision)
        self._names = [*given_names, *(name for name in names if name not in given_names)][:_MAX_OCCASIONS]
        self._dates_of: tuple[DatesOfYear, ...] = (given_dates, holidays_of)
        self._parts = _parts(days_before, days_after)
        self._num_cells = len(self._names) * len(self._parts)
        # One bin for each part of each occasion, and a last one for all interactions.
        half_life_ms = np.inf if half_life_days is None else half_life_days * MS_PER_DAY
        self._profiles = BinnedCounts(self._num_cells + 1, half_life_ms)
        self._days_of_year: dict[int, list[tuple[int, int]]] = {}
        self._cells_of_day: dict[int, tuple[int, ...]] = {}

    @property
    def names(self) -> Sequence[str]:
        """The names of the occasions."""
        return tuple(self._names)

    def regroup(self, groups: ItemGroups) -> None:
        """Take the groups of items."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction in the bin of any time, and in the parts of the occasions that it is near."""
        self._count(observed, observed.weights)

    def unobserve(self, observed: Observed) -> None:
        """Take interactions back."""
        self._count(observed, -observed.weights)

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all interactions of some items; nothing is kept of users."""
        self._profiles.forget(item_rows)

    def _count(self, observed: Observed, weights: npt.NDArray[np.float32]) -> None:
        if not self._names:
            return
        any_time = np.full(len(observed), self._num_cells, np.int64)
        times = observed.timestamps_ms
        self._profiles.add(observed.item_rows, any_time, times, weights, observed.clock_ms)
        if len(observed) == 0:
            return
        days, of_day = np.unique(self._clock.of_events(observed) // MS_PER_DAY, return_inverse=True)
        cells = [self._cells(int(day)) for day in days]
        for number in range(max(map(len, cells))):
            cell = np.array([day[number] if number < len(day) else -1 for day in cells], np.int64)[of_day]  # [n]
            near = np.flatnonzero(cell >= 0)
            self._profiles.add(observed.item_rows[near], cell[near], times[near], weights[near])

    def bucket(self, moment: Moment) -> Hashable:
        """Return the parts of occasions that the moment's day lies in."""
        return self._cells(int(self._clock.of_moment(moment)[0] // MS_PER_DAY))

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return each item's strongest log lift among the occasions near the moment; None if none is near."""
        cells = self._cells(int(self._clock.of_moment(moment)[0] // MS_PER_DAY))
        if not cells:
            return None
        usual, total = self._profiles.smoothed(self._num_cells, np.eye(1, self._num_cells + 1)[0], num_items)
        if total == 0:
            return None
        strongest = np.zeros(num_items, np.float32)
        for cell in cells:
            kernel = self._kernel(cell)
            scale = 1.0 / np.square(kernel).sum()
            now, total_now = self._profiles.smoothed(cell, scale * kernel, num_items)
            expected = usual * (total_now / total)
            lifts = log_lift(now, expected, self.prior, self._groups)
            strongest = np.where(np.abs(lifts) > np.abs(strongest), lifts, strongest)
        return strongest[None, :]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all profiles with their labels."""
        labels = np.frombuffer(json.dumps(self._labels()).encode(), np.uint8)
        return {"labels": labels.copy(), **self._profiles.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the profiles of occasions that still exist; a new occasion starts at zero."""
        labels: list[str] = json.loads(state["labels"].tobytes())
        saved_bin_of = {label: bin_ for bin_, label in enumerate(labels)}
        self._profiles.restore(state, [saved_bin_of.get(label, -1) for label in self._labels()])

    def _labels(self) -> list[str]:
        of_parts = (f"{first}..{last} {name}" for name in self._names for first, last in self._parts)
        return [*of_parts, "any time"]

    def _kernel(self, cell: int) -> Floats:
        """Return the weights of a part and its neighbours, float64 ``[num_cells + 1]``; a wider one counts for less."""
        part = cell % len(self._parts)
        kernel = np.zeros(self._num_cells + 1)
        kernel[0] = 1.0
        widths = [last - first + 1 for first, last in self._parts]
        for step in (-1, 1):
            if 0 <= part + step < len(widths):
                kernel[step] = _NEIGHBOUR * min(1.0, widths[part] / widths[part + step])
        kernel /= kernel.sum()
        return kernel

    def _cells(self, day: int) -> tuple[int, ...]:
        """Return the bins of the parts of occasions that a day lies in; ``day`` is in days since the Unix epoch."""
        cells = self._cells_of_day.get(day)
        if cells is None:
            nearest: dict[int, int] = {}  # An occasion of several days counts by its nearest day.
            year = 1970 + int(np.datetime64(day, "D").astype("datetime64[Y]").astype(np.int64))
            for date, name in (entry for near in (year - 1, year, year + 1) for entry in self._days_of(near)):
                if self._parts[0][0] <= day - date <= self._parts[-1][1]:
                    offset = day - date
                    nearest[name] = min(offset, nearest.get(name, offset), key=lambda days: (abs(days), days))
            cells = tuple(sorted(name * len(self._parts) + self._part(offset) for name, offset in nearest.items()))
            if _FIRST_YEAR <= year <= _LAST_YEAR:  # So that the cache is bounded.
                self._cells_of_day[day] = cells
        return cells

    def _part(self, offset: int) -> int:
        return next(part for part, (_, last) in enumerate(self._parts) if offset <= last)

    def _days_of(self, year: int) -> list[tuple[int, int]]:
        """Return (days since the Unix epoch, index of the name) of the occasions in a year."""
        if not _FIRST_YEAR <= year <= _LAST_YEAR:
            return []
        if year not in self._days_of_year:
            index_of = {name: index for index, name in enumerate(self._names)}
            self._days_of_year[year] = [
                (int(np.datetime64(date, "D").astype(np.int64)), index_of[name])
                for dates_of in self._dates_of
                for name, date in dates_of(year)
                if name in index_of
            ]
        return self._days_of_year[year]


def _parts(days_before: int, days_after: int) -> list[tuple[int, int]]:
    """Return the first and last day of each part, counted from the occasion."""
    before = [(-last, -first) for first, last in _doubling(days_before)]
    return [*reversed(before), (0, 0), *_doubling(days_after)]


def _doubling(num_days: int) -> list[tuple[int, int]]:
    """Return 1 to 1, 2 to 3, 4 to 7, … up to the number of days."""
    starts = [2**power for power in range(num_days.bit_length())]
    return [(start, min(2 * start - 1, num_days)) for start in starts]


def _given_dates(dates: Sequence[str]) -> tuple[list[str], DatesOfYear]:
    """Read ``name=YYYY-MM-DD`` and ``name=MM-DD``; return the names, and the dates of a year."""
    once: list[tuple[str, dt.date]] = []
    every_year: list[tuple[str, dt.date]] = []
    for written in dates:
        try:
            match = _DATED.fullmatch(written.strip())
            if match is None:
                raise ValueError(written)
            date = dt.date.fromisoformat((match["year"] or "2000-") + match["day"])  # 2000 had a leap day.
        except ValueError as error:
            raise SettingsError(
                "context weight 'occasions': wanted dates such as 'Black Friday=2024-11-29' or 'Valentine=02-14', "
                f"got {written!r}"
            ) from error
        (once if match["year"] else every_year).append((match["name"], date))
    names = list(dict.fromkeys(name for name, _ in (*once, *every_year)))
    if len(names) > _MAX_OCCASIONS:
        raise SettingsError(f"context weight 'occasions': wanted dates of {_MAX_OCCASIONS} names, got {len(names)}")

    def of_year(year: int) -> list[tuple[str, dt.date]]:
        is_leap = dt.date(year, 12, 31).timetuple().tm_yday == 366
        yearly = [
            (name, date.replace(year=year)) for name, date in every_year if is_leap or date.day < 29 or date.month != 2
        ]
        return [*(entry for entry in once if entry[1].year == year), *yearly]

    return names, of_year


def _country_holidays(country: str | None, subdivision: str | None) -> tuple[list[str], DatesOfYear]:
    """Return the holidays that a country has in most years, the most frequent first, and the dates of a year."""
    if country is None:
        if subdivision is not None:
            raise SettingsError(f"context weight 'occasions': wanted the country of subdivision {subdivision!r}")
        return [], lambda year: []
    choices = holidays.list_supported_countries()
    if country not in choices:
        some = ", ".join(code for code in ("BR", "DE", "FR", "GB", "IN", "JP", "PT", "US") if code in choices)
        raise SettingsError(
            f"context weight 'occasions': wanted the ISO code of a country (such as {some}; {len(choices)} in all), "
            f"got {country!r}"
        )
    if subdivision is not None and subdivision not in choices[country]:
        some = ", ".join(choices[country]) or "none"
        raise SettingsError(
            f"context weight 'occasions': no subdivision of {country} named {subdivision!r} (choices: {some})"
        )

    def of_year(year: int) -> list[tuple[str, dt.date]]:
        # Without a language, it would be that of the process; a country without English names keeps its own.
        dates = holidays.country_holidays(country, subdivision, year, observed=False, language="en_US")
        return [(name.removesuffix(" (estimated)"), date) for date in sorted(dates) for name in dates.get_list(date)]

    years = Counter(name for year in _KNOWN_YEARS for name in {name for name, _ in of_year(year)})
    steady = [name for name, count in years.items() if 2 * count > len(_KNOWN_YEARS)]
    return sorted(steady, key=lambda name: (-years[name], name)), of_year
