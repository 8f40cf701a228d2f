"""From times in a file to milliseconds since the Unix epoch.

Numbers count from the epoch. The largest number of a column decides the unit of all: below 10^11 seconds (the year
5138), below 10^14 milliseconds, below 10^17 microseconds, otherwise nanoseconds. Texts are numbers, or ISO 8601 dates
and times (``2017-12-24``, ``2017-12-24 18:30:00.5``, ``2017-12-24T18:30:00+01:00``). A time without a zone is UTC; a
date is its midnight. Fractions of a millisecond are cut off.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from springtide.errors import DatasetError

_NS_PER_MS = 1_000_000
_PER_UNIT_NS = (
    (10**11, 1_000_000_000),
    (10**14, 1_000_000),
    (10**17, 1_000),
    (None, 1),
)  # Upper bound of the numbers, and the length of their unit in ns.
_HAS_ZONE = r"\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$"
_ROWS_AT_ONCE = 65_536
_WANTED = "wanted seconds, ms, us or ns since 1970, or ISO 8601 such as 2017-12-24 or 2017-12-24T18:30:00Z"


def timestamps_ms_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the times of a column without nulls, int64 ``[n]``.

    Args:
        column: Integers, floats, texts, dates or timestamps.

    Raises:
        DatasetError: If it is of another type, or a row cannot be read as a time; rows are counted from 1.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _of_texts(pc.utf8_trim_whitespace(column))
    if pa.types.is_integer(kind):
        return _of_integers(column.cast(pa.int64()).to_numpy())
    if pa.types.is_floating(kind):
        return _of_floats(column.cast(pa.float64()).to_numpy())
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s"))
    elif not pa.types.is_timestamp(kind):
        raise DatasetError(f"{_WANTED}, got a column of type {kind}")
    to_ms = pc.floor_temporal(column, unit="millisecond") if column.type.unit in ("us", "ns") else column
    return np.asarray(to_ms.cast(pa.timestamp("ms", column.type.tz)).cast(pa.int64()).to_numpy())


def _of_texts(texts: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    first = texts[0].as_py()
    if _is_castable(texts[:1], pa.float64()):
        if _is_castable(texts, pa.int64()):
            return _of_integers(texts.cast(pa.int64()).to_numpy())
        if _is_castable(texts, pa.float64()):
            return _of_floats(texts.cast(pa.float64()).to_numpy())
        raise _refusal(texts, pa.float64(), f"as in row 1, {first!r}")
    has_zone = pc.match_substring_regex(texts, _HAS_ZONE)
    is_zoned = has_zone[0].as_py()
    kind = pa.timestamp("ns", "UTC" if is_zoned else None)
    if not _is_castable(texts, kind):
        note = f"and {'a' if is_zoned else 'no'} zone, as in row 1" if _is_castable(texts[:1], kind) else ""
        raise _refusal(texts, kind, note)
    return np.asarray(texts.cast(kind).cast(pa.int64()).to_numpy() // _NS_PER_MS)


def _of_integers(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    low, high = int(numbers.min()), int(numbers.max())
    if low >= 1900_01_01 and high <= 2100_12_31 and np.all((numbers // 100 % 100 <= 12) & (numbers % 100 <= 31)):
        # Read as seconds, these would silently be some weeks of 1970.
        raise DatasetError(f"{_WANTED}, got {numbers[0]} in row 1: a date is written as 2017-12-24")
    unit_ns = _unit_ns(max(abs(low), abs(high)))
    return numbers * (unit_ns // _NS_PER_MS) if unit_ns >= _NS_PER_MS else numbers // (_NS_PER_MS // unit_ns)


def _of_floats(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    if not np.all(np.isfinite(numbers)):
        row = int(np.argmin(np.isfinite(numbers)))
        raise DatasetError(f"{_WANTED}, got {numbers[row]} in row {row + 1}")
    return np.floor(numbers * (_unit_ns(float(np.abs(numbers).max())) / _NS_PER_MS)).astype(np.int64)


def _unit_ns(largest: float) -> int:
    return next(unit_ns for bound, unit_ns in _PER_UNIT_NS if bound is None or largest < bound)


def _is_castable(texts: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _refusal(texts: pa.ChunkedArray, kind: pa.DataType, note: str) -> DatasetError:
    """Return the error for the first row that cannot be cast."""
    first, size = 0, _ROWS_AT_ONCE
    while _is_castable(texts[first : first + size], kind):
        first += size
    row = next(row for row in range(first, len(texts)) if not _is_castable(texts[row : row + 1], kind))
    return DatasetError(f"{' '.join(filter(None, (_WANTED, note)))}, got {texts[row].as_py()!r} in row {row + 1}")
