"""From times in a file to milliseconds since the Unix epoch: first each value by itself, then the unit of all numbers.

Numbers count from the epoch. The unit of all is that in which most of them are moments from 1990 to 2099; if there is
none, the largest decides: below 10^11 seconds (the year 5138), below 10^14 milliseconds, below 10^17 microseconds,
otherwise nanoseconds. If every number is such a moment in one of the four units, each is read in its own, so that a
file may mix them. If every number is a date in digits (``20171224``, ``20171224183000``), they are read as dates.

Texts are numbers, or ISO 8601 dates and times (``2017-12-24``, ``2017-12-24 18:30:00.5``,
``2017-12-24T18:30:00+01:00``), mixed as they come; with dots the day comes first (``24.12.2017``). A time without a
zone is UTC; a date is its midnight. Fractions of a millisecond are cut off.
"""

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from springtide.clock import MS_PER_DAY
from springtide.event_files.problems import Bad, EventFileError
from springtide.event_files.texts import is_missing_word, is_text
from springtide.events.limits import EARLIEST_MS, shorten

NS_PER_UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
WANTED = "wanted seconds, ms, us or ns since 1970, or ISO 8601 such as 2017-12-24 or 2017-12-24T18:30:00Z"
LATEST_MS = 253_402_300_799_999  # The end of the year 9999, where protobuf's Timestamp and Python's datetime end.

_NS_PER_MS = 1_000_000
_UNIT_BELOW = ((10**11, "s"), (10**14, "ms"), (10**17, "us"), (None, "ns"))
_PLAUSIBLE_S = (631_152_000, 4_102_444_800)  # 1990 up to 2100.
_SUSPECT_BEFORE_MS = 315_532_800_000  # 1980.
_IN_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_INTEGER = r"^[+-]?\d+$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_HAS_ZONE = r"\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d|[+-]\d\d)$"
_REWRITTEN = (
    (r"^(\d{4})/(\d\d?)/(\d\d?)", r"\1-\2-\3"),
    (r"^(\d\d?)\.(\d\d?)\.(\d{4})([ T]|$)", r"\3-\2-\1\4"),
    (r"((?:Z|[+-]\d\d:?\d\d))(?:\[[\w/+-]+\]| UTC)$", r"\1"),
    (r"\s*(UTC|GMT|z)$", "Z"),
    (r"(:\d\d(?:[.,]\d+)?)\s+([+-]\d\d)", r"\1\2"),
    (r"(:\d\d),(\d)", r"\1.\2"),
    (r"(:\d\d\.\d{3})\d+", r"\1"),
)
"""What people write beside strict ISO 8601, and what Arrow reads in its place; digits below 1 ms are cut off."""

_ONE_DIGIT = re.compile(r"(?<=[-/ T])(?=\d([-/: T]|$))")  # Before the day in 2018-01-5, or the hour in 9:05.
_TIME_OF_DAY = re.compile(r"^\d{1,2}:\d\d")
_SLASHES = re.compile(r"^\d{1,2}[/-]\d{1,2}[/-]\d{2,4}\b")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Times:
    """Times of some rows, before the unit of the numbers among them is known.

    Attributes:
        values: int64 or float64 ``[n]``: milliseconds where ``is_ms``, otherwise numbers of an unknown unit.
        is_ms: bool ``[n]``.
    """

    values: npt.NDArray[Any]
    is_ms: npt.NDArray[np.bool_]

    def __getitem__(self, kept: npt.NDArray[Any]) -> "Times":
        return Times(self.values[kept], self.is_ms[kept])


def read_times(column: pa.Array, *, decimal_comma: bool = False) -> tuple[Times, list[Bad]]:
    """Read a column of times; a row that cannot be read is 0.

    Args:
        column: Integers, floats, decimals, texts, dates or timestamps.
        decimal_comma: Whether ``1514764800,5`` is a number.

    Raises:
        EventFileError: If the column is of another type; its message goes on after the column's name.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_null(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if is_text(kind):
        return _of_texts(column.cast(pa.string()), decimal_comma=decimal_comma)
    missing = [Bad(int(row), "no time") for row in np.flatnonzero(column.is_null())]
    if pa.types.is_integer(kind):
        return _of_integers(column, missing)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = column.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
        is_bad = ~np.isfinite(numbers)
        bad = [Bad(int(row), f"{WANTED}, got {numbers[row]}") for row in np.flatnonzero(is_bad)]
        return _numbers(np.where(is_bad, 0.0, numbers)), missing + bad
    if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        raise EventFileError(f"{WANTED}, got a column of type {kind}")
    counted = column.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    counts = counted.cast(pa.int64()).fill_null(0).to_numpy()
    unit = kind.unit if pa.types.is_timestamp(kind) else "day" if pa.types.is_date32(kind) else "ms"
    ns_per_unit = NS_PER_UNIT.get(unit, MS_PER_DAY * _NS_PER_MS)
    is_out = _is_out_of_range(counts, ns_per_unit)
    bad = [
        Bad(int(row), f"wanted a time in the years 1 to 9999, got {counts[row]} as {kind}")
        for row in np.flatnonzero(is_out)
    ]
    return Times(_scaled(np.where(is_out, 0, counts), ns_per_unit), np.ones(len(counts), bool)), missing + bad


@dataclass(slots=True)
class TimeScale:
    """The unit of the numbers in a file's column of times: collected chunk by chunk, then decided.

    Attributes:
        unit: ``s``, ``ms``, ``us`` or ``ns``, if it is named; otherwise it is guessed from all numbers.
        notes: What a person should know about the guess, after ``decide``.
        latest: The latest time in milliseconds since the Unix epoch, and its row, after ``decide``; None without times.
    """

    unit: str | None = None
    notes: list[str] = field(default_factory=list)
    latest: tuple[int, int] | None = None
    _has_numbers: bool = False
    _are_dates: bool = True
    _num_numbers: int = 0
    _num_of_unit: Counter[str] = field(default_factory=Counter)
    _largest: float = 0
    _ends: dict[str, tuple[float, int]] = field(default_factory=dict)
    _form: str = ""

    def add(self, times: Times, rows: npt.NDArray[np.int64]) -> None:
        """Take the times of some rows into account.

        Args:
            times: Times of ``n`` rows.
            rows: int64 ``[n]``, numbers of the rows in the file.
        """
        for name, is_wanted in (("ms", times.is_ms), ("number", ~times.is_ms)):
            values = times.values[is_wanted]
            if not len(values):
                continue
            for end, at in (("first", int(values.argmin())), ("last", int(values.argmax()))):
                known = self._ends.get(f"{end} {name}")
                new = (values[at].item(), int(rows[is_wanted][at]))
                if known is None or (new[0] < known[0] if end == "first" else new[0] > known[0]):
                    self._ends[f"{end} {name}"] = new
        numbers = times.values[~times.is_ms]
        if not len(numbers):
            return
        self._has_numbers = True
        self._largest = max(self._largest, abs(numbers.min().item()), abs(numbers.max().item()))
        if self._are_dates:
            self._are_dates = bool(np.all(_dates_ms(numbers)[1]))
        self._num_numbers += len(numbers)
        codes, counts = np.unique(_units_of_each(numbers), return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            if code >= 0:
                self._num_of_unit[list(NS_PER_UNIT)[code]] += count

    def decide(self, now_ms: int) -> list[tuple[int, str]]:
        """Choose the unit, note what is doubtful, and return the rows whose numbers are no times in it, with words.

        Args:
            now_ms: Wall time, milliseconds since the Unix epoch; times after tomorrow are noted.
        """
        self._form = self._choose()
        out: list[tuple[int, str]] = []
        ends: list[tuple[int, int]] = []
        for name in ("first ms", "last ms", "first number", "last number"):
            if name not in self._ends:
                continue
            value, row = self._ends[name]
            if name.endswith("ms"):
                ends.append((int(value), row))
            elif self._form in NS_PER_UNIT and _is_out_of_range(np.array([value]), NS_PER_UNIT[self._form])[0]:
                words = _IN_WORDS[self._form]
                out.append((row, f"wanted a time in the years 1 to 9999, got {value:,} read as {words} since 1970"))
            else:
                ends.append((int(self._scale(np.array([value]))[0]), row))
        if ends and not out:
            self.latest = max(ends)
            self._note_doubts(min(ends), max(ends), now_ms)
        return list(dict.fromkeys(out))

    def to_ms(self, times: Times) -> npt.NDArray[np.int64]:
        """Return times in milliseconds since the Unix epoch, int64 ``[n]``; after ``decide``."""
        if times.is_ms.all():
            return times.values.astype(np.int64, copy=False)
        scaled = self._scale(np.where(times.is_ms, 0, times.values))
        return np.where(times.is_ms, times.values.astype(np.int64, copy=False), scaled)

    def _choose(self) -> str:
        if not self._has_numbers:
            return "none"
        if self.unit is not None:
            return self.unit
        if self._are_dates:
            return "dates"
        if self._num_of_unit.total() == self._num_numbers and len(self._num_of_unit) > 1:
            return "each"
        for unit, count in self._num_of_unit.most_common(1):
            if count > self._num_numbers / 2:
                return unit
        return next(unit for bound, unit in _UNIT_BELOW if bound is None or self._largest < bound)

    def _scale(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        if self._form == "dates":
            return _dates_ms(numbers)[0]
        if self._form != "each":
            return _scaled(numbers, NS_PER_UNIT[self._form])
        units = _units_of_each(numbers)
        scaled = np.zeros(len(numbers), np.int64)
        for code, ns_per_unit in enumerate(NS_PER_UNIT.values()):
            scaled[units == code] = _scaled(numbers[units == code], ns_per_unit)
        return scaled

    def _note_doubts(self, first: tuple[int, int], last: tuple[int, int], now_ms: int) -> None:
        if self._form == "dates":
            self.notes.append("times such as 20171224 are read as dates; --time-unit s reads them as seconds")
        if self._form == "each":
            units = " and ".join(_IN_WORDS[unit] for unit in NS_PER_UNIT if unit in self._num_of_unit)
            self.notes.append(f"times are in {units}, and each is read in its own unit; --time-unit names one for all")
        read_as = f", as numbers are read as {_IN_WORDS[self._form]}" if self._form in _IN_WORDS else ""
        way_out = "; --time-unit s, ms, us or ns names another unit" if self._has_numbers else ""
        for (timestamp_ms, row), is_doubtful, end in (
            (first, first[0] < _SUSPECT_BEFORE_MS, "earliest"),
            (last, last[0] > now_ms + MS_PER_DAY, "latest"),
        ):
            if is_doubtful:
                self.notes.append(f"the {end} time is {in_words(timestamp_ms)} (row {row:,}){read_as}{way_out}")


def in_words(timestamp_ms: int) -> str:
    """Return a time such as ``2017-12-24 18:30:00 UTC``; it lies in the years 1 to 9999."""
    return f"{_EPOCH + dt.timedelta(milliseconds=timestamp_ms):%Y-%m-%d %H:%M:%S} UTC"


def _numbers(values: npt.NDArray[Any]) -> Times:
    return Times(values, np.zeros(len(values), bool))


def _of_integers(column: pa.Array, bad: list[Bad]) -> tuple[Times, list[Bad]]:
    if column.type == pa.uint64():
        too_large = pc.fill_null(pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())), False)
        rows = np.flatnonzero(too_large.to_numpy(zero_copy_only=False))
        bad += [Bad(int(row), f"{WANTED}, got {column[int(row)]}") for row in rows]
        column = pc.if_else(too_large, pa.scalar(0, pa.uint64()), column)
    return _numbers(column.cast(pa.int64()).fill_null(0).to_numpy()), bad


def _of_texts(texts: pa.Array, *, decimal_comma: bool) -> tuple[Times, list[Bad]]:
    texts = pc.utf8_trim_whitespace(texts.fill_null(""))
    is_integer = _matches(texts, _INTEGER)
    if is_integer.all() and (integers := _cast(texts, pa.int64())) is not None:
        return _numbers(integers), []
    if decimal_comma:
        texts = pc.replace_substring_regex(texts, r"^([+-]?\d+),(\d+)$", r"\1.\2")
    is_number = is_integer | _matches(texts, _NUMBER)
    bad: list[Bad] = []
    if is_number.any():
        numbers, bad = _numbers_of_texts(texts, is_number, is_integer)
    else:
        numbers = np.zeros(len(texts), np.int64)
    others = np.flatnonzero(~is_number)
    milliseconds, unread = _dates_of_texts(texts.take(pa.array(others)))
    values = numbers
    values[others] = milliseconds
    bad += [Bad(int(others[row]), words) for row, words in unread]
    return Times(values, ~is_number), bad


def _numbers_of_texts(
    texts: pa.Array, is_number: npt.NDArray[np.bool_], is_integer: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[Any], list[Bad]]:
    """Return the numbers, int64 if all of them are integers and otherwise float64 ``[n]``, and those out of range."""
    rows = np.flatnonzero(is_number)
    found = texts.take(pa.array(rows))
    if (is_integer == is_number).all() and (integers := _cast(found, pa.int64())) is not None:
        values: npt.NDArray[Any] = np.zeros(len(texts), np.int64)
        values[rows] = integers
        return values, []
    bad = []
    values = np.zeros(len(texts), np.float64)
    for row, text in zip(rows.tolist(), found.to_pylist(), strict=True):
        number = float(text)
        if abs(number) < 2.0**63:
            values[row] = number
        else:
            bad.append(Bad(row, f"{WANTED}, got {shorten(text)}"))
    return values, bad


def _dates_of_texts(texts: pa.Array) -> tuple[npt.NDArray[np.int64], list[tuple[int, str]]]:
    """Return dates and times in milliseconds, int64 ``[n]``, and the rows that cannot be read, with words."""
    milliseconds = np.zeros(len(texts), np.int64)
    if not len(texts):
        return milliseconds, []
    rewritten = texts
    for pattern, replacement in _REWRITTEN:
        rewritten = pc.replace_substring_regex(rewritten, pattern, replacement)
    has_zone = _matches(rewritten, _HAS_ZONE)
    bad: list[tuple[int, str]] = []
    for rows, zone in ((np.flatnonzero(has_zone), "UTC"), (np.flatnonzero(~has_zone), None)):
        found = rewritten.take(pa.array(rows))
        read = _cast(found, pa.timestamp("ms", zone))
        if read is not None:
            milliseconds[rows] = read
            continue
        for row, text in zip(rows.tolist(), found.to_pylist(), strict=True):
            try:
                milliseconds[row] = _one_date(text)
            except ValueError:
                original = texts[row].as_py()
                bad.append((row, "no time" if is_missing_word(original) else f"{WANTED}, got {_described(original)}"))
    return milliseconds, sorted(bad)


def _described(text: str) -> str:
    """Return a text that is no time, and what its author may not know about it."""
    if _TIME_OF_DAY.match(text):
        return f"{shorten(text)}, a time of day without its date: --columns time=date+clock joins two columns"
    if _SLASHES.match(text):
        return f"{shorten(text)}: --time-format %d/%m/%Y or %m/%d/%Y says whether the day comes first"
    return shorten(text)


def _one_date(text: str) -> int:
    """Return a date or time of ISO 8601 in milliseconds since the Unix epoch.

    Raises:
        ValueError: If it is none.
    """
    moment = dt.datetime.fromisoformat(_ONE_DIGIT.sub("0", text))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def _matches(texts: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    matched: npt.NDArray[np.bool_] = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return matched


def _cast(texts: pa.Array, kind: pa.DataType) -> npt.NDArray[np.int64] | None:
    """Return texts as integers or as milliseconds, int64 ``[n]``; None if one of them is something else."""
    try:
        numbers: npt.NDArray[np.int64] = texts.cast(kind).cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    is_date = pa.types.is_timestamp(kind) and len(numbers)
    return None if is_date and (numbers.min() < EARLIEST_MS or numbers.max() > LATEST_MS) else numbers


def _scaled(numbers: npt.NDArray[Any], ns_per_unit: int) -> npt.NDArray[np.int64]:
    """Return numbers of a unit in milliseconds, int64 ``[n]``, rounded down."""
    if numbers.dtype.kind == "f":
        return np.floor(numbers * (ns_per_unit / _NS_PER_MS)).astype(np.int64)
    if ns_per_unit >= _NS_PER_MS:
        return numbers.astype(np.int64) * (ns_per_unit // _NS_PER_MS)
    return numbers.astype(np.int64) // (_NS_PER_MS // ns_per_unit)


def _is_out_of_range(numbers: npt.NDArray[Any], ns_per_unit: int) -> npt.NDArray[np.bool_]:
    """Return which numbers lie outside the years 1 to 9999, bool ``[n]``."""
    is_out: npt.NDArray[np.bool_] = (numbers < EARLIEST_MS * _NS_PER_MS // ns_per_unit) | (
        numbers > LATEST_MS * _NS_PER_MS // ns_per_unit
    )
    return is_out


def _units_of_each(numbers: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """Return the index of the unit in which each number is a moment from 1990 to 2099, int8 ``[n]``; -1 for none."""
    units = np.full(len(numbers), -1, np.int8)
    for code, ns_per_unit in enumerate(NS_PER_UNIT.values()):
        low, high = (second * (NS_PER_UNIT["s"] // ns_per_unit) for second in _PLAUSIBLE_S)
        units[(numbers >= low) & (numbers < high)] = code
    return units


def _dates_ms(numbers: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Read numbers as digits of dates, YYYYMMDD or YYYYMMDDhhmmss.

    Returns:
        Milliseconds since the epoch, int64 ``[n]``, and which numbers are dates from 1900 to 2099, bool ``[n]``.
    """
    digits = np.clip(numbers, 0, 10**15).astype(np.int64)
    has_time = digits >= 10**13
    days, clock = np.where(has_time, digits // 10**6, digits), np.where(has_time, digits % 10**6, 0)
    year, month, day = days // 10_000, days // 100 % 100, days % 100
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    is_date = (numbers == digits) & (year >= 1900) & (year <= 2099) & (month >= 1) & (month <= 12) & (day >= 1)
    is_date &= (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(is_date, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    first_day, next_month = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
    is_date &= day <= (next_month - first_day).astype(np.int64)
    seconds = (first_day.astype(np.int64) + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second
    return seconds * 1_000, is_date
