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
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, UnsupportedCodecError
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
    ("error", "kind", "words"), [(NO_LIBRARY, "codec", "are compressed with a codec, and its library is not installed")]
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


def letters(kafka: KafkaSettings) -> list[tuple[bytes | None, dict[str, bytes]]]:
    """Return value and headers of all dead letters, in order."""
    consumer = KafkaConsumer(
        kafka.dead_letter_topic, **client_config(kafka), auto_offset_reset="earliest", consumer_timeout_ms=1_000
    )
    found = [(record.value, dict(record.headers)) for record in consumer]
    consumer.close()
    return found


class Breaking:
    """Changes each batch that a producer sends, as a broken producer makes it: with the right checksum."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytearray], bytearray]) -> None:
        build = default_records.DefaultRecordBatchBuilder.build

        def broken(builder: default_records.DefaultRecordBatchBuilder) -> bytearray:
            data = change(bytearray(build(builder)))
            struct.pack_into(">i", data, 8, len(data) - 12)
            struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
            self.sent.append(bytes(data))
            return data

        self.sent: list[bytes] = []
        monkeypatch.setattr(default_records.DefaultRecordBatchBuilder, "build", broken)


def cut(data: bytearray) -> bytearray:
    return data[:-12]


def flip(data: bytearray) -> bytearray:
    data[61:71] = bytes(10)
    return data


def other_codec(data: bytearray) -> bytearray:
    data[22] = data[22] & ~7 | (data[22] & 7) % 4 + 1
    return data


def no_codec(data: bytearray) -> bytearray:
    data[22] |= 7
    return data


@pytest.mark.fault("batch that cannot be decompressed")
@pytest.mark.parametrize("change", [cut, flip, other_codec, no_codec])
@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_a_broken_batch_is_a_dead_letter_with_its_bytes_and_the_stream_goes_on(
    fresh_kafka: Callable[..., KafkaSettings],
    codec: str,
    change: Callable[[bytearray], bytearray],
) -> None:
    kafka = fresh_kafka(num_partitions=1)
    send(kafka, 0, "b1", codec=codec)
    with pytest.MonkeyPatch.context() as patch:
        breaking = Breaking(patch, change)
        try:
            send(kafka, 0, "b2", "b3", codec=codec)
        except KafkaError:
            pytest.skip("this broker refuses such a batch")
    send(kafka, 0, "b4", codec=codec)
    with reading(kafka) as (loop, state):
        until(lambda: loop.status().next_offsets == {0: 4})
        until(lambda: loop.status().lag_events == 0)
        assert problem(loop) == ("", "")
    assert {"b1", "b4"} <= set(users(state))
    if users(state) == ["b1", "b2", "b3", "b4"]:  # What is cut off was no more than the codec's own end.
        return
    (letter,) = letters(kafka)
    value, headers = letter
    assert value is not None
    assert headers["springtide.reason"] in (b"broken_batch", b"broken_record")
    first, behind = (int(headers[name]) for name in ("__streams.errors.offset", "springtide.next_offset"))
    assert (first >= 1, behind) == (True, 3)
    assert len(users(state)) == 4 - (behind - first), "what could be read before it is read"
    assert sum(loop.status().dead_letters.values()) == behind - first
    if headers["springtide.reason"] == b"broken_batch":
        assert value[12:] == breaking.sent[0][12:], "all but offset and leader, which the broker gives"


def test_a_header_s_name_that_is_no_text_costs_only_its_record(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = fresh_kafka(num_partitions=1)
    names = [f"u{number:03d}" for number in range(180)]
    producer = KafkaProducer(**client_config(kafka), linger_ms=500, batch_size=10**6)
    with pytest.MonkeyPatch.context() as patch:
        Breaking(patch, lambda data: data.replace(b"not-a-text", b"not-a-\xff\xfext"))
        for name in names:
            producer.send(kafka.topic, purchase(name), headers=[("not-a-text", b"1")] if name == "u001" else [])
        producer.flush()
    producer.close()
    with reading(kafka) as (loop, state):
        until(lambda: loop.status().next_offsets == {0: 180})
        assert loop.status().dead_letters == {"broken_record": 1}
    assert users(state) == [name for name in names if name != "u001"]
    ((value, headers),) = letters(kafka)
    assert value == purchase("u001")
    assert headers["__streams.errors.offset"] == b"1"
    assert b"a header's name in UTF-8" in headers["__streams.errors.message"]


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


@pytest.mark.fault("damage in the broker's files")
@pytest.mark.kafka
@pytest.mark.parametrize("how", ["checksum", "codec 7", "compressed bytes"])
def test_damage_in_the_brokers_files_is_a_dead_letter_and_costs_nothing_else(
    fresh_kafka: Callable[..., KafkaSettings], how: str
) -> None:
    """Where the checksum is wrong, another broker may have a good copy: it is tried again first, with words."""
    kafka = fresh_kafka(num_partitions=2)
    send(kafka, 1, "b1", codec="zstd")
    send(kafka, 1, "b2", "b3", codec="zstd")
    send(kafka, 1, "b4", codec="zstd")
    damage_second_batch(kafka, how)
    with reading(kafka) as (loop, state):
        if how == "checksum":
            until(lambda: problem(loop)[0] == "damaged")
            words = "records 1 to 2 of partition 1 of .* the batch's checksum is wrong.* dead letters"
            assert re.search(words, problem(loop)[1]), problem(loop)
        send(kafka, 0, "a1")
        until(lambda: users(state) == ["a1", "b1", "b4"])
        until(lambda: problem(loop) == ("", ""))
        assert loop.status().next_offsets == {0: 1, 1: 4}
        assert loop.status().dead_letters == {"broken_batch": 2}
        assert not state.gaps
    ((value, headers),) = letters(kafka)
    assert value is not None
    assert headers["springtide.raw"] == b"batch"
    assert (headers["__streams.errors.offset"], headers["springtide.next_offset"]) == (b"1", b"3")


@pytest.mark.kafka
def test_a_batch_of_the_brokers_that_is_too_short_holds_one_partition(
    fresh_kafka: Callable[..., KafkaSettings],
) -> None:
    kafka = fresh_kafka(num_partitions=2)
    send(kafka, 1, "b1", codec="zstd")
    send(kafka, 1, "b2", "b3", codec="zstd")
    damage_second_batch(kafka, "short")
    with reading(kafka) as (loop, state):
        until(lambda: problem(loop)[0] == "damaged")
        assert re.search("record 1 of partition 1 of .*", problem(loop)[1]), problem(loop)
        send(kafka, 0, "a1")
        until(lambda: users(state) == ["a1", "b1"])
        until(lambda: loop.status().next_offsets == {0: 1, 1: 1})


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
