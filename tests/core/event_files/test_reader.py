"""Files of events as people have them: what is read, and what is said of what cannot be."""

import bz2
import gzip
import io
import json
import lzma
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from springtide.errors import SettingsError
from springtide.event_files import EventFile, EventFileError, Events, ReadOptions, Rows, parse_columns

NEW_YEAR_S = 1_514_764_800  # 2018-01-01 UTC
HEADER = "user,item,type,event_time\n"


def read(path: Path, content: bytes | str | None = None, options: ReadOptions | None = None) -> EventFile:
    """Read a file as a whole, and return it with its chunks as ``read_chunks``."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with EventFile(path, options or ReadOptions()) as file:
        for _ in file.chunks():
            pass
        file.finish()
    return file


def rows_of(
    path: Path, content: bytes | str | None = None, options: ReadOptions | None = None
) -> list[tuple[object, ...]]:
    """Return user, item, type and seconds of all rows."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with EventFile(path, options or ReadOptions()) as file:
        chunks = [chunk for chunk in file.chunks() if isinstance(chunk, Rows)]
        file.finish()
        return [row for chunk in chunks for row in _rows(file, chunk)]


def _rows(file: EventFile, chunk: Rows) -> Iterator[tuple[object, ...]]:
    seconds = (file.scale.to_ms(chunk.times) / 1_000).tolist()
    return zip(chunk.users.to_pylist(), chunk.items.to_pylist(), chunk.types.to_pylist(), seconds, strict=True)


def ids(path: Path, content: bytes | str | None = None, options: ReadOptions | None = None) -> list[object]:
    return [user for user, *_ in rows_of(path, content, options)]


ONE = [("u", "i", "view", NEW_YEAR_S)]


@pytest.mark.parametrize(
    "header",
    [HEADER, '"user","item","type","event_time"\n', "\ufeff" + HEADER, "\ufeff" + '"user",item,type,event_time\r\n'],
)
@pytest.mark.parametrize(
    "spelling", ["007", "1e5", "12345678901234567890", "4.0", "NaN", "null", "None", "true", "-0", "2018-01-01", " x "]
)
def test_id_in_a_csv_is_the_text_that_stands_there(tmp_path: Path, header: str, spelling: str) -> None:
    assert ids(tmp_path / "a.csv", f"{header}{spelling},i,view,1514764800\n") == [spelling]


def test_id_in_json_keeps_its_digits(tmp_path: Path) -> None:
    written = ['"007"', "7", "1e5", "12345678901234567890", "7.0", "true", '"null"']
    lines = "".join(f'{{"user": {user}, "item": "i", "type": "view", "time": 1514764800}}\n' for user in written)
    assert ids(tmp_path / "a.jsonl", lines) == ["007", "7", "1e5", "12345678901234567890", "7.0", "true", "null"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([7]), "7"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (pa.array([7], pa.int8()), "7"),
        (pa.array([7.0]), "7"),
        (pa.array([7.5]), "7.5"),
        (pa.array([Decimal("12345678901234567890")]), "12345678901234567890"),
        (pa.array([Decimal("7.00")]), "7"),
        (pa.array(["007"]), "007"),
        (pa.array(["007"], pa.large_string()), "007"),
        (pa.array(["007"]).dictionary_encode(), "007"),
        (pa.array(["007"], pa.string_view()), "007"),
        (pa.array([7]).dictionary_encode(), "7"),
        (pa.array([b"007"]), "007"),
        (pa.array([True]), "true"),
        (pa.array([date(2018, 1, 1)]), "2018-01-01"),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_id_of_any_arrow_type_is_its_text(tmp_path: Path, column: pa.Array, expected: str, ending: str) -> None:
    table = pa.table({"user": column, "item": ["i"], "type": ["view"], "event_time": [NEW_YEAR_S], "l": [[1]]})
    table = table.append_column("__index_level_0__", pa.array([5]))
    path = tmp_path / f"a.{ending}"
    (pq.write_table if ending == "parquet" else pyarrow.feather.write_feather)(table, path)
    assert rows_of(path) == [(expected, "i", "view", NEW_YEAR_S)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([2.0**53]), r"row 1, column 'user': wanted an id as text or integer, got the float 9007199254740992"),
        (pa.array([None], pa.int64()), "row 1, column 'user': no user"),
        (pa.array([float("nan")]), "row 1, column 'user': no user"),
        (pa.nulls(1), "row 1, column 'user': no user"),
        (pa.array([b"\xff"]), "row 1, column 'user': wanted text in UTF-8, got the bytes b'.xff'"),
        (pa.array([[1]]), "column 'user': wanted texts or numbers, got a column of type list<"),
    ],
    ids=str,
)
def test_id_that_is_none_is_named(tmp_path: Path, column: pa.Array, message: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user": column, "item": ["i"], "type": ["view"], "event_time": [NEW_YEAR_S]}), path)
    with pytest.raises(EventFileError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "User ID, Item-Id ,TYPE,eventTime\nu,i,view,1514764800\n"),
        ("a.csv", "user;item;type;event_time\nu;i;view;1514764800\n"),
        ("a.csv", "user|item|type|event_time\nu|i|view|1514764800\n"),
        ("a.csv", "user, item, type, event_time\nu, i, view, 1514764800\n"),
        ("a.csv", '"user", "item", "type", "event_time"\n"u", "i", "view", "1514764800"\n'),
        ("a.csv", "sep=;\r\nuser;item;type;event_time\r\nu;i;view;1514764800\r\n"),
        ("a.csv", HEADER.replace("\n", "\r") + "u,i,view,1514764800\r"),
        ("a.csv", "\n\n" + HEADER + "\n" * 5_000 + "u,i,view,1514764800\n" + "\r\n \n,,,\n"),
        ("a.csv", HEADER + "u,i,view,1514764800,,\n"),
        ("a.csv", HEADER.replace("\n", ",note\n") + 'u,i,view,1514764800,"two\nlines, ""quoted"""\n'),
        ("a.csv", HEADER.replace("\n", ",note\n").encode() + b"u,i,view,1514764800,caf\xe9\n"),
        ("a.tsv", "user\titem\ttype\tevent_time\nu\ti\tview\t1514764800\n"),
        ("a.inter", "user_id:token\titem_id:token\ttype:token\ttimestamp:float\nu\ti\tview\t1514764800.0\n"),
        ("a.txt", HEADER + "u,i,view,1514764800"),
        ("part-0", HEADER + "u,i,view,1514764800"),
        ("a.csv.gz", gzip.compress((HEADER + "u,i,view,1514764800\n").encode(), mtime=0)),
        ("a.csv", gzip.compress(HEADER.encode(), mtime=0) + gzip.compress(b"u,i,view,1514764800\n", mtime=0)),
        ("a.csv.bz2", bz2.compress((HEADER + "u,i,view,1514764800\n").encode())),
        ("a.csv.xz", lzma.compress((HEADER + "u,i,view,1514764800\n").encode())),
        ("a.CSV.ZST", pa.Codec("zstd").compress((HEADER + "u,i,view,1514764800\n").encode(), asbytes=True)),
        ("a.csv", (HEADER + "u,i,view,1514764800\n").encode("utf-16")),
        ("a.csv", (HEADER + "u,i,view,1514764800\n").encode("utf-16-le")),
        ("a.csv", (HEADER + "u,i,view,1514764800\n").encode("utf-32")),
        ("a.jsonl", '\ufeff{"user": "u", "item": "i", "type": "view", "time": 1514764800, "more": {"a": [1]}}\n\n'),
        ("a.json", '[{"user": "u", "item": "i",\n "type": "view", "time": 1514764800}]'),
        ("a.json", '{\n "user": "u",\n "item": "i",\n "type": "view",\n "time": 1514764800\n}\n'),
        ("a.txt", '{"user": "u", "item": "i", "type": "view", "time": "1514764800"}'),
        ("a.jsonl", '{"user": "u", "item": "i", "type": "view", "time": 1514764800}\n'.encode("utf-16")),
    ],
)  # fmt: skip
def test_file_is_read_however_it_is_written(tmp_path: Path, name: str, content: bytes | str) -> None:
    assert rows_of(tmp_path / name, content) == ONE


def test_decimal_comma_is_one_where_the_comma_is_no_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user;item;type;time;value\nu;i;rating;1514764800,5;4,5\nu;i;rating;1514764800;\n")
    with EventFile(tmp_path / "a.csv") as file:
        (chunk,) = file.chunks()
        file.finish()
    assert isinstance(chunk, Rows)
    assert file.scale.to_ms(chunk.times).tolist() == [NEW_YEAR_S * 1_000 + 500, NEW_YEAR_S * 1_000]
    assert chunk.values.tolist()[0] == 4.5
    assert np.isnan(chunk.values[1])


@pytest.mark.parametrize("value", ["", "NaN", "null", "None", "NA", "\\N", " "])
def test_word_for_no_value_is_none(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.csv").write_text(
        f"user,item,type,time,value\nu,i,rating,1514764800,{value}\nu,i,rating,1514764800,4\n"
    )
    with EventFile(tmp_path / "a.csv") as file:
        (chunk,) = file.chunks()
    assert isinstance(chunk, Rows)
    assert np.isnan(chunk.values[0])
    assert chunk.values[1] == 4.0


def test_other_encoding_is_named_by_the_error_and_read_by_the_option(tmp_path: Path) -> None:
    content = (HEADER + "u,i,view,1514764800\ncafé,i,view,1514764800\n").encode("latin-1")
    with pytest.raises(EventFileError, match=r"row 2 \(line 3\), column 'user': .* got b'caf.xe9'; --encoding latin-1"):
        read(tmp_path / "a.csv", content)
    assert ids(tmp_path / "a.csv", content, ReadOptions(encoding="latin-1")) == ["u", "café"]
    with pytest.raises(EventFileError, match="no encoding named 'latin-9999': wanted one that Python knows"):
        read(tmp_path / "a.csv", content, ReadOptions(encoding="latin-9999"))


def test_quoted_line_breaks_are_read_past_many_blocks(tmp_path: Path) -> None:
    note = '"' + "a line\n" * 200_000 + '"'
    rows = "".join(f'u{n},i,view,1514764800,"a\nb"\n' for n in range(150_000))
    found = ids(tmp_path / "a.csv", f"user,item,type,event_time,note\n{rows}last,i,view,1514764800,{note}\n")
    assert (len(found), found[-1]) == (150_001, "last")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "u,i,view,1514764800\nu,,view,1514764800\n", r"a\.csv: row 2 \(line 3\), column 'item': no item"),
        (HEADER + "\n\n\nu,  ,view,1514764800\n", r"row 1 \(line 5\), column 'item': no item"),
        (HEADER + 'u,"i\nj",view,1514764800\nu,i,view,\n', r"row 2 \(line 4\), column 'event_time': no time"),
        (HEADER + "u,i,,1514764800\n", r"row 1 \(line 2\), column 'type': no type; --type NAME gives it one"),
        (HEADER + "u,i,view\n", r"row 1 \(line 2\): wanted 4 fields, as in the header, got 3"),
        (HEADER + "u,i,view,1514764800,5\n", r"row 1 \(line 2\): wanted 4 fields, as in the header, got 5"),
        (HEADER + 'u,i,view,1514764800\n"u,i,view,1514764800\n' + "x\n" * 9, r"row 2 \(line 3\): a quote opens there"),
        ("user,Item,item,type,time\n", "the columns 'Item' and 'item' could each be the item: --columns item=NAME"),
        ("item,user,type,type,time\n", "2 columns are called 'type'"),
        ("user,item,time\n", r"no column for type: wanted one called type, .* or --type NAME for all rows \(the file"),
        (HEADER, "wanted interactions, got no rows"),
        (HEADER + "x" * 300 + ",i,view,1514764800\n", r"row 1 \(line 2\), column 'user': wanted at most 256 bytes"),
    ],
)  # fmt: skip
def test_row_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(EventFileError, match=message) as raised:
        read(tmp_path / "a.csv", content, ReadOptions(max_id_bytes=256))
    assert "\n" not in str(raised.value)


def test_all_rows_that_cannot_be_read_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    rows = "".join(f"u,{'' if n % 3 == 0 else 'i'},view,1514764800\n" for n in range(60_000))
    with pytest.raises(EventFileError) as raised:
        read(tmp_path / "a.csv", HEADER + rows)
    lines = str(raised.value).split("\n")
    assert lines[0].endswith("20,000 of 60,000 rows cannot be read:")
    assert lines[1:3] == [f"  row {row} (line {row + 1}), column 'item': no item" for row in (1, 4)]
    assert lines[6:] == ["  and 19,995 more"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("5\n", "line 1: wanted a JSON object, got '5'"),
        ("\n\nnull\n", "line 3: wanted a JSON object, got null"),
        ('"x"\n', "line 1: wanted a JSON object, got '\"x\"'"),
        ("{} {}\n", "line 1: wanted a JSON object, got '{} {}': Extra data at character 4"),
        ("{'user': 1}\n", "line 1: wanted a JSON object, got .*: Expecting property name enclosed in double quotes at"),
        ("{}\n", "no column for user"),
        ("[" * 100_000, "item 1: it is nested too deeply"),
        ('{"user": ' + "[" * 100_000 + "\n", "line 1: it is nested too deeply"),
        ('{"user": "u", "it\n', "line 1: wanted a JSON object, got '{\"user\": \"u\", \"it': Unterminated string"),
        ('{"user": "u", "item": "i", "type": "view", "time": ' + "9" * 5_000 + "}\n", "line 1, column 'time': want"),
        ('{"user": ' + "9" * 5_000 + ', "item": "i", "type": "view", "time": 1514764800}\n', "line 1, column 'user':"),
        ('{"user": "\\ud800", "item": "i", "type": "view", "time": 1}\n', "column 'user': wanted text that UTF-8"),
        ('{"user": {}, "item": "i", "type": "view", "time": 1}\n', "line 1, column 'user': wanted a text or a number"),
        ('{"user": NaN, "item": "i", "type": "view", "time": 1}\n', "line 1, column 'user': no user"),
        ('{"user": "u", "item": "i", "type": "view", "time": Infinity}\n', "line 1, column 'time': wanted seconds"),
        ('[{"user": "u", "item": "i", "type": "view", "time": 1},\n{"user": "u",', "item 2: wanted a JSON object, got"),
        ('{"eventTime": "2018-01-01T00:00:00Z", "interaction": {"usr": "u"}}\n', 'line 1: .*no field named "usr"'),
        ('{"interaction": {"user": "u"}}\n', "line 1, column 'eventTime': no time"),
        ('{"eventTime": [1], "interaction": {"user": "u"}}\n', "line 1, column 'eventTime': wanted a text or a number"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_json_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(EventFileError, match=message) as raised:
        read(tmp_path / "a.jsonl", content, ReadOptions(max_id_bytes=256))
    assert "\n" not in str(raised.value)


def test_column_of_json_may_come_late(tmp_path: Path) -> None:
    row = {"user": "u", "item": "i", "type": "view", "time": NEW_YEAR_S}
    lines = [json.dumps(row)] * 25_000 + [json.dumps(row | {"value": 4.5})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with EventFile(tmp_path / "a.jsonl") as file:
        chunks = [chunk for chunk in file.chunks() if isinstance(chunk, Rows)]
    assert chunks[-1].values[-1] == 4.5


def test_events_and_rows_may_stand_in_one_json_file(tmp_path: Path) -> None:
    lines = [
        {"eventTime": "2018-01-01T00:00:00Z", "interaction": {"user": 7, "item": 1e5, "type": "rating", "value": 4}},
        {"user": "u", "item": "i", "type": "view", "time": NEW_YEAR_S},
        {"eventTime": NEW_YEAR_S, "nodeUpsert": {"type": "item", "id": 5, "numbers": {"price": 4.5}}},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with EventFile(tmp_path / "a.jsonl") as file:
        first, second, third = file.chunks()
        file.finish()
    assert isinstance(first, Events)
    assert isinstance(second, Rows)
    assert isinstance(third, Events)
    assert (first.events[0].interaction.user, first.events[0].interaction.item) == ("7", "100000.0")
    assert (third.events[0].node_upsert.id, third.events[0].node_upsert.numbers["price"]) == ("5", 4.5)
    assert file.scale.to_ms(third.times).tolist() == [NEW_YEAR_S * 1_000]


def test_circumstances_come_from_columns_and_from_objects(tmp_path: Path) -> None:
    row = {"user": ["u"], "item": ["i"], "type": ["view"], "event_time": [NEW_YEAR_S]}
    pq.write_table(pa.table(row | {"context": [{"place": "shore"}]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text(HEADER.replace("\n", ",Context.place\n") + "u,i,view,1514764800,shore\n")
    (tmp_path / "c.jsonl").write_text(
        '{"user": "u", "item": "i", "type": "view", "time": 1514764800, "context": {"place": "shore"}}\n'
    )
    for name in ("a.parquet", "b.csv", "c.jsonl"):
        with EventFile(tmp_path / name) as file:
            (chunk,) = file.chunks()
        assert isinstance(chunk, Rows)
        assert {key: texts.to_pylist() for key, texts in chunk.contexts.items()} == {"place": ["shore"]}


def test_notes_name_what_is_doubtful(tmp_path: Path) -> None:
    file = read(tmp_path / "a.csv", HEADER.replace("\n", ",more,Unnamed: 0\n") + "u ,i,view,1514764,1,2\n")
    assert [note.partition("a.csv: ")[2] for note in file.notes] == [
        "1 id begins or ends with a space, which is kept",
        "columns that are not read: more",
        "the earliest time is 1970-01-18 12:46:04 UTC (row 1), as numbers are read as seconds; --time-unit s, ms, us "
        "or ns names another unit",
    ]
    assert read(tmp_path / "a.csv", HEADER + "u,i,view,1514764800\n").notes == []


def test_type_may_be_one_for_all(tmp_path: Path) -> None:
    options = ReadOptions(default_type="purchase")
    assert rows_of(tmp_path / "a.csv", "user,item,time\nu,i,1514764800\n", options) == [
        ("u", "i", "purchase", NEW_YEAR_S)
    ]
    rows = rows_of(tmp_path / "a.csv", HEADER + "u,i,,1514764800\nu,i,view,1514764800\n", options)
    assert [row[2] for row in rows] == ["purchase", "view"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, r"none\.csv: no such file$"),
        ("a.xlsx", b"", r"a\.xlsx: wanted \.csv, \.tsv, .* or \.feather"),
        ("a.csv", b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
        ("a.parquet", b"user,item\n", "its content is not Parquet, as its name says"),
        ("a.parquet", b"PAR1 and no more", "a.parquet: cannot be read: "),
        ("a.feather", b"ARROW1 and no more", "a.feather: cannot be read: "),
        ("a.csv", (HEADER + "u,i,view,1514764800\n").encode("utf-16")[:-1], "as utf-16 after row 0: truncated data"),
    ],
)  # fmt: skip
def test_file_of_another_form_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    with pytest.raises(EventFileError, match=message):
        read(tmp_path / name, content)


def test_file_that_breaks_off_says_after_which_row(tmp_path: Path) -> None:
    rows = "".join(f"u{n},i,view,1514764800\n" for n in range(100_000))
    message = "cannot be read after row [0-9]{2},[0-9]00: Compressed file ended before the end-of-stream marker"
    with pytest.raises(EventFileError, match=message):
        read(tmp_path / "a.csv.gz", gzip.compress((HEADER + rows).encode())[:-9])


def test_lone_half_of_a_pair_in_utf_16_is_named_by_its_row(tmp_path: Path) -> None:
    content = (HEADER + "u,i,view,1514764800\nu,\ud800,view,1514764800\n").encode("utf-16", "surrogatepass")
    with pytest.raises(EventFileError, match=r"row 2 \(line 3\), column 'item': wanted text that UTF-8 can hold"):
        read(tmp_path / "a.csv", content)


def test_byte_that_an_encoding_lacks_is_named_by_its_row(tmp_path: Path) -> None:
    content = HEADER.encode() + b"u,caf\xe9,view,1514764800\nu,\x81,view,1514764800\n"
    with pytest.raises(EventFileError, match=r"row 2 \(line 3\), column 'item': wanted text in UTF-8, got b'.x81'"):
        read(tmp_path / "a.csv", content, ReadOptions(encoding="cp1252"))


def test_stream_of_arrow_is_read(tmp_path: Path) -> None:
    table = pa.table({"user": ["u"], "item": ["i"], "type": ["view"], "event_time": [NEW_YEAR_S]})
    for name, new in (("a.arrow", pa.ipc.new_stream), ("b.arrow", pa.ipc.new_file)):
        with new(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
        assert rows_of(tmp_path / name) == ONE


def test_column_of_a_circumstance_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,type,event_time,store\nu,i,view,1514764800,shore\n")
    with EventFile(tmp_path / "a.csv", ReadOptions(parse_columns("context.place=store"))) as file:
        (chunk,) = file.chunks()
    assert isinstance(chunk, Rows)
    assert chunk.contexts["place"].to_pylist() == ["shore"]


def test_column_of_an_object_is_named_with_a_dot(tmp_path: Path) -> None:
    line = '{"user": {"id": "u"}, "item": "i", "type": "view", "time": 1514764800}'
    assert rows_of(tmp_path / "a.jsonl", line, ReadOptions({"user": "user.id"})) == ONE


def test_runs_of_arrow_are_read(tmp_path: Path) -> None:
    users = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["u"]))
    table = pa.table({"user": users, "item": ["i"] * 2, "type": ["view"] * 2, "event_time": [NEW_YEAR_S] * 2})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert rows_of(tmp_path / "a.arrow") == ONE * 2


def test_event_time_goes_before_other_times(tmp_path: Path) -> None:
    content = "user,item,type,timestamp,event_time\nu,i,view,1600000000,1514764800\n"
    assert rows_of(tmp_path / "a.csv", content) == ONE


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EventFileError, match="wanted a file, got a folder: name the files in it one by one"):
        EventFile(tmp_path)


def test_unit_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="time unit: wanted one of s, ms, us, ns, got 'h'"):
        ReadOptions(time_unit="h")


def test_standard_input_is_read_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    content = gzip.compress((HEADER + "u,i,view,1514764800\n").encode(), mtime=0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with EventFile(Path("-")) as file:
        for _ in range(2):
            (chunk,) = file.chunks()
            assert chunk.rows.tolist() == [1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(num_rows: int) -> int:
        path = tmp_path / f"{num_rows}.csv"
        with path.open("w") as text:
            text.write(HEADER)
            text.writelines(f"u{n},i{n},view,{NEW_YEAR_S + n}\n" for n in range(num_rows))
        tracemalloc.start()
        try:
            read(path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(200_000) < 1.2 * peak(50_000)
