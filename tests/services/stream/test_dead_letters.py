"""Dead letters carry what was refused as it came, as far as the topic takes it."""

from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from springtide.clock import Deadline
from springtide.events import RawEvent, Refusal
from springtide.settings.model import KafkaSettings
from springtide_services.stream import dead_letters
from springtide_services.stream.broker_errors import BrokerProblemError
from springtide_services.stream.dead_letters import DeadLetterWriter
from springtide_services.stream.topics import client_config


def _read(kafka: KafkaSettings, count: int) -> list[ConsumerRecord]:
    consumer = KafkaConsumer(**client_config(kafka), auto_offset_reset="none", enable_auto_commit=False)
    partition = TopicPartition(kafka.dead_letter_topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    letters: list[ConsumerRecord] = []
    deadline = Deadline.after(60.0)
    while len(letters) < count and not deadline.is_over():
        for records in consumer.poll(100).values():
            letters += records
    consumer.close()
    return letters


def test_letter_is_the_record_with_our_headers_after_its_own(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()
    own = [("content-type", b"text/xml"), (dead_letters.REASON, b"theirs")]
    record = RawEvent(b"\xff\x00", b"\x01", own, "events", 3, 42, 1_234)
    with DeadLetterWriter(kafka) as writer:
        assert writer.write([Refusal(record, "undecodable", "no idea: ✗")]) == {"undecodable": 1}
    (letter,) = _read(kafka, 1)
    assert (letter.key, letter.value) == (b"\x01", b"\xff\x00")
    assert list(letter.headers)[:2] == own
    ours = dict(list(letter.headers)[2:])
    refused_at_ms = int(ours.pop(dead_letters.REFUSED_AT_MS))
    assert abs(refused_at_ms - letter.timestamp) < 60_000
    assert ours == {
        "__streams.errors.exception": b"springtide.errors.EventRefusedError",
        "__streams.errors.message": "no idea: ✗".encode(),
        "__streams.errors.topic": b"events",
        "__streams.errors.partition": b"3",
        "__streams.errors.offset": b"42",
        "springtide.reason": b"undecodable",
        "springtide.record_time_ms": b"1234",
    }


def test_record_of_nothing_is_a_letter_too(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()
    records = [RawEvent(None, None, [("a", None)]), RawEvent(None, b"key")]
    with DeadLetterWriter(kafka) as writer:
        writer.write([Refusal(record, "empty_payload", "nothing") for record in records])
    first, second = _read(kafka, 2)
    assert (first.key, first.value, next(iter(first.headers))) == (None, b"", ("a", b""))
    assert (second.key, second.value) == (b"key", None)


def test_refused_rows_are_counted_each_and_named(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()
    record = RawEvent(b"batch")
    refusals = [
        Refusal(record, "empty_id", "x", range(5_000)),
        Refusal(record, "not_finite", "y", [7]),
        Refusal(record, "not_finite", "z"),
    ]
    with DeadLetterWriter(kafka) as writer:
        assert writer.write(refusals) == {"empty_id": 5_000, "not_finite": 2}
    letters = _read(kafka, 3)
    rows = [dict(letter.headers).get(dead_letters.ROWS) for letter in letters]
    assert rows == [",".join(map(str, range(1_000))).encode(), b"7", None]


def test_letter_too_large_goes_without_its_value(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_MAX_REQUEST_BYTES", 100_000)
    kafka = fresh_kafka()
    large_value = RawEvent(b"x" * 200_000, b"key", [("a", b"b")], "events", 0, 7)
    large_key = RawEvent(b"x", b"k" * 200_000, [("a", b"b")], "events", 0, 8)
    small = RawEvent(b"y", b"key", [], "events", 0, 9)
    with DeadLetterWriter(kafka) as writer:
        counts = writer.write([Refusal(record, "oversize", "large") for record in (large_value, large_key, small)])
    assert counts == {"oversize": 3}
    letters = {dict(letter.headers)[dead_letters.OFFSET]: letter for letter in _read(kafka, 3)}
    first, second, third = letters[b"7"], letters[b"8"], letters[b"9"]
    assert (first.key, first.value, dict(first.headers)["a"]) == (b"key", None, b"b")
    assert dict(first.headers)[dead_letters.OMITTED_BYTES] == b"200000"
    assert (second.key, second.value) == (None, b"")
    assert dict(second.headers)[dead_letters.OMITTED_BYTES] == b"200003"
    assert third.value == b"y"
    assert dead_letters.OMITTED_BYTES not in dict(third.headers)


def test_letter_that_is_not_taken_is_an_error(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_WRITE_TIMEOUT_S", 0.5)
    kafka = fresh_kafka()
    named_wrongly = kafka.model_copy(update={"dead_letter_topic": "no topic may have this name"})
    with DeadLetterWriter(named_wrongly) as writer, pytest.raises(BrokerProblemError, match="InvalidTopic"):
        writer.write([Refusal(RawEvent(b"x"), "undecodable", "x")])
