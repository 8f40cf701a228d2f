"""Records that a producer has broken: each costs itself alone, with its bytes, and what lies around it is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kafka.record.util import decode_varint

from springtide.events import RawEvent, Refusal


@dataclass(frozen=True, slots=True)
class BrokenRecords:
    """Records that are not in Kafka's format, though the broker has them; reading again does not help.

    Attributes:
        record: Topic, partition and first offset; as its value the bytes that could not be read, or, if only a header's
            name is bad, the record itself.
        next_offset: Offset after them.
        num_records: How many they are.
        raw: What the value is: a whole ``batch`` as the broker keeps it, the rest of the ``records`` of one, or one
            ``record``; empty if it is that of the record itself.
        message: What was wanted, and what came.
    """

    record: RawEvent
    next_offset: int
    num_records: int
    raw: str
    message: str

    @property
    def refusal(self) -> Refusal:
        """Its dead letter."""
        reason = "broken_batch" if self.raw == "batch" else "broken_record"
        return Refusal(self.record, reason, self.message, (), self.num_records, self.raw, self.next_offset)


def broken_batch(
    batch: Any, topic: str, partition: int, offset: int, next_offset: int, error: Exception
) -> BrokenRecords:
    """Return a whole batch that cannot be read.

    Args:
        batch: kafka-python's batch, not decompressed.
        topic: Name of the topic.
        partition: Number of the partition.
        offset: Offset of the first of its records that is wanted.
        next_offset: Offset after it.
        error: Why it cannot be read.
    """
    record = RawEvent(bytes(batch._buffer), None, (), topic, partition, offset, max(batch.max_timestamp, 0))
    most = max(1, next_offset - offset)
    count = min(batch.records_count, most) if batch.records_count > 0 else most
    message = f"batch: wanted Kafka's record batch: {type(error).__name__}: {error}"
    return BrokenRecords(record, next_offset, count, "batch", message)


def read_around(batch: Any, topic: str, partition: int) -> Iterator[RawEvent | BrokenRecords]:
    """Yield the records of a decompressed batch of format 2 one by one, and what cannot be read among them.

    A record tells its length, so that the next one is found after one that makes no sense. Where a length makes none,
    the rest of the batch is one piece.
    """
    data = bytes(memoryview(batch._buffer)[batch._pos :])
    append_ms = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
    at, offset = 0, batch.base_offset
    for index in range(batch.records_count):
        try:
            length, start = decode_varint(data, at)
            stop = start + length
            if length < 1 or stop > len(data):
                raise ValueError(f"a length of {length} bytes, {len(data) - start} are left")
        except (ValueError, IndexError) as error:
            rest = RawEvent(data[at:], None, (), topic, partition, offset, batch.first_timestamp)
            num_left = batch.records_count - index
            yield BrokenRecords(rest, max(batch.next_offset, offset + 1), num_left, "records", _words(error))
            return
        try:
            record, bad_name = _read(data[start:stop], batch, topic, partition, append_ms)
            if not offset <= record.offset < batch.next_offset:
                raise ValueError(f"offset {record.offset}, wanted {offset} to {batch.next_offset - 1}")
        except (ValueError, IndexError) as error:
            whole = RawEvent(data[at:stop], None, (), topic, partition, offset, batch.first_timestamp)
            yield BrokenRecords(whole, offset + 1, 1, "record", _words(error))
            offset += 1
        else:
            offset = record.offset + 1
            yield BrokenRecords(record, offset, 1, "", _words(bad_name)) if bad_name is not None else record
        at = stop


def _read(
    data: bytes, batch: Any, topic: str, partition: int, append_ms: int | None
) -> tuple[RawEvent, UnicodeDecodeError | None]:
    """Return the record in some bytes, and what is wrong with a header's name; None if nothing is.

    Raises:
        ValueError: If it has another format.
        IndexError: If it is cut off.
    """
    delta_ms, at = decode_varint(data, 1)  # After its attributes, which mean nothing.
    delta, at = decode_varint(data, at)
    key, at = _read_bytes(data, at)
    value, at = _read_bytes(data, at)
    num_headers, at = decode_varint(data, at)
    if not 0 <= num_headers <= len(data):
        raise ValueError(f"{num_headers} headers")
    headers, bad_name = [], None
    for _ in range(num_headers):
        name, at = _read_bytes(data, at)
        content, at = _read_bytes(data, at)
        if name is None:
            raise ValueError("a header without a name")
        try:
            headers.append((name.decode(), content))
        except UnicodeDecodeError as error:
            headers.append((name.decode(errors="backslashreplace"), content))
            bad_name = error
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes after its end")
    timestamp_ms = batch.first_timestamp + delta_ms if append_ms is None else append_ms
    return RawEvent(value, key, headers, topic, partition, batch.base_offset + delta, timestamp_ms), bad_name


def _read_bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(data, at)
    if size < 0:
        return None, at
    if at + size > len(data):
        raise IndexError(f"{size} bytes, {len(data) - at} are left")
    return data[at : at + size], at + size


def _words(error: Exception) -> str:
    what = "a header's name in UTF-8" if isinstance(error, UnicodeDecodeError) else "Kafka's record format"
    return f"record: wanted {what}: {error}"
