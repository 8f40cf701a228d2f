"""The journal: records as they were read, kept until checkpoints hold them, for a broker that forgets."""

import contextlib
import json
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import structlog

from springtide.errors import JournalError
from springtide.events import RawEvent
from springtide.state import StreamPosition
from springtide.storage import Storage

logger = structlog.stdlib.get_logger(__name__)

_HISTORY = "history.json"
FOLDER = "springtide-state/journal"  # Of `springtide up`: beside the default folders of checkpoints and models.
SUFFIX = ".records"
_VERSION = 1
_FRAME = struct.Struct("<4sIQ")  # Mark, CRC-32C of the body, bytes of the body.
_MARK = b"SPJ1"
_LENGTH = struct.Struct("<i")  # -1 for what is missing.
_COLUMNS = (("partition", "<i4"), ("offset", "<i8"), ("timestamp_ms", "<i8"), ("key", "<i4"), ("value", "<i4"))
_MAX_SEGMENT_BYTES = 64 * 2**20
_SYNC_S = 0.1

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """Records that were read from one topic, one after the other.

    Attributes:
        topic_id: The broker's id of the topic.
        records: The records.
    """

    topic_id: str
    records: list[RawEvent]


class Journal:
    """Files of records in a folder: what no checkpoint holds yet is read again from here.

    The embedded broker forgets its topic when it stops, and the next one has a topic of the same name with another id,
    whose offsets begin at 0. The journal knows the topics one after the other, so that a state is read on from the one
    to the next. A record is in it before it is applied: a process that is killed loses none that was read. What was
    appended reaches the disk within a tenth of a second, so a power cut loses at most that.

    One thread appends; ``prune`` may be called by another. The one writer of checkpoints holds their lock, and has the
    journal to itself.

    Args:
        folder: A local folder; it is made if it is missing.

    Attributes:
        folder: The folder.

    Raises:
        JournalError: If the folder cannot be used, or is of a later release.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._storage = Storage(str(folder))
        self._lock = threading.Lock()  # Of all below; held for one write, never for a sync.
        self._file: int | None = None
        self._num_bytes = 0
        self._is_dirty = False
        self._reached: dict[int, dict[str, dict[int, int]]] = {}  # By segment and topic, next offset by partition.
        self._closing = threading.Event()
        self._syncing = threading.Thread(target=self._sync_again_and_again, name="journal-sync", daemon=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._topics, self._is_pruned = self._read_history()
            self._number = max(self._segments(), default=0)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise JournalError(
                f"journal {folder}: wanted a folder that can be written, and its {_HISTORY}, got: {error}"
            ) from error
        self._syncing.start()

    @property
    def is_whole(self) -> bool:
        """Whether it still has every record that was ever read."""
        return not self._is_pruned

    @property
    def topic_ids(self) -> list[str]:
        """The ids of the topics, in the order in which they were read."""
        return [*self._topics]

    def knows(self, topic_id: str) -> bool:
        """Return whether records of a topic were read by way of this journal."""
        return topic_id in self._topics

    def begin(self, topic_id: str) -> None:
        """Note the topic that is read from now on; durable when this returns.

        Raises:
            JournalError: If that cannot be written.
        """
        if self._topics[-1:] == [topic_id]:
            return
        topics = [*(each for each in self._topics if each != topic_id), topic_id]
        self._write_history(topics, is_pruned=self._is_pruned)
        self._topics = topics

    def append(self, records: Sequence[RawEvent]) -> None:
        """Append records of the current topic; a process that is killed from here on does not lose them.

        Raises:
            JournalError: If they cannot be written, such as on a full disk; then none of them is in the journal.
        """
        if not records:
            return
        frame = _frame_of(self._topics[-1], records)
        with self._lock:
            try:
                if self._file is None or self._num_bytes + len(frame) > _MAX_SEGMENT_BYTES:
                    self._begin_segment()
                assert self._file is not None, "a segment has just begun"
                _write_all(self._file, frame)
            except OSError as error:
                self._cut_off()
                raise JournalError(f"journal {self.folder}: records cannot be written: {error}") from error
            self._num_bytes += len(frame)
            self._is_dirty = True
            _note_reached(self._reached.setdefault(self._number, {}), self._topics[-1], records)

    def after(self, position: StreamPosition | None) -> Iterator[Entry]:
        """Yield the records that a state has not read yet, each once, in the order in which they were read.

        Args:
            position: How far the state has read; None for not at all.
        """
        # What was given moves on: records that were read twice, such as after the broker went away, are in here twice.
        given = {} if position is None else {position.topic_id: dict(position.next_offsets)}
        for number in self._segments():
            reached: dict[str, dict[int, int]] = {}
            for entry in self._read_segment(number):
                _note_reached(reached, entry.topic_id, entry.records)
                if position is not None and self._comes_before(entry.topic_id, position.topic_id):
                    continue
                offsets = given.setdefault(entry.topic_id, {})
                records = [each for each in entry.records if each.offset >= offsets.get(each.partition, 0)]
                _note_reached(given, entry.topic_id, records)
                if records:
                    yield Entry(entry.topic_id, records)
            self._reached[number] = reached  # Not before: of what was read in part, the rest must not be deleted.

    def prune(self, position: StreamPosition | None) -> None:
        """Delete what a position is past, and begin a new file; from any thread.

        Args:
            position: Of the oldest checkpoint that is kept.
        """
        with self._lock:
            ended = self._detach()
        _sync_and_close(ended)  # Not under the lock: who appends must not wait for the disk.
        with self._lock:
            try:
                self._delete_before(position)
            except (OSError, JournalError) as error:  # The next checkpoint tries again.
                logger.warning("journal_not_pruned", error=str(error))

    def close(self) -> None:
        """Make all of it durable, and close its file."""
        self._closing.set()
        self._syncing.join()
        with self._lock:
            ended = self._detach()
        _sync_and_close(ended)

    def _delete_before(self, position: StreamPosition | None) -> None:
        for number in self._segments():
            reached = self._reached.get(number)  # None if it was not read yet, in this process.
            if position is None or reached is None or not self._is_past(position, reached):
                return
            if not self._is_pruned:
                self._write_history(self._topics, is_pruned=True)
                self._is_pruned = True
            self._path(number).unlink()
            del self._reached[number]

    def _is_past(self, position: StreamPosition, reached: dict[str, dict[int, int]]) -> bool:
        """Return whether a position is past everything that a file has."""
        for topic_id, offsets in reached.items():
            if topic_id == position.topic_id:
                if any(offset > position.next_offsets.get(partition, 0) for partition, offset in offsets.items()):
                    return False
            elif not self._comes_before(topic_id, position.topic_id):
                return False
        return True

    def _comes_before(self, topic_id: str, other_id: str) -> bool:
        """Return whether a topic was read before another one; a topic that is not known came long before."""
        if other_id not in self._topics:
            return False
        return topic_id not in self._topics or self._topics.index(topic_id) < self._topics.index(other_id)

    def _read_history(self) -> tuple[list[str], bool]:
        try:
            history = json.loads(self._storage.read(_HISTORY))
        except FileNotFoundError:
            return [], False
        _check_version(history)
        return list(history["topic_ids"]), bool(history["is_pruned"])

    def _write_history(self, topics: Sequence[str], *, is_pruned: bool) -> None:
        content = {"version": _VERSION, "topic_ids": [*topics], "is_pruned": is_pruned}
        try:
            self._storage.write(_HISTORY, json.dumps(content, indent=2).encode())
        except OSError as error:
            raise JournalError(f"journal {self.folder}: {_HISTORY} cannot be written: {error}") from error

    def _segments(self) -> list[int]:
        names = [path.stem for path in self.folder.glob(f"*{SUFFIX}")]
        return sorted(int(name) for name in names if name.isdecimal())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}{SUFFIX}"

    def _begin_segment(self) -> None:
        _sync_and_close(self._detach())
        self._file = os.open(self._path(self._number + 1), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._number += 1
        self._storage.sync("")

    def _detach(self) -> int | None:
        """End the file that is being written, and return its descriptor, to be synced and closed."""
        ended, self._file, self._num_bytes, self._is_dirty = self._file, None, 0, False
        return ended

    def _cut_off(self) -> None:
        """Take back what part of a frame was written, so that the next one can be read."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._num_bytes)

    def _sync_again_and_again(self) -> None:
        while not self._closing.wait(_SYNC_S):
            with self._lock:
                descriptor = os.dup(self._file) if self._is_dirty and self._file is not None else None
                self._is_dirty = False
            _sync_and_close(descriptor)

    def _read_segment(self, number: int) -> Iterator[Entry]:
        """Yield what a file has. A frame that was cut off by a crash was never applied; what is damaged is told."""
        for entry, start, stop in entries_in(memoryview(self._path(number).read_bytes())):
            if entry is None:
                logger.error("journal_damaged", path=str(self._path(number)), at_byte=start, num_bytes=stop - start)
            else:
                yield entry


def read_version(folder: Path) -> int | None:
    """Return the version of the format of a journal; None if there is none.

    Raises:
        ValueError: If a later release has written it, or it is damaged.
        LookupError: If it is damaged.
        TypeError: If it is damaged.
        OSError: If it cannot be read.
    """
    try:
        history = json.loads((folder / _HISTORY).read_bytes())
    except FileNotFoundError:
        return None
    return _check_version(history)


def _check_version(history: dict[str, Any]) -> int:
    version = history["version"]
    if version != _VERSION:
        raise ValueError(f"{_HISTORY} of version {version}; this release reads {_VERSION}")
    return _VERSION


def entries_in(content: memoryview) -> Iterator[tuple[Entry | None, int, int]]:
    """Yield the entries of a file, each with the bytes that it takes, [start, stop); None for what is damaged."""
    at = 0
    while at < len(content):
        entry, end = None, len(content)
        if end - at >= _FRAME.size:
            mark, checksum, num_bytes = _FRAME.unpack_from(content, at)
            begin = at + _FRAME.size
            if mark == _MARK and begin + num_bytes <= len(content):
                end = begin + num_bytes
                if crc32c.crc32c(content[begin:end]) == checksum:
                    with contextlib.suppress(ValueError, IndexError):
                        entry = _entry_of(content[begin:end])
        yield entry, at, end
        at = end


def _sync_and_close(descriptor: int | None) -> None:
    if descriptor is None:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        logger.error("journal_not_synced", error=str(error))
    finally:
        os.close(descriptor)


def _note_reached(reached: dict[str, dict[int, int]], topic_id: str, records: Sequence[RawEvent]) -> None:
    offsets = reached.setdefault(topic_id, {})
    for record in records:  # Of one partition they are in order.
        offsets[record.partition] = record.offset + 1


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _frame_of(topic_id: str, records: Sequence[RawEvent]) -> bytes:
    """Return records as bytes: a small head, a column for each number, and then all keys, all values.

    Headers are few distinct ones, and stand in the head once.
    """
    numbers: dict[Headers, int] = {}
    of_record = [numbers.setdefault(tuple(record.headers), len(numbers)) for record in records]
    keys, values = [record.key for record in records], [record.value for record in records]
    columns = (
        [record.partition for record in records],
        [record.offset for record in records],
        [record.timestamp_ms for record in records],
        [-1 if key is None else len(key) for key in keys],
        [-1 if value is None else len(value) for value in values],
    )
    parts = [_text(topic_id), _text(records[0].topic), _LENGTH.pack(len(numbers))]
    for headers in numbers:
        parts.append(_LENGTH.pack(len(headers)))
        for name, content in headers:
            parts += [_text(name), _packed(content)]
    parts.append(_LENGTH.pack(len(records)))
    parts.append(np.array(of_record, "<i4").tobytes())
    parts += [np.array(column, kind).tobytes() for column, (_, kind) in zip(columns, _COLUMNS, strict=True)]
    parts += [key for key in keys if key]
    parts += [value for value in values if value]
    body = b"".join(parts)
    return _FRAME.pack(_MARK, crc32c.crc32c(body), len(body)) + body


def _entry_of(body: memoryview) -> Entry:
    """Return what ``_frame_of`` was given; the body's checksum is right.

    Raises:
        ValueError: If it is no such body all the same, as IndexError does.
    """
    cursor = _Cursor(body)
    topic_id, topic = cursor.text(), cursor.text()
    headers = [tuple((cursor.text(), cursor.packed()) for _ in range(cursor.length())) for _ in range(cursor.length())]
    count = cursor.length()
    of_record = cursor.column("<i4", count)
    partitions, offsets, times, key_lengths, value_lengths = (cursor.column(kind, count) for _, kind in _COLUMNS)
    keys = [cursor.content(length) for length in key_lengths]
    values = [cursor.content(length) for length in value_lengths]
    rows = zip(values, keys, of_record, partitions, offsets, times, strict=True)
    return Entry(
        topic_id,
        [
            RawEvent(value, key, headers[number], topic, partition, offset, time)
            for value, key, number, partition, offset, time in rows
        ],
    )


def _text(text: str) -> bytes:
    return _packed(text.encode("utf-8", "surrogateescape"))


def _packed(content: bytes | None) -> bytes:
    return _LENGTH.pack(-1) if content is None else _LENGTH.pack(len(content)) + content


class _Cursor:
    """Reads what ``_frame_of`` wrote, from its beginning; raises ValueError where it ends too early."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0

    def length(self) -> int:
        return int.from_bytes(self._bytes(_LENGTH.size), "little", signed=True)

    def content(self, length: int) -> bytes | None:
        if length < 0:
            return None
        return self._bytes(length)

    def _bytes(self, count: int) -> bytes:
        start, stop = self._at, self._at + count
        if stop > len(self._body):
            raise ValueError(f"wanted {count} bytes at byte {start}, got {len(self._body) - start}")
        self._at = stop
        return bytes(self._body[start:stop])

    def packed(self) -> bytes | None:
        return self.content(self.length())

    def text(self) -> str:
        return (self.packed() or b"").decode("utf-8", "surrogateescape")

    def column(self, kind: str, count: int) -> list[int]:
        if count < 0:
            raise ValueError(f"wanted a number of records, got {count}")
        numbers: list[int] = np.frombuffer(self._bytes(count * np.dtype(kind).itemsize), kind).tolist()
        return numbers
