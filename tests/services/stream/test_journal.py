"""The journal of records: what it gives back, in which order, after which damage, and what it deletes."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from springtide.errors import JournalError
from springtide.events import RawEvent
from springtide.state import StreamPosition
from springtide_services.stream.journal import Entry, Journal


def record(offset: int, partition: int = 0, value: bytes | None = b"v") -> RawEvent:
    return RawEvent(value, b"k", (("content-type", b"x"),), "events", partition, offset, 1_000 + offset)


def at(topic_id: str, **next_offsets: int) -> StreamPosition:
    return StreamPosition("events", topic_id, {int(name[1:]): offset for name, offset in next_offsets.items()})


def read(folder: Path, position: StreamPosition | None = None) -> list[tuple[str, list[RawEvent]]]:
    journal = Journal(folder)
    try:
        return [(entry.topic_id, entry.records) for entry in journal.after(position)]
    finally:
        journal.close()


def write(folder: Path, topic_id: str, *parts: list[RawEvent]) -> None:
    journal = Journal(folder)
    journal.begin(topic_id)
    for part in parts:
        journal.append(part)
    journal.close()


def test_what_was_appended_comes_back_as_it_was(tmp_path: Path) -> None:
    unusual = [
        RawEvent(None, None, (), "events", 3, 2**40, -5),
        RawEvent(b"", b"", (("a", None), ("a", b""), ("b\udcff", b"\x00\xff")), "events", 0, 7, 2**41),
        record(8),
    ]
    write(tmp_path, "one", unusual, [record(9)])

    assert read(tmp_path) == [("one", unusual), ("one", [record(9)])]


def test_a_state_gets_what_it_has_not_read_of_its_topic_and_all_of_later_ones(tmp_path: Path) -> None:
    write(tmp_path, "one", [record(0), record(1)])
    write(tmp_path, "two", [record(0), record(0, 1)], [record(1)])
    write(tmp_path, "three", [record(0)])

    assert read(tmp_path, at("two", p0=1, p1=0)) == [
        ("two", [record(0, 1)]),
        ("two", [record(1)]),
        ("three", [record(0)]),
    ]
    assert read(tmp_path, at("three", p0=1)) == []
    assert [topic_id for topic_id, _ in read(tmp_path)] == ["one", "two", "two", "three"]


@pytest.mark.parametrize("position", [None, at("one", p0=1)])
def test_what_was_read_twice_is_given_once(tmp_path: Path, position: StreamPosition | None) -> None:
    write(tmp_path, "one", [record(0), record(1)], [record(1), record(2)])  # The broker went away in between.
    write(tmp_path, "one", [record(1), record(2), record(3)])

    given = [each for _, records in read(tmp_path, position) for each in records]
    assert given == [record(offset) for offset in range(0 if position is None else 1, 4)]


def test_a_process_that_is_killed_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        journal = Journal(tmp_path)
        journal.begin("one")
        journal.append([record(0)])
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)

    assert read(tmp_path) == [("one", [record(0)])]


@pytest.mark.parametrize("num_cut", [1, 20, 60])
def test_a_frame_that_was_cut_off_is_told_and_the_others_are_read(tmp_path: Path, num_cut: int) -> None:
    write(tmp_path, "one", [record(0)], [record(1)])
    (path,) = tmp_path.glob("*.records")
    path.write_bytes(path.read_bytes()[:-num_cut])
    write(tmp_path, "one", [record(1)])  # Read again from the broker.

    with capture_logs() as logs:
        assert read(tmp_path) == [("one", [record(0)]), ("one", [record(1)])]
    assert [line["event"] for line in logs] == ["journal_damaged"]


def test_each_flipped_bit_is_told_and_costs_no_other_file(tmp_path: Path) -> None:
    write(tmp_path, "one", [record(0)])
    (path,) = tmp_path.glob("*.records")
    good = path.read_bytes()
    write(tmp_path, "one", [record(1)])

    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with capture_logs() as logs:
            assert read(tmp_path) == [("one", [record(1)])], position
        assert {line["event"] for line in logs} == {"journal_damaged"}


def test_files_that_a_position_is_past_are_deleted_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, "one", [record(0)])
    journal = Journal(tmp_path)
    assert [*journal.after(None)] == [Entry("one", [record(0)])]
    journal.begin("two")
    journal.append([record(0), record(1)])
    assert journal.is_whole

    journal.prune(at("two", p0=1))
    assert [entry.topic_id for entry in journal.after(None)] == ["two"]
    assert not journal.is_whole

    journal.append([record(2)])
    journal.prune(at("two", p0=2))
    assert [entry.records for entry in journal.after(None)] == [[record(2)]]
    journal.close()
    assert not Journal(tmp_path).is_whole


def test_files_are_kept_until_they_were_read_and_while_a_position_is_of_no_known_topic(tmp_path: Path) -> None:
    write(tmp_path, "one", [record(0)])
    journal = Journal(tmp_path)

    for position in (None, at("one", p0=9), at("other", p0=9)):
        journal.prune(position)
    assert [entry.records for entry in journal.after(None)] == [[record(0)]]
    journal.prune(at("other", p0=9))
    journal.close()
    assert read(tmp_path) == [("one", [record(0)])]


def test_a_file_that_was_not_read_to_its_end_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "one", [record(0)], [record(1)])
    journal = Journal(tmp_path)
    entries = journal.after(None)
    assert next(entries).records == [record(0)]  # A stop comes here.
    entries.close()

    journal.prune(at("one", p0=1))
    journal.close()
    assert read(tmp_path, at("one", p0=1)) == [("one", [record(1)])]


def test_a_full_disk_is_an_error_and_what_comes_after_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.begin("one")
    journal.append([record(0)])
    write_some = os.write

    def write_half(descriptor: int, content: memoryview) -> int:
        if len(content) < 60:
            raise OSError(28, "No space left on device")
        return write_some(descriptor, content[:50])

    with monkeypatch.context() as full:
        full.setattr(os, "write", write_half)
        with pytest.raises(JournalError, match="No space left on device"):
            journal.append([record(1, value=b"x" * 90)])
    journal.append([record(2)])
    journal.close()

    assert read(tmp_path) == [("one", [record(0)]), ("one", [record(2)])]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 99, "topic_ids": [], "is_pruned": false}'])
def test_a_history_that_is_damaged_or_of_a_later_release_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.json").write_bytes(content)

    with pytest.raises(JournalError, match=r"history\.json"):
        Journal(tmp_path)
