import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from springtide.v1 import events_pb2 as pb
from springtide_services.stream.event_files import EventFile, EventFileError

JULY_MS = 1_499_000_000_000  # 2017-07-02 12:53:20 UTC


def read(path: Path) -> list[pb.Event]:
    file = EventFile(path)
    events = list(file.events())
    assert file.count() == len(events)
    return events


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_json_lines_hold_any_event(tmp_path: Path) -> None:
    lines = [
        {"eventTime": "2017-07-02T12:53:20Z", "interaction": {"user": "u1", "item": "i1", "type": "purchase"}},
        {"eventTime": "2017-07-02T12:53:20Z", "nodeUpsert": {"type": "item", "id": "i1", "texts": {"title": "Ice"}}},
    ]
    purchase, upsert = read(write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(line) for line in lines)))

    assert purchase.event_time.ToMilliseconds() == JULY_MS
    assert purchase.interaction.user == "u1"
    assert not purchase.interaction.HasField("value")
    assert upsert.node_upsert.texts["title"] == "Ice"


@pytest.mark.parametrize("event_time", ["2017-07-02T12:53:20Z", "2017-07-02 12:53:20", str(JULY_MS)])
def test_csv_holds_interactions(tmp_path: Path, event_time: str) -> None:
    header = "user,item,type,event_time,value,context.place"
    rows = [f"007,12,rating,{event_time},4.5,shore", f"8,12,rating,{event_time},,"]
    first, second = read(write(tmp_path / "a.csv", "\n".join([header, *rows])))

    assert first.interaction == pb.Interaction(
        user="007", item="12", type="rating", value=4.5, context={"place": "shore"}
    )
    assert first.event_time.ToMilliseconds() == JULY_MS
    assert not second.interaction.HasField("value")
    assert not second.interaction.context


def test_parquet_holds_interactions(tmp_path: Path) -> None:
    when = dt.datetime.fromtimestamp(JULY_MS / 1_000, dt.UTC)
    table = pa.table({"user": [7], "item": ["i"], "type": ["purchase"], "event_time": pa.array([when])})
    pq.write_table(table, tmp_path / "a.parquet")

    (event,) = read(tmp_path / "a.parquet")

    assert event.interaction.user == "7"
    assert event.event_time.ToMilliseconds() == JULY_MS


def test_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"eventTime": "2017-07-02T12:53:20Z"}\n{"interacton": {}}\n')

    with pytest.raises(EventFileError, match=r"a\.jsonl, line 2: .*interacton"):
        list(EventFile(path).events())


def test_columns_that_are_missing_or_unknown_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item,when\n1,2,3\n")

    with pytest.raises(EventFileError, match="missing: type, event_time; unknown: when"):
        list(EventFile(path).events())


def test_times_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item,type,event_time\n1,2,purchase,3.5\n")

    with pytest.raises(EventFileError, match="wanted event_time as ISO 8601"):
        list(EventFile(path).events())


@pytest.mark.parametrize(("name", "message"), [("none.csv", "no such file"), ("a.xlsx", "wanted a file that ends in")])
def test_file_that_is_not_there_or_of_another_form_is_refused(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / "a.xlsx", "")

    with pytest.raises(EventFileError, match=message):
        EventFile(tmp_path / name)
