"""Events of files as they are published, and what is checked before."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from springtide.event_files import EventFile, EventFileError, ReadOptions
from springtide.settings.model import Settings
from springtide.v1 import events_pb2 as pb
from springtide_services.stream.event_file_check import check_file
from springtide_services.stream.event_files import NumberedRows, open_events, parts_of

JULY_MS = 1_499_000_000_000  # 2017-07-02 12:53:20 UTC
HEADER = "user,item,type,event_time\n"
ROWS = "u1,i1,view,1499000000\nu1,i1,view,1499000000\nu2,i1,view,1499000001\n"


def opened(path: Path, text: str | bytes, options: ReadOptions | None = None) -> tuple[EventFile, list[str]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    file = open_events(path, Settings(), options or ReadOptions())
    return file, check_file(file, Settings(), lambda num_rows: None).notes


def events(path: Path, text: str | bytes, options: ReadOptions | None = None) -> list[pb.Event]:
    found: list[pb.Event] = []
    for part in parts_of(opened(path, text, options)[0]):
        found += _singles(part) if isinstance(part, NumberedRows) else [numbered.event for numbered in part]
    return found


def _singles(part: NumberedRows) -> list[pb.Event]:
    columns, singles = part.interactions, []
    for row, value in enumerate(columns.values.tolist()):
        interaction = pb.Interaction(
            user=columns.user_ids[columns.user_codes[row]],
            item=columns.item_ids[columns.item_codes[row]],
            type=columns.relations[columns.relation_codes[row]],
            value=None if value != value else value,
        )
        singles.append(pb.Event(event_id=part.event_ids[row], interaction=interaction))
        singles[-1].event_time.FromMilliseconds(int(columns.timestamps_ms[row]))
    return singles


def ids(path: Path, text: str | bytes) -> list[str]:
    return [event.event_id for event in events(path, text)]


def test_json_lines_hold_any_event(tmp_path: Path) -> None:
    lines = [
        {"eventTime": "2017-07-02T12:53:20Z", "interaction": {"user": "u1", "item": "i1", "type": "purchase"}},
        {"eventTime": "2017-07-02T12:53:20Z", "nodeUpsert": {"type": "item", "id": "i1", "texts": {"title": "Ice"}}},
        {"batch": {"dictionary": ["u", "i", "view"], "users": [0], "items": [1], "types": [2], "eventTimesMs": [5]}},
    ]
    purchase, upsert, batch = events(tmp_path / "a.jsonl", "\n\n".join(json.dumps(line) for line in lines))

    assert purchase.event_time.ToMilliseconds() == JULY_MS
    assert purchase.interaction.user == "u1"
    assert not purchase.interaction.HasField("value")
    assert upsert.node_upsert.texts["title"] == "Ice"
    assert not batch.HasField("event_time")


def test_rows_are_interactions(tmp_path: Path) -> None:
    header = "user,item,type,event_time,value,context.place,event_id\n"
    rows = "007,12,rating,2017-07-02T12:53:20Z,4.5,shore,mine\n8,12,rating,1499000000,,,\n"
    first, second = events(tmp_path / "a.csv", header + rows)

    expected = pb.Interaction(user="007", item="12", type="rating", value=4.5, context={"place": "shore"})
    assert first.interaction == expected
    assert (first.event_time.ToMilliseconds(), second.event_time.ToMilliseconds()) == (JULY_MS, JULY_MS)
    assert first.event_id == "mine"
    assert not second.interaction.HasField("value")
    assert not second.interaction.context


def test_rows_say_of_which_answer_they_came(tmp_path: Path) -> None:
    rows = "u1,i1,view,1499000000,r1\nu1,i1,view,1499000001,\n"
    first, second = events(tmp_path / "a.csv", "user,item,type,event_time,recommendation_id\n" + rows)
    assert (first.interaction.recommendation_id, second.interaction.recommendation_id) == ("r1", "")
    too_long = f"u1,i1,view,1499000000,{'r' * 257}\n"
    with pytest.raises(EventFileError, match="wanted at most 256 bytes"):
        opened(tmp_path / "b.csv", "user,item,type,event_time,recommendation_id\n" + too_long)


def test_ids_are_the_same_whenever_and_however_the_file_is_published(tmp_path: Path) -> None:
    expected = ids(tmp_path / "a.csv", HEADER + ROWS)
    assert len(set(expected)) == 3  # Two equal rows are two events.
    assert all(len(event_id) == 32 for event_id in expected)
    assert ids(tmp_path / "b.csv.gz", gzip.compress((HEADER + ROWS).encode())) == expected
    assert (
        ids(
            tmp_path / "c.csv",
            "type;item;user;time\n"
            + "".join(
                f"{kind};{item};{user};{time}000\n"
                for user, item, kind, time in (row.split(",") for row in ROWS.split())
            ),
        )
        == expected
    )
    columns = dict(
        zip(HEADER.strip().split(","), zip(*(row.split(",") for row in ROWS.split()), strict=True), strict=True)
    )
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), tmp_path / "d.parquet")
    assert ids(tmp_path / "d.parquet", (tmp_path / "d.parquet").read_bytes()) == expected


def test_file_that_grew_keeps_the_ids_of_its_former_events(tmp_path: Path) -> None:
    former = ids(tmp_path / "a.csv", HEADER + ROWS)
    assert ids(tmp_path / "a.csv", HEADER + ROWS + "u3,i1,view,1499000002\n")[:3] == former
    assert not set(ids(tmp_path / "a.csv", HEADER + "u0,i1,view,1499000000\n" + ROWS)) & set(former)


def test_row_that_cannot_be_read_is_found_before_any_event(tmp_path: Path) -> None:
    rows = "".join(f"u{n},i,view,{'2017-07-02' if n < 80_000 else 'soon'}\n" for n in range(80_001))
    with pytest.raises(EventFileError, match=r"row 80,001 \(line 80,002\), column 'event_time': .*got 'soon'"):
        opened(tmp_path / "a.csv", HEADER + rows)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("value", "4", "4.5"), ("value", "", "7"), ("event_time", "2017-07-02", "2017-07-02T12:53:20.5+02:00")],
)
def test_later_value_may_be_of_another_form(tmp_path: Path, name: str, first: str, last: str) -> None:
    row = {"user": "u", "item": "i", "type": "view", "event_time": "1499000000", "value": "1"}
    line = ",".join((row | {name: first}).values()) + "\n"
    text = ",".join(row) + "\n" + line * 60_000 + ",".join((row | {name: last}).values()) + "\n"
    assert len(events(tmp_path / "a.csv", text)) == 60_001


def test_events_that_a_server_would_refuse_are_noted(tmp_path: Path) -> None:
    _, notes = opened(tmp_path / "a.csv", HEADER + "u,i,view,1499000000\n" + "u,i,buy,1499000000\n" * 2)
    assert notes == [
        "2 events will go to the dead letters of a server with these settings, the first at row 2 (line 3): "
        "interaction.type: no rule for 'buy' (choices: purchase, click, view, rating, dislike, impression)"
    ]
    line = {"eventTime": "2017-07-02T12:53:20Z", "interaction": {"user": "", "item": "i1", "type": "purchase"}}
    _, notes = opened(tmp_path / "a.jsonl", json.dumps(line))
    assert notes == [
        "1 event will go to the dead letters of a server with these settings, the first at line 1: "
        "interaction.user: wanted at least one visible character, got ''"
    ]


def test_events_of_the_future_are_noted(tmp_path: Path) -> None:
    _, notes = opened(tmp_path / "a.csv", HEADER + "u,i,view,2018-01-01\nu,i,view,2150-01-01\n")
    assert [note.partition("csv: ")[2] or note for note in notes] == [
        "the latest time is 2150-01-01 00:00:00 UTC (row 2)",
        "events more than 86,400 s in the future will go to the dead letters of a server with these settings; the "
        "latest is at row 2 (line 3): 2150-01-01 00:00:00 UTC",
    ]


def test_file_that_changes_after_the_check_is_refused_at_its_row(tmp_path: Path) -> None:
    file, _ = opened(tmp_path / "a.csv", HEADER + ROWS)
    (tmp_path / "a.csv").write_text(HEADER + ",i,view,1499000000\n")
    with pytest.raises(EventFileError, match=r"row 1 \(line 2\), column 'user': no user"):
        list(parts_of(file))
