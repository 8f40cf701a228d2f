"""Times in files: every unit and form, and what is doubtful about them."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from springtide.event_files import EventFileError
from springtide.event_files.times import TimeScale, read_times

NEW_YEAR_MS = 1_514_764_800_000  # 2018-01-01 UTC
NOW_MS = 1_800_000_000_000


def milliseconds(column: pa.Array, unit: str | None = None) -> list[int]:
    times, bad = read_times(column)
    assert bad == []
    scale = TimeScale(unit)
    scale.add(times, np.arange(1, len(column) + 1))
    assert scale.decide(NOW_MS) == []
    return scale.to_ms(times).tolist()


@pytest.mark.parametrize(
    "times",
    [
        [1_514_764_800, 1_514_764_801],
        [1_514_764_800_000, 1_514_764_801_000],
        [1_514_764_800_000_000, 1_514_764_801_000_999],
        [1_514_764_800_000_000_000, 1_514_764_801_000_999_999],
        [1_514_764_800.0, 1_514_764_801.0],
        ["1514764800", "1514764801"],
        ["1514764800.0", " 1514764801.0"],
        ["2018-01-01", "2018-01-01 00:00:01"],
        ["2018-01-01T00:00:00.000", "2018-01-01T00:00:01.000999999"],
        ["2018-01-01T00:00:00Z", "2018-01-01T01:00:01+01:00"],
        [datetime(2018, 1, 1), datetime(2018, 1, 1, 0, 0, 1, 999)],
        ["20180101", "2018-01-01 00:00:01 UTC"],
        ["2018/01/01", "2018/01/01 00:00:01,000"],
        ["2018-1-1", "2018/1/1 0:00:01"],
        ["2018-01-01 01:00:00 +0100", "2017-12-31T23:00:01-01:00"],
        ["20180101T000000Z", "2018-01-01T00:00:01"],
        [20180101000000, 20180101000001],
        ["1514764800", "1514764801000"],
        [1_514_764_800, 1_514_764_801_000_000_000],
        ["1514764800", "2018-01-01T00:00:01Z"],
        ["1.5147648e9", "1514764801.000"],
        [Decimal("1514764800.000"), Decimal("1514764801.000")],
    ],
    ids=str,
)
def test_times_of_every_unit_and_form_are_the_same(times: list[object]) -> None:
    assert milliseconds(pa.array(times)) == [NEW_YEAR_MS, NEW_YEAR_MS + 1_000]


@pytest.mark.parametrize(
    "kind",
    [
        pa.date32(),
        pa.date64(),
        *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
        pa.timestamp("ns", "Asia/Tokyo"),
    ],
    ids=str,
)
def test_times_of_every_type_of_arrow_are_the_same(kind: pa.DataType) -> None:
    column = pa.array([datetime(2018, 1, 1, tzinfo=UTC)], pa.timestamp("s", "UTC"))
    column = column.cast(kind) if getattr(kind, "tz", None) else column.cast(pa.timestamp("s")).cast(kind)
    assert milliseconds(column) == [NEW_YEAR_MS]
    assert milliseconds(column.dictionary_encode()) == [NEW_YEAR_MS]


def test_time_before_the_epoch_is_cut_downwards() -> None:
    assert milliseconds(pa.array(["1969-12-31T23:59:59.9995"])) == [-1]


def test_named_unit_holds_for_all_numbers() -> None:
    assert milliseconds(pa.array([5, 20180101]), "s") == [5_000, 20180101_000]
    assert milliseconds(pa.array(["1514764800"]), "ms") == [1_514_764_800]


def test_number_is_exact_in_every_unit() -> None:
    assert milliseconds(pa.array([1_514_764_800_001_000_000])) == [NEW_YEAR_MS + 1]
    assert milliseconds(pa.array(["1514764800001999"])) == [NEW_YEAR_MS + 1]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1.0, float("nan")], "got nan"),
        (["2018-01-01", "1/2/2018"], "or ISO 8601 .*, got '1/2/2018'"),
        (["2018-01-01", "12.24.2018"], "got '12.24.2018'"),
        (["5"] * 70_000 + ["x"], "got 'x'"),
        (["2018-01-01", "9" * 5_000], "got '9999"),
        (["2018-01-01", "1e999"], "got '1e999'"),
        (["2018-01-01", "NULL"], "no time"),
        (["2018-01-01", " "], "no time"),
        ([1, None], "no time"),
        ([datetime(2018, 1, 1), None], "no time"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_time_that_cannot_be_understood_is_named(times: list[object], message: str) -> None:
    _, bad = read_times(pa.array(times))
    assert [problem.at for problem in bad] == [len(times) - 1]
    assert re.search(message, bad[0].words)


def test_time_past_the_year_9999_is_named() -> None:
    _, bad = read_times(pa.array([0, 2**62], pa.timestamp("s")))
    assert bad == [(1, "wanted a time in the years 1 to 9999, got 4611686018427387904 as timestamp[s]")]
    _, bad = read_times(pa.array(["9999-12-31", "99999-12-31"]))
    assert [problem.at for problem in bad] == [1]
    times, _ = read_times(pa.array([1, 2**62]))
    scale = TimeScale("s")
    scale.add(times, np.array([1, 2]))
    assert scale.decide(NOW_MS)[0][0] == 2


def test_integer_past_63_bits_is_named() -> None:
    _, bad = read_times(pa.array([1, 2**64 - 1], pa.uint64()))
    assert (bad[0].at, bad[0].words.partition(", got ")[2]) == (1, "18446744073709551615")


def test_column_of_another_type_is_refused() -> None:
    with pytest.raises(EventFileError, match="got a column of type bool"):
        read_times(pa.array([True]))


@pytest.mark.parametrize(
    ("times", "note"),
    [
        ([1_514_764], r"the earliest time is 1970-01-18 .*\(row 1\), as numbers are read as seconds; --time-unit"),
        ([0, 1_514_764_800], "the earliest time is 1970-01-01 00:00:00 UTC"),
        ([5_000_000_000_000], r"the latest time is 2128-06-11 .*as numbers are read as milliseconds; --time-unit"),
        (["2018-01-01", "1908-01-01"], r"the earliest time is 1908-01-01 00:00:00 UTC \(row 2\)$"),
        ([20180101], "times such as 20171224 are read as dates; --time-unit s reads them as seconds"),
        ([1_514_764_800, 1_514_764_800_000], "times are in seconds and milliseconds, and each is read in its own unit"),
    ],
    ids=str,
)
def test_doubtful_times_are_noted(times: list[object], note: str) -> None:
    read, _ = read_times(pa.array(times))
    scale = TimeScale()
    scale.add(read, np.arange(1, len(times) + 1))
    scale.decide(NOW_MS)
    assert re.search(note, "\n".join(scale.notes))


def test_unit_is_that_of_all_chunks() -> None:
    scale = TimeScale()
    first, second = read_times(pa.array([5_000]))[0], read_times(pa.array([1_514_764_800_000]))[0]
    scale.add(first, np.array([1]))
    scale.add(second, np.array([2]))
    scale.decide(NOW_MS)
    assert (scale.to_ms(first).tolist(), scale.to_ms(second).tolist()) == ([5_000], [NEW_YEAR_MS])
