"""Tables of events: every kind of file, header and time, and what is refused."""

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from springtide.errors import DatasetError, SettingsError
from springtide.evaluation.data.event_tables import DEFAULT_TYPE, read_interactions_file
from springtide.event_files import ReadOptions, parse_columns
from springtide.events.model import Interactions

CSV = b"user_id,item_id,timestamp,rating,event\n02,7,20,4.5,view\n01,8,10,,buy\n02,8,30,3,\n"
NEW_YEAR_MS = 1_514_764_800_000  # 2018-01-01 UTC


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def rows_of(interactions: Interactions) -> list[tuple[str, str, int, float | None, str]]:
    return [
        (
            interactions.user_ids[interactions.user_codes[row]],
            interactions.item_ids[interactions.item_codes[row]],
            int(interactions.timestamps_ms[row]),
            None if np.isnan(interactions.values[row]) else float(interactions.values[row]),
            interactions.relations[interactions.relation_codes[row]],
        )
        for row in range(len(interactions))
    ]


ROWS = [
    ("01", "8", 10_000, None, "buy"),
    ("02", "7", 20_000, 4.5, "view"),
    ("02", "8", 30_000, 3.0, DEFAULT_TYPE),
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("shop.csv", CSV),
        ("shop.csv", b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n")),
        ("shop.csv", CSV.replace(b",", b";")),
        ("shop.tsv", CSV.replace(b",", b"\t")),
        ("shop.csv.gz", gzip.compress(CSV)),
        (
            "shop.jsonl",
            b'{"user": "02", "item": 7, "time": 20, "value": 4.5, "type": "view", "more": [1]}\n'
            b'{"user": "01", "item": 8, "time": 10, "type": "buy"}\n'
            b'{"user": "02", "item": 8, "time": 30, "value": 3}\n',
        ),
    ],
    ids=["csv", "csv from windows", "semicolons", "tsv", "gz", "jsonl"],
)
def test_text_file_is_read_in_time_order(tmp_path: Path, name: str, content: bytes) -> None:
    dataset = read_interactions_file(written(tmp_path, name, content))
    assert rows_of(dataset.interactions) == ROWS
    assert (dataset.name, len(dataset.upserts)) == ("shop", 0)


def test_parquet_is_read_with_its_own_types(tmp_path: Path) -> None:
    table = {
        "User": pa.array(["02", "01"]).dictionary_encode(),
        "Item ID": pa.array([7, 8]),
        "Date": pa.array([date(2018, 1, 2), date(2018, 1, 1)]),
        "other": pa.array([[1], []]),
    }
    pq.write_table(pa.table(table), tmp_path / "shop.parquet")
    interactions = read_interactions_file(tmp_path / "shop.parquet").interactions
    assert rows_of(interactions) == [
        ("01", "8", NEW_YEAR_MS, None, DEFAULT_TYPE),
        ("02", "7", NEW_YEAR_MS + 86_400_000, None, DEFAULT_TYPE),
    ]


def test_columns_are_those_that_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "clicks.csv", b"user,who,what,when,time\nx,a,b,5,y\n")
    columns = parse_columns("user=who, item=what,timestamp=when")
    assert rows_of(read_interactions_file(path, ReadOptions(columns)).interactions) == [
        ("a", "b", 5_000, None, DEFAULT_TYPE)
    ]


def test_ids_are_held_once_in_order_of_time(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"user,item,ts\nc,x,3\na,y,1\nb,x,2\nc,y,1\n")
    interactions = read_interactions_file(path).interactions
    assert (list(interactions.user_ids), interactions.user_codes.tolist()) == (["a", "c", "b"], [0, 1, 2, 1])
    assert (list(interactions.item_ids), interactions.item_codes.tolist()) == (["y", "x"], [0, 0, 1, 1])
    assert interactions.user_codes.dtype == np.int32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\r\n", "the file is empty"),
        (b"a,b\n", r"no column for user: wanted one called user, .*--columns user=NAME \(the file has: a, b\)"),
        (b"196,242,3\n", "no column for user: .*--columns user=1,item=2,time=4 counts the columns"),
        (b"user,item\na,b\n", r"no column for timestamp: .*\(the file has: user, item\)"),
        (b"user,item,ts\n", "wanted interactions, got no rows"),
        (
            b"user,item,ts\na,,1\nb,x,1\nc,,1\n",
            r"2 of 3 rows cannot be read:\n  row 1 \(line 2\), column 'item': no item\n  row 3 \(line 4\), ",
        ),
        (b"user,item,ts\na,b,1\na,b,\n", r"row 2 \(line 3\), column 'ts': no time"),
        (b"user,item,ts\na,b,1\na,b,soon\n", r"row 2 \(line 3\), column 'ts': wanted seconds, .*got 'soon'"),
        (b"user,item,ts,value\na,b,1,many\n", r"row 1 \(line 2\), column 'value': wanted a number, got 'many'"),
        (
            b"user,item,ts,value\na,b,1,2\na,b,1,inf\n",
            r"row 2 \(line 3\), column 'value': wanted a finite number in 32 bits, got inf",
        ),
        (b"user,user,item,ts\na,b,c,1\n", r"2 columns are called 'user'"),
        (b"user,item,ts\na,b\n", r"row 1 \(line 2\): wanted 3 fields, as in the header, got 2"),
        (
            b"user,item,ts\n\xff,b,1\n",
            r"row 1 \(line 2\), column 'user': wanted text in UTF-8, got b'.xff'; --encoding latin-1, or another",
        ),
    ],
)
def test_table_that_is_not_as_it_should_be_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"a\.csv: {message}"):
        read_interactions_file(written(tmp_path, "a.csv", content))


def test_too_many_types_are_refused(tmp_path: Path) -> None:
    lines = "".join(f"a,b,1,{number}\n" for number in range(1_001))
    path = written(tmp_path, "a.csv", f"user,item,ts,event\n{lines}".encode())
    with pytest.raises(DatasetError, match="wanted up to 1000 types of interactions, got 1001"):
        read_interactions_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]\n", "item 1: wanted a JSON object, got '1'"),
        (b'{"user": 1, "item": 2}\n', "no column for timestamp"),
        (b'{"user": 1, "item": 2, "ts": 3}\n{"user": 1, "it', "line 2: "),
        (
            b'{"user": 1, "item": 2, "ts": 3}\n{"user": [1], "item": 2, "ts": 3}\n',
            "line 2, column 'user': wanted a text",
        ),
    ],
)
def test_json_that_is_not_as_it_should_be_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_interactions_file(written(tmp_path, "a.jsonl", content))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.csv: no such file"):
        read_interactions_file(tmp_path / "none.csv")


def test_other_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.xlsx: no such file; wanted \.csv, "):
        read_interactions_file(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": "whom"}, r"no column named 'whom' for user \(the file has: who, item, ts\)"),
        (
            {"usr": "who"},
            r"no role named 'usr' for a column \(choices: user, item, timestamp, value, type, event_id, .*\)",
        ),
    ],
)
def test_column_that_is_not_there_is_refused(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_interactions_file(written(tmp_path, "a.csv", b"who,item,ts\na,b,1\n"), ReadOptions(columns))


@pytest.mark.parametrize("text", ["user", "user=", "usr=who", "user=a,user=b", ""])
def test_columns_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="wanted role=column, each role once"):
        parse_columns(text)


def test_events_of_json_lines_are_interactions_and_nodes(tmp_path: Path) -> None:
    content = (
        b'{"eventTime": "1970-01-01T00:00:20Z", "interaction": {"user": 2, "item": "7", "type": "view", "value": 4}}\n'
        b'{"eventTime": 10, "interaction": {"user": "1", "item": "8", "type": "buy"}}\n'
        b'{"eventTime": 10, "nodeUpsert": {"type": "item", "id": "7", "texts": {"title": "Ice"}}}\n'
        b'{"eventTime": 10, "nodeDelete": {"type": "item", "id": "9"}}\n'
    )
    dataset = read_interactions_file(written(tmp_path, "a.jsonl", content))
    assert rows_of(dataset.interactions) == [("1", "8", 10_000, None, "buy"), ("2", "7", 20_000, 4.0, "view")]
    (node,) = dataset.upserts
    assert (node.node_id, node.timestamp_ms, dict(dataset.titles)) == ("7", 10_000, {"7": "Ice"})
    assert "1 event is of a kind that is not evaluated: node_delete" in dataset.notes[-1]


def test_number_that_is_none_leaves_the_other_attributes(tmp_path: Path) -> None:
    content = (
        b'{"eventTime": 10, "nodeUpsert": {"type": "item", "id": "7", "numbers": {"price": "NaN", "size": 2}}}\n'
        b'{"eventTime": 11, "interaction": {"user": "ann", "item": "7", "type": "view"}}\n'
    )
    (node,) = read_interactions_file(written(tmp_path, "a.jsonl", content)).upserts
    assert node.numbers == {"size": 2.0}


def test_doubts_come_with_the_data(tmp_path: Path) -> None:
    notes = read_interactions_file(written(tmp_path, "shop.csv", CSV)).notes
    assert "the earliest time is 1970-01-01 00:00:10 UTC (row 2), as numbers are read as seconds" in notes[0]
    options = ReadOptions(time_unit="ms")
    assert rows_of(read_interactions_file(tmp_path / "shop.csv", options).interactions)[0][2] == 10


def test_circumstances_of_rows_are_kept_in_time_order(tmp_path: Path) -> None:
    content = b"user,item,time,context.place,context.weather,shop\na,x,20,north,,1\nb,y,10,south,rain,2\nc,z,30,,,3\n"
    dataset = read_interactions_file(written(tmp_path, "a.csv", content))
    assert dataset.interactions.contexts == [{"place": "south", "weather": "rain"}, {"place": "north"}, {}]
    assert any("columns that are not read: shop" in note for note in dataset.notes)


def test_column_of_another_name_is_a_circumstance_where_it_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"user,item,time,shop\na,x,10,north\n")
    dataset = read_interactions_file(path, ReadOptions({"context.place": "shop"}))
    assert dataset.interactions.contexts == [{"place": "north"}]


def test_circumstances_of_events_in_json_are_kept(tmp_path: Path) -> None:
    event = b'{"eventTime": "2018-01-01T00:00:00Z", "interaction": {"user": "a", "item": "x", "type": "buy", '
    content = event + b'"context": {"place": "north"}}}\n' + event + b'"value": 2}}\n'
    assert read_interactions_file(written(tmp_path, "a.jsonl", content)).interactions.contexts == [
        {"place": "north"},
        {},
    ]


def test_file_without_circumstances_has_none(tmp_path: Path) -> None:
    assert read_interactions_file(written(tmp_path, "shop.csv", CSV)).interactions.contexts is None


def test_columns_that_no_evaluation_needs_are_named(tmp_path: Path) -> None:
    content = b"user,item,time,event_id\na,x,10,e1\n"
    notes = read_interactions_file(written(tmp_path, "a.csv", content)).notes
    assert any(note.endswith("columns that are not evaluated: event_id") for note in notes)
