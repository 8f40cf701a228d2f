"""Reads Kafka's record batches into events, several times faster than kafka-python reads them into its own records."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import calc_crc32c

from springtide.events import RawEvent
from springtide.events.record_kernels import read_records
from springtide_services.stream.broken_records import BrokenRecords, broken_batch, read_around

_NO_LIBRARY = "Libraries for"  # kafka-python 3.0's message if a codec's library is not installed.
_MOST_RECORDS = 1_000_000  # In one batch: Kafka's are of a megabyte by default.
_LITTLE = 16_384  # Bytes: with more, reading the records takes longer than what is around it.
_HEADER = DefaultRecordBatch.HEADER_STRUCT
_MIN_BATCH = _HEADER.size
# A codec, a transaction, or a marker at its end; whose time the records have is read.
_UNUSUAL = DefaultRecordBatch.CODEC_MASK | DefaultRecordBatch.TRANSACTIONAL_MASK | DefaultRecordBatch.CONTROL_MASK


@dataclass(frozen=True, slots=True)
class Damage:
    """Records of a partition that cannot be read.

    Attributes:
        partition: Number of the partition.
        offset: Offset of the first of them.
        next_offset: Offset after the batch that they are in, or after the first of them, if the batch does not tell.
        error: Why they cannot be read.
        has_bytes: Whether its bytes are there and where they end is known, so that it may be given up.
    """

    partition: int
    offset: int
    next_offset: int
    error: Exception
    has_bytes: bool = False


class EventRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types.
    """What a fetch returned of one partition, read as RawEvent.

    As in kafka-python, batches are read one after the other, as they are asked for; those of aborted transactions and
    the markers at the end of a transaction are passed over. A batch with anything unusual in it is read record by
    record (``broken_records``). What a producer has broken costs itself alone; where the checksum is wrong, another
    broker may have a good copy.

    Attributes:
        on_damage: Called with what cannot be read; the records before it are returned, and those after it are not.
        on_broken: Called with what is broken for good; the records after it are read.
        gives_up_at: Offset up to which a batch with a wrong checksum is broken for good; None for nowhere.
    """

    on_damage: Callable[[Damage], None]
    on_broken: Callable[[BrokenRecords], None]
    gives_up_at: int | None = None

    def take(self, n: int | None = None) -> list[RawEvent]:
        """Return the next records, at most ``n``."""
        events: list[RawEvent] = super().take(n)
        if events:  # The iterator does not tell of each record; past the last batch it has gone further.
            self.next_fetch_offset: int = max(self.next_fetch_offset, events[-1].offset + 1)
        return events

    def _unpack_records(
        self, tp: Any, records: Any, _key_deserializer: Any, _value_deserializer: Any
    ) -> Iterator[RawEvent]:
        """Yield the records; kafka-python's method of this name, with one step for a batch instead of a record.

        An error must not leave it: kafka-python would read the same partition again and again, and no other.
        """
        self._batch: Any = None
        self._readable_until = self.fetch_offset
        try:
            yield from self._unpack_batches(tp, records)
        except Exception as error:
            end = None if self._batch is None else _end_of(self._batch, records, self._readable_until)
            next_offset = self._readable_until + 1 if end is None else end
            has_bytes = end is not None and isinstance(error, CorruptRecordError)
            self.on_damage(Damage(tp.partition, self._readable_until, next_offset, error, has_bytes))
            self.drain()

    def _unpack_batches(self, tp: Any, records: Any) -> Iterator[RawEvent]:
        last_batch = None
        while (batch := records.next_batch()) is not None:
            self._batch = last_batch = batch
            if self.check_crcs and not batch.validate_crc():
                error = CorruptRecordError(
                    f"Record batch for partition {tp} at offset {batch.base_offset} failed crc check"
                )
                end = _end_of(batch, records, self._readable_until)
                if end is None or self.gives_up_at is None or self._readable_until > self.gives_up_at:
                    raise error
                self._pass_over(tp, batch, end, error)
                continue
            if batch.magic == 2:
                self.leader_epoch = batch.leader_epoch
                if self._is_passed_over(batch):
                    self.next_fetch_offset = batch.next_offset
                    continue
            self.bytes_read += batch.size_in_bytes
            if batch.magic == 2:
                try:
                    batch._maybe_uncompress()
                except Exception as error:  # Each codec's library has errors of its own, such as BadGzipFile.
                    if _NO_LIBRARY in str(error):
                        raise
                    self._pass_over(tp, batch, batch.next_offset, error)  # Its checksum is right: it was made so.
                    continue
            events = read_batch(batch, tp.topic, tp.partition) if batch.magic == 2 else None
            if events is None:
                read = read_around(batch, tp.topic, tp.partition) if batch.magic == 2 else self._read_old(tp, batch)
                for event in read:
                    if isinstance(event, BrokenRecords):
                        self._readable_until = max(self._readable_until, event.next_offset)
                        if event.record.offset >= self.fetch_offset:
                            self.on_broken(event)
                        continue
                    self.records_read += 1
                    self._readable_until = event.offset + 1
                    yield event
            elif events:
                self.records_read += len(events)
                self._readable_until = events[-1].offset + 1
                yield from events
        if last_batch is not None and last_batch.magic == 2:
            # Compaction may have removed its last records.
            self.next_fetch_offset = max(last_batch.next_offset, self._readable_until)
        self.drain()

    def _pass_over(self, tp: Any, batch: Any, next_offset: int, error: Exception) -> None:
        offset = max(self.fetch_offset, self._readable_until)
        self.on_broken(broken_batch(batch, tp.topic, tp.partition, offset, next_offset, error))
        self.next_fetch_offset = self._readable_until = next_offset

    def _is_passed_over(self, batch: DefaultRecordBatch) -> bool:
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)

    def _read_old(self, tp: Any, batch: Any) -> Iterator[RawEvent]:
        for record in batch:
            if self.check_crcs and not record.validate_crc():
                raise CorruptRecordError(f"Record for partition {tp} at offset {record.offset} failed crc check")
            yield RawEvent(
                record.value, record.key, record.headers or (), tp.topic, tp.partition, record.offset, record.timestamp
            )


def _end_of(batch: Any, records: Any, offset: int) -> int | None:
    """Return the offset after a batch that may be damaged; None if it is not known.

    Damage may have changed the batch's own numbers. They count if the two that say how many records there are agree,
    and hold the offset that was to be read; else the next batch tells where this one ends.
    """
    are_plausible = batch.magic == 2 and batch.last_offset_delta == batch.records_count - 1
    if are_plausible and batch.base_offset <= offset < batch.next_offset:
        return int(batch.next_offset)
    following = records._next_slice
    if following is None:
        return None
    next_offset = int.from_bytes(following[:8], "big")
    return next_offset if offset < next_offset <= offset + _MOST_RECORDS else None


def read_plain_batches(
    records: memoryview, topic: str, partition: int, offset: int
) -> tuple[list[RawEvent], int | None, int] | None:
    """Read what a fetch returned of one partition if it is little, and nothing in it is unusual.

    Args:
        records: The batches, one after the other.
        topic: Name of the topic.
        partition: Number of the partition.
        offset: The offset that was asked for: the first batch may begin before.

    Returns:
        The records, the offset after the last batch, and its leader's epoch; None for the offset if there is no batch.
        None if ``EventRecords`` must read them: they are many, compressed, damaged, or part of a transaction.
    """
    if len(records) > _LITTLE:
        return None
    events: list[RawEvent] = []
    at, next_offset, epoch = 0, None, -1
    while at < len(records):
        if len(records) - at < _MIN_BATCH:
            return None
        base, size, epoch, magic, crc, attributes, last_delta, first_ms, max_ms, _, _, _, count = _HEADER.unpack_from(
            records, at
        )
        end = at + DefaultRecordBatch.AFTER_LEN_OFFSET + size
        if magic != 2 or attributes & _UNUSUAL or not at + _MIN_BATCH <= end <= len(records):
            return None
        if calc_crc32c(records[at + DefaultRecordBatch.ATTRIBUTES_OFFSET : end]) != crc:
            return None
        append_ms = max_ms if attributes & DefaultRecordBatch.TIMESTAMP_TYPE_MASK else None
        found = read_records(bytes(records[at + _MIN_BATCH : end]), count, topic, partition, base, first_ms, append_ms)
        next_offset = base + last_delta + 1
        if found is None or next_offset <= offset:
            return None
        events += found if base >= offset else [event for event in found if event.offset >= offset]
        at = end
    return events, next_offset, epoch


def read_batch(batch: DefaultRecordBatch, topic: str, partition: int) -> list[RawEvent] | None:
    """Return the records of a batch of Kafka's record format 2; None if anything in it is unusual."""
    batch._maybe_uncompress()
    data = bytes(memoryview(batch._buffer)[batch._pos :])
    append_ms = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
    return read_records(
        data, batch.records_count, topic, partition, batch.base_offset, batch.first_timestamp, append_ms
    )
