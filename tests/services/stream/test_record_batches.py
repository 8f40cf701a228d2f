"""Batches are read as kafka-python reads them, or left to it."""

import random

import pytest
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from springtide.events import RawEvent
from springtide_services.stream.record_batches import read_batch, read_plain_batches


def _build(seed: int, compression_type: int = 0, most: int = 100) -> bytes:
    rng = random.Random(seed)
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression_type,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    sizes = (0, 1, 63, 64, 127, 128, 300, 9_000, 70_000)
    for offset in range(rng.randrange(1, most)):
        builder.append(
            offset,
            1_700_000_000_000 + rng.choice((0, 5, -70, 9_000, -(1 << 33), 1 << 40)),
            rng.choice((None, b"", rng.randbytes(rng.choice(sizes[:7])))),
            rng.choice((None, rng.randbytes(rng.choice(sizes[:7] if most < 100 else sizes)))),
            [
                (rng.choice(("a", "content-type", "\u00e9" * 50)), rng.choice((None, b"", rng.randbytes(200))))
                for _ in range(rng.choice((0, 0, 1, 3, 70)))
            ],
        )
    return bytes(builder.build())


def _as_kafka_python_reads(data: bytes) -> list[RawEvent] | None:
    try:
        return [RawEvent(r.value, r.key, r.headers, "t", 3, r.offset, r.timestamp) for r in DefaultRecordBatch(data)]
    except CorruptRecordError:
        return None


def _with_lists(events: list[RawEvent] | None) -> list[RawEvent] | None:
    return None if events is None else [event._replace(headers=list(event.headers)) for event in events]


@pytest.mark.parametrize("compression_type", [0, 1], ids=["plain", "gzip"])
def test_batches_are_read_as_kafka_python_reads_them(compression_type: int) -> None:
    for seed in range(40):
        data = _build(seed, compression_type)
        expected = _as_kafka_python_reads(data)
        assert expected is not None
        assert _with_lists(read_batch(DefaultRecordBatch(data), "t", 3)) == expected


def test_time_of_the_broker_is_every_record_s() -> None:
    data = bytearray(_build(1))
    data[22] |= 8  # The attribute that says so.
    data[35:43] = (1_234_567_890_123).to_bytes(8, "big")
    events = read_batch(DefaultRecordBatch(bytes(data)), "t", 3)
    assert events is not None
    assert {event.timestamp_ms for event in events} == {1_234_567_890_123}
    assert _with_lists(events) == _as_kafka_python_reads(bytes(data))


def test_damaged_batches_are_left_to_kafka_python() -> None:
    num_left = 0
    for seed in range(400):
        rng = random.Random(seed)
        data = bytearray(_build(seed % 20))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(61, len(data))] = rng.randrange(256)  # After the header, whose checksum protects it.
        if rng.random() < 0.2:
            del data[-rng.randrange(1, 50) :]
        events = _with_lists(read_batch(DefaultRecordBatch(bytes(data)), "t", 3))
        if events is None:
            num_left += 1
        else:
            assert events == _as_kafka_python_reads(bytes(data))
    assert 0 < num_left < 400


def _at(base_offset: int, data: bytes) -> bytes:
    return base_offset.to_bytes(8, "big") + data[8:]  # The checksum does not cover it.


def test_a_little_is_read_at_once_from_the_offset_that_was_asked_for() -> None:
    num_read = 0
    for seed in range(60):
        most = 4 if seed % 2 else 100
        first, second = _build(seed, most=most), _build(seed + 1, most=most)
        size = len(_as_kafka_python_reads(first) or [])
        data = memoryview(_at(100, first) + _at(100 + size, second))
        expected = [
            *(_as_kafka_python_reads(_at(100, first)) or []),
            *(_as_kafka_python_reads(_at(100 + size, second)) or []),
        ]
        for offset in (100, 100 + size // 2):
            found = read_plain_batches(data, "t", 3, offset)
            if len(data) > 16_384:
                assert found is None
                continue
            num_read += 1
            assert found is not None
            events, next_offset, epoch = found
            assert _with_lists(events) == [event for event in expected if event.offset >= offset]
            assert (next_offset, epoch) == (expected[-1].offset + 1, 0)
    assert num_read > 5
    assert read_plain_batches(memoryview(b""), "t", 3, 7) == ([], None, -1)


def test_what_is_unusual_is_not_read_at_once() -> None:
    seed = next(seed for seed in range(100) if 2_000 < len(_build(seed, most=4)) < 10_000)
    data = _build(seed, most=4)
    assert read_plain_batches(memoryview(data), "t", 3, 0) is not None
    assert read_plain_batches(memoryview(_build(seed, 1, 4)), "t", 3, 0) is None, "compressed"
    assert read_plain_batches(memoryview(data[:-1]), "t", 3, 0) is None, "cut off"
    assert read_plain_batches(memoryview(data + data[:30]), "t", 3, 0) is None, "cut off in the next"
    for position in (
        8,
        16,
        17,
        22,
        60,
        len(data) - 1,
    ):  # Length, magic, checksum, attributes, count, and the last byte.
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        assert read_plain_batches(memoryview(damaged), "t", 3, 0) is None
    assert read_plain_batches(memoryview(data), "t", 3, 1_000) is None, "all before what was asked for"
