"""Text tables as public data sets and other tools have them: without a header, with ``::``, with other times."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from springtide.errors import SettingsError
from springtide.event_files import EventFile, EventFileError, ReadOptions, Rows, parse_columns

Row = tuple[str, str, str, float, int]


def read(path: Path, columns: str = "", time_format: str | None = None) -> tuple[list[Row], list[str]]:
    """Return user, item, type, value (-1 for none) and time of each row, and the notes."""
    named = parse_columns(columns) if columns else None
    with EventFile(path, ReadOptions(named, default_type="view", time_format=time_format)) as file:
        chunks = list(file.chunks())
        file.finish()
        rows: list[Row] = []
        for chunk in chunks:
            assert isinstance(chunk, Rows)
            values = np.nan_to_num(chunk.values, nan=-1).tolist()
            texts = (chunk.users.to_pylist(), chunk.items.to_pylist(), chunk.types.to_pylist())
            rows += zip(*texts, values, file.scale.to_ms(chunk.times).tolist(), strict=True)
        return rows, file.notes


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize(
    ("name", "text", "columns", "wanted"),
    [
        ("u.data", "196\t242\t3\t881250949\n", "user=1,item=2,value=3,time=4", ("196", "242", "view", 3, 881250949000)),
        ("r.dat", "1::1193::5::978300760\n", "user=1,item=2,value=3,time=4", ("1", "1193", "view", 5, 978300760000)),
        ("a.csv", "A1,7806,1.0,1391040000\n", "user=1,item=2,value=3,time=4", ("A1", "7806", "view", 1, 1391040000000)),
        ("t.csv", "1,2268,25,pv,1511544070\n", "user=1,item=2,type=4,time=5", ("1", "2268", "pv", -1, 1511544070000)),
        ("y.dat", "1,2014-04-07T10:51:09.277Z,21,0\n", "user=1,item=3,time=2", ("1", "21", "view", -1, 1396867869277)),
        ("s.csv", "sep=;\n\n1;2;1514764800\n", "user=1,item=2,time=3", ("1", "2", "view", -1, 1514764800000)),
        ("d.csv", "u,i,2018-01-01,0:05\n", "user=1,item=2,time=3+4", ("u", "i", "view", -1, 1514765100000)),
        ("h.dat", 'user::item::time\nu::a "b::1514764800\n', "", ("u", 'a "b', "view", -1, 1514764800000)),
        ("q.dat", '1::"x::978300760\n', "user=1,item=2,time=3", ("1", '"x', "view", -1, 978300760000)),
        ("c.csv", "4,1,2,978300760\n", "user=1,item=2,time=4", ("4", "1", "view", -1, 978300760000)),
        ("hive", "u\x01i\x012018-01-01 00:05:00\n", "user=1,item=2,time=3", ("u", "i", "view", -1, 1514765100000)),
        ("p.csv", "0,1,2\nu,i,1514764800\n", "user=0,item=1,time=2", ("u", "i", "view", -1, 1514764800000)),
    ],
)
def test_a_table_without_a_header_is_read_by_numbers_of_columns(
    tmp_path: Path, name: str, text: str, columns: str, wanted: Row
) -> None:
    assert read(write(tmp_path, name, text), columns)[0] == [wanted]


def test_rows_of_a_table_without_a_header_are_counted_from_its_first_line(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "u,i,1514764800\nu,i\n")
    with pytest.raises(EventFileError, match=r"row 2 \(line 2\): wanted 3 fields, as in the first row, got 2"):
        read(path, "user=1,item=2,time=3")


def test_numbers_of_columns_take_no_header_for_a_row(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "user,item,time\nu,i,1514764800\n")
    with pytest.raises(EventFileError, match=r"row 1 \(line 1\), column '3': .* got 'time'"):
        read(path, "user=1,item=2,time=3")


@pytest.mark.parametrize(
    "time",
    [
        "24.12.2017 18:30",
        "2017-12-24 10:30:00.000 -0800",
        "2017-12-24 18:30:00 +0000 UTC",
        "2017-12-24T19:30:00+01:00[Europe/Berlin]",
        "2017-12-24T18:30:00Z[UTC]",
        "2017-12-24 18:30:00.000000 +00:00",
    ],
)
def test_times_of_other_tools_are_read(tmp_path: Path, time: str) -> None:
    """As Excel in Germany, Snowflake, Go, Java and .NET write them."""
    path = write(tmp_path, "rows.csv", f"user,item,time\nu,i,{time}\n")
    assert read(path)[0][0][-1] == 1514140200000


def test_a_form_of_times_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "user,item,time\nu,i,1/2/1970 0:01\nu,i,13/1/1970 0:00\n")
    assert [row[-1] for row in read(path, time_format="%d/%m/%Y %H:%M")[0]] == [
        31 * 86_400_000 + 60_000,
        12 * 86_400_000,
    ]
    line = '{"interaction":{"user":"u","item":"i","type":"view"},"eventTime":"1/2/1970 0:01"}'
    with EventFile(write(tmp_path, "rows.jsonl", line), ReadOptions(time_format="%d/%m/%Y %H:%M")) as file:
        (events,) = file.chunks()
        assert file.scale.to_ms(events.times).tolist() == [31 * 86_400_000 + 60_000]
    with pytest.raises(EventFileError, match=r"row 2 \(line 3\), column 'time': wanted a time as %m/%d/%Y %H:%M, got"):
        read(path, time_format="%m/%d/%Y %H:%M")
    with pytest.raises(EventFileError, match=r"--time-format %d/%m/%Y or %m/%d/%Y says whether the day comes first"):
        read(path)


@pytest.mark.parametrize("form", ["", "iso", "%H:%M", "%Y-%m", "%Q", "%"])
def test_a_form_without_a_day_is_refused(form: str) -> None:
    with pytest.raises(SettingsError, match="time format: wanted"):
        ReadOptions(time_format=form)


def test_a_date_and_a_time_of_day_are_joined(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "user,item,date,time\nu,i,2018-01-01,0:05\n")
    with pytest.raises(EventFileError, match=r"a time of day without its date: --columns time=date\+clock joins"):
        read(path)
    assert read(path, "time=date+time") == ([("u", "i", "view", -1, 1514765100000)], [])
    typed = pa.table({"user": ["u"], "item": ["i"], "d": [dt.date(2018, 1, 1)], "t": [dt.time(0, 5)]})
    pq.write_table(typed, tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.parquet", "time=d+t")[0][0][-1] == 1514765100000


def test_one_odd_number_does_not_change_the_unit_of_the_others(tmp_path: Path) -> None:
    """Such as the end of time in milliseconds, which would make microseconds of them all; or 0 for none."""
    good = "".join(f"u,i,{1514764800000 + row}\n" for row in range(5))
    rows, notes = read(write(tmp_path, "rows.csv", f"user,item,time\n{good}u,i,253402300799000\nu,i,0\n"))
    assert [row[-1] for row in rows] == [*range(1514764800000, 1514764800005), 253402300799000, 0]
    assert [note.split(": ", 1)[1].split(",")[0] for note in notes] == [
        "the earliest time is 1970-01-01 00:00:00 UTC (row 7)",
        "the latest time is 9999-12-31 23:59:59 UTC (row 6)",
    ]
    with pytest.raises(EventFileError, match=r"row 6 \(line 7\), column 'time': wanted a time in the years 1 to 9999"):
        read(write(tmp_path, "rows.csv", f"user,item,time\n{good}u,i,9999999999999999\n"))


def test_ids_that_stand_for_none_or_were_integers_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "user,item,time\nNULL,1.0,1514764800\nNULL,2.0,1514764800\nu,3,1514764800\n")
    rows, notes = read(path)
    assert [row[:2] for row in rows] == [("NULL", "1.0"), ("NULL", "2.0"), ("u", "3")]
    assert [note.split(": ", 1)[1] for note in notes] == [
        "2 ids such as 'NULL', taken as ids: leave out rows that have none",
        "2 ids such as '1.0', other ids than those without .0",
    ]


def test_categories_of_string_views_are_read(tmp_path: Path) -> None:
    """Polars writes its categories so."""
    codes, names = pa.array([0, 1], pa.uint32()), pa.array(["u", "v"], pa.string_view())
    users = pa.DictionaryArray.from_arrays(codes, names)
    table = pa.table({"user": users, "item": ["i", "i"], "time": [1514764800, 1514764800]})
    with pa.OSFile(str(tmp_path / "rows.arrows"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert [row[0] for row in read(tmp_path / "rows.arrows")[0]] == ["u", "v"]
