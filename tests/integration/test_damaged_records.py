"""Records that cannot be read hold their partition, with words, and no other; the operator may skip them."""

import json
import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from crc32c import crc32c
from kafka import KafkaProducer
from kafka.errors import UnsupportedCodecError
from kafka.record import default_records

from springtide.clock import Deadline
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream import held_partitions
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.topics import client_config

NO_LIBRARY = UnsupportedCodecError("Libraries for gzip compression codec not found")


def purchase(user: str) -> bytes:
    event = events_pb2.Event(interaction={"user": user, "item": "bread" * 20, "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    return event.SerializeToString()


def send(kafka: KafkaSettings, partition: int, *users: str, codec: str | None = None) -> None:
    """Send one batch."""
    producer = KafkaProducer(**client_config(kafka), compression_type=codec, linger_ms=200)
    sent = [producer.send(kafka.topic, purchase(user), partition=partition) for user in users]
    producer.flush()
    assert [each.get(10).partition for each in sent] == [partition] * len(users)
    producer.close()


@contextmanager
def reading(kafka: KafkaSettings, *, skip_lost: bool = False) -> Iterator[tuple[IngestLoop, LiveState]]:
    settings = Settings(kafka=kafka)
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None, skip_lost=skip_lost)
    loop.start()
    try:
        yield loop, state
    finally:
        loop.stop()
    assert loop.status().failure is None


def until(is_so: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = Deadline.after(within_s)
    while not is_so():
        assert not deadline.is_over()
        time.sleep(0.02)


def users(state: LiveState) -> list[str]:
    return sorted(state.graph.nodes("user").ids.all_ids())


def problem(loop: IngestLoop) -> tuple[str, str]:
    lasting = loop.status().problem
    return ("", "") if lasting is None else (lasting.problem.kind, lasting.problem.message)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_every_codec_is_read(fresh_kafka: Callable[..., KafkaSettings], codec: str) -> None:
    kafka = fresh_kafka(num_partitions=1)
    send(kafka, 0, "ann", "bob", codec=codec)
    with reading(kafka) as (_, state):
        until(lambda: users(state) == ["ann", "bob"])


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (NO_LIBRARY, "codec", "are compressed with a codec, and its library is not installed"),
        (EOFError("the stream ended"), "damaged", "the batch cannot be decompressed: EOFError: the stream ended"),
    ],
)
def test_one_partition_waits_with_words_and_the_others_go_on(
    fresh_kafka: Callable[..., KafkaSettings],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: str,
    words: str,
) -> None:
    kafka = fresh_kafka(num_partitions=3)
    send(kafka, 0, "a1")
    send(kafka, 1, "b1")
    send(kafka, 1, "b2", "b3", codec="gzip")
    send(kafka, 1, "b4")
    gzip_decode = default_records.gzip_decode

    def fail(_payload: bytes) -> bytes:
        raise error

    monkeypatch.setattr(default_records, "gzip_decode", fail)
    with reading(kafka) as (loop, state):
        until(lambda: problem(loop)[0] == kind)
        send(kafka, 2, "c1")
        until(lambda: users(state) == ["a1", "b1", "c1"])
        time.sleep(0.3)  # The others go on meanwhile.
        message = problem(loop)[1]
        assert words in message, "the progress of others does not hide it"
        assert f"records 1 to 2 of partition 1 of topic {kafka.topic!r}" in message
        assert "the other partitions are read on" in message
        assert loop.status().next_offsets == {0: 1, 1: 1, 2: 1}
        assert loop.is_caught_up, "all is read that can be"
        assert loop.status().lag_events == 3
        assert loop.status().is_connected
        monkeypatch.setattr(default_records, "gzip_decode", gzip_decode)
        until(lambda: users(state) == ["a1", "b1", "b2", "b3", "b4", "c1"])
        until(lambda: problem(loop) == ("", ""))
        assert loop.status().lag_events == 0
    assert not state.gaps


@pytest.mark.parametrize("is_setting", [True, False])
def test_damaged_records_are_skipped_if_the_operator_says_so(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch, is_setting: bool
) -> None:
    kafka = fresh_kafka(num_partitions=2, on_lost="skip" if is_setting else "stop")
    send(kafka, 1, "b1")
    send(kafka, 1, "b2", "b3", codec="gzip")
    send(kafka, 1, "b4")

    def fail(_payload: bytes) -> bytes:
        raise EOFError("the stream ended")

    monkeypatch.setattr(default_records, "gzip_decode", fail)
    with reading(kafka, skip_lost=not is_setting) as (loop, state):
        until(lambda: users(state) == ["b1", "b4"])
        until(lambda: problem(loop) == ("", ""))
        (gap,) = state.gaps
        assert (gap.partition, gap.from_offset, gap.to_offset, gap.reason) == (1, 1, 3, "damaged")
        until(lambda: loop.status().lag_events == 0)
        if not is_setting:  # Once: what is damaged later holds its partition.
            send(kafka, 1, "b5", "b6", codec="gzip")
            until(lambda: problem(loop)[0] == "damaged")
            time.sleep(3.0)  # Nothing may be skipped.
            assert len(state.gaps) == 1


def test_records_whose_library_is_missing_are_never_skipped(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = fresh_kafka(num_partitions=1, on_lost="skip")
    send(kafka, 0, "ann", codec="gzip")

    def fail(_payload: bytes) -> bytes:
        raise NO_LIBRARY

    monkeypatch.setattr(default_records, "gzip_decode", fail)
    with reading(kafka) as (loop, state):
        until(lambda: problem(loop)[0] == "codec")
        time.sleep(3.0)  # Nothing may be skipped.
        assert not state.gaps


def damage_second_batch(kafka: KafkaSettings, how: str) -> None:
    """Change bytes of partition 1 in the broker's own files, as a broken disk or memory does."""
    folder = os.environ.get("KAFKA_DIR", "")
    found = list(Path(folder).glob(f"**/{kafka.topic}-1/*.log")) if folder else []
    if not found:
        pytest.skip("needs the folder of a Kafka with one broker (KAFKA_DIR)")
    data = bytearray(found[0].read_bytes())
    start = 12 + struct.unpack_from(">i", data, 8)[0]
    stop = start + 12 + struct.unpack_from(">i", data, start + 8)[0]
    has_good_checksum = True
    if how == "checksum":
        data[stop - 3] ^= 0xFF
        has_good_checksum = False
    elif how == "codec 7":
        data[start + 22] |= 7
    elif how == "compressed bytes":
        data[start + 61 : start + 71] = bytes(10)
    elif how == "short":
        struct.pack_into(">i", data, start + 8, 20)
    elif how == "long":
        struct.pack_into(">i", data, start + 8, 1_000_000)
        has_good_checksum = False
    if has_good_checksum:
        struct.pack_into(">I", data, start + 17, crc32c(bytes(data[start + 21 : stop])))
    with found[0].open("r+b") as file:
        file.write(data)


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("checksum", "records 1 to 2 of partition 1 of .* the batch's checksum is wrong"),
        ("codec 7", r"records 1 to 2 of partition 1 of .* no known codec \(Unrecognized compression type: 7\)"),
        ("compressed bytes", "records 1 to 2 of partition 1 of .* cannot be decompressed: ZstdError"),
        ("short", "record 1 of partition 1 of .*"),
    ],
)
def test_damage_in_the_brokers_files_holds_one_partition(
    fresh_kafka: Callable[..., KafkaSettings], how: str, words: str
) -> None:
    kafka = fresh_kafka(num_partitions=2)
    send(kafka, 1, "b1", codec="zstd")
    send(kafka, 1, "b2", "b3", codec="zstd")
    if how != "short":
        send(kafka, 1, "b4", codec="zstd")
    damage_second_batch(kafka, how)
    with reading(kafka) as (loop, state):
        until(lambda: problem(loop)[0] == "damaged")

        assert re.search(words, problem(loop)[1]), problem(loop)
        send(kafka, 0, "a1")
        until(lambda: users(state) == ["a1", "b1"])
        until(lambda: loop.status().next_offsets == {0: 1, 1: 1})
    if how != "short":
        with reading(kafka, skip_lost=True) as (loop, state):
            until(lambda: users(state) == ["a1", "b1", "b4"])
            assert [(gap.from_offset, gap.to_offset) for gap in state.gaps] == [(1, 3)]


@pytest.mark.kafka
def test_partition_of_which_the_broker_gives_nothing_is_named_and_not_skipped(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_partitions, "_STALLED_S", 2.0)
    kafka = fresh_kafka(num_partitions=2, on_lost="skip")
    for batch in (("b1",), ("b2", "b3"), ("b4",)):
        send(kafka, 1, *batch, codec="zstd")
    damage_second_batch(kafka, "long")
    with reading(kafka) as (loop, state):
        until(lambda: problem(loop)[0] == "damaged", 30.0)
        kind, message = problem(loop)
        assert "partition 1 of topic" in message
        assert "stands at offset 1: the broker says that 3 records are there, and gives none" in message
        send(kafka, 0, "a1")
        until(lambda: users(state) == ["a1", "b1"])
        time.sleep(5.0)  # Longer than the broker may be silent.
        assert problem(loop) == (kind, message), "it stays named"
        assert not state.gaps, "a broker that is merely slow must lose nothing"


@pytest.mark.kafka
def test_java_s_producer_compresses_as_we_decompress(
    fresh_kafka: Callable[..., KafkaSettings], run_kafka_command: Callable[..., None]
) -> None:
    kafka = fresh_kafka(num_partitions=1)
    codecs = ("none", "gzip", "lz4", "snappy", "zstd")
    for codec in codecs:
        event = {"interaction": {"user": codec, "item": "bread" * 20, "type": "purchase"}}
        event |= {"eventTime": "2024-01-31T18:30:00Z"}
        line = f"content-type:application/json\t{json.dumps(event)}\n"
        words = (
            f"produce --bootstrap-server {kafka.bootstrap_servers} --topic {kafka.topic} --compression-codec {codec}"
        )
        run_kafka_command(f"{words} --reader-property parse.headers=true", line)
    with reading(kafka) as (loop, state):
        until(lambda: users(state) == sorted(codecs))
        assert not loop.status().dead_letters
