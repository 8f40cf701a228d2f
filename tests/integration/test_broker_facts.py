"""What we rely on a broker for, run on whichever is configured; what only Apache Kafka does is marked ``kafka``."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import OffsetOutOfRangeError, TopicAlreadyExistsError
from kafka.partitioner.default import murmur2

from springtide.clock import Deadline, wall_ms
from springtide.errors import OffsetsLostError
from springtide.events import RawEvent, Refusal
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream import source
from springtide_services.stream.dead_letters import OMITTED_BYTES, DeadLetterWriter
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config, ensure_topics, read_topic_facts


@pytest.fixture
def kafka(fresh_kafka: Callable[..., KafkaSettings]) -> KafkaSettings:
    return fresh_kafka(num_partitions=1)


@contextlib.contextmanager
def _consumer(kafka: KafkaSettings, offset: int, topic: str | None = None) -> Iterator[KafkaConsumer]:
    consumer = KafkaConsumer(**client_config(kafka), auto_offset_reset="none", enable_auto_commit=False)
    partition = TopicPartition(topic or kafka.topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, offset)
    yield consumer
    consumer.close()


def _poll(consumer: KafkaConsumer, count: int, budget_s: float = 60.0) -> list[ConsumerRecord]:
    records: list[ConsumerRecord] = []
    deadline = Deadline.after(budget_s)
    while len(records) < count and not deadline.is_over():
        for polled in consumer.poll(100).values():
            records += polled
    return records


def _produce(kafka: KafkaSettings, values: list[bytes | None], **record: object) -> None:
    producer = KafkaProducer(**client_config(kafka), linger_ms=50)  # So that they share a batch.
    sent = [producer.send(kafka.topic, value, partition=0, **record) for value in values]
    for future in sent:
        future.get(10)
    producer.close()


def test_recreated_topic_has_another_id(kafka: KafkaSettings) -> None:
    with KafkaAdminClient(**client_config(kafka)) as admin:
        before = read_topic_facts(admin, kafka.topic)
        admin.delete_topics([kafka.topic])
        deadline = Deadline.after(60.0)
        while read_topic_facts(admin, kafka.topic) is not None:
            assert not deadline.is_over()
            time.sleep(0.05)
        ensure_topics(Settings(kafka=kafka))
        after = read_topic_facts(admin, kafka.topic)
    assert before is not None
    assert after is not None
    assert before.topic_id != after.topic_id


def test_topic_cannot_be_made_twice(kafka: KafkaSettings) -> None:
    with KafkaAdminClient(**client_config(kafka)) as admin, pytest.raises(TopicAlreadyExistsError):
        admin.create_topics({kafka.topic: {"num_partitions": 1}})


def test_record_comes_as_it_was_written(kafka: KafkaSettings) -> None:
    headers = [("a", b"1"), ("a", b"\xff"), ("b", b"")]
    timestamp_ms = wall_ms() - 1_234  # Not long ago: Kafka's retention goes by it, and removes old records at once.
    _produce(kafka, [b"value", None], key=b"key", headers=headers, timestamp_ms=timestamp_ms)
    with _consumer(kafka, 0) as consumer:
        first, second = _poll(consumer, 2)
    assert (first.key, first.value, list(first.headers)) == (b"key", b"value", headers)
    assert (first.timestamp, first.timestamp_type) == (timestamp_ms, 0)
    assert second.value is None


def test_offsets_count_up_without_gaps_in_the_order_of_sending(kafka: KafkaSettings) -> None:
    _produce(kafka, [b"%d" % number for number in range(100)])
    with _consumer(kafka, 0) as consumer:
        records = _poll(consumer, 100)
    assert [(record.offset, record.value) for record in records] == [(n, b"%d" % n) for n in range(100)]


def test_seek_into_a_batch_gives_the_rest_of_it(kafka: KafkaSettings) -> None:
    _produce(kafka, [b"%d" % number for number in range(10)])
    with _consumer(kafka, 7) as consumer:
        assert [record.offset for record in _poll(consumer, 3)] == [7, 8, 9]


def test_fetch_tells_the_high_watermark(kafka: KafkaSettings) -> None:
    _produce(kafka, [b"x"] * 61)
    with _consumer(kafka, 5) as consumer:
        _poll(consumer, 56)
        assert consumer.highwater(TopicPartition(kafka.topic, 0)) == 61


def test_beginning_of_a_topic_that_lost_nothing_is_zero(kafka: KafkaSettings) -> None:
    _produce(kafka, [b"x"] * 3)
    partition = TopicPartition(kafka.topic, 0)
    with _consumer(kafka, 0) as consumer:
        assert consumer.beginning_offsets([partition]) == {partition: 0}


def test_read_past_the_end_gives_an_error_or_the_high_watermark(kafka: KafkaSettings) -> None:
    _produce(kafka, [b"x"] * 3)
    partition = TopicPartition(kafka.topic, 0)
    with _consumer(kafka, 50) as consumer, contextlib.suppress(OffsetOutOfRangeError):
        assert _poll(consumer, 1, budget_s=1.0) == []
        assert consumer.highwater(partition) == 3


def test_key_chooses_the_partition_that_packed_batches_choose(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=3)
    producer = KafkaProducer(**client_config(kafka))
    for user in (b"ann", b"bob", b"cid", b"dan"):
        assert producer.send(kafka.topic, b"x", key=user).get(10).partition == (murmur2(user) & 0x7FFFFFFF) % 3
    producer.close()


@pytest.mark.kafka
def test_read_past_the_end_is_an_error(kafka: KafkaSettings) -> None:
    with _consumer(kafka, 50) as consumer, pytest.raises(OffsetOutOfRangeError):
        _poll(consumer, 1)


@pytest.mark.kafka
def test_waiting_fetch_is_answered_when_an_event_comes(kafka: KafkaSettings) -> None:
    settings = Settings(kafka=kafka.model_copy(update={"fetch_max_wait_ms": 500}))
    loop = IngestLoop(settings, LiveState(settings, {}), None)
    loop.start()
    event = events_pb2.Event(interaction={"user": "ann", "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    took_ms = []
    with EventPublisher(settings) as publisher:
        for _ in range(10):
            start_s = time.monotonic()
            partition, offset = publisher.publish(event)
            assert loop.wait_for({partition: offset + 1}, Deadline.after(60.0))
            took_ms.append((time.monotonic() - start_s) * 1e3)
    loop.stop()
    assert sorted(took_ms)[2] < 100, "some come at once; others may have waited for a busy machine"


@pytest.mark.kafka
def test_events_sent_one_by_one_do_not_stop_the_stream(kafka: KafkaSettings) -> None:
    # An answer may hold records past the high watermark that it reports: about one of 6,000 such events shows it.
    settings = Settings(kafka=kafka.model_copy(update={"fetch_max_wait_ms": 500}))
    loop = IngestLoop(settings, LiveState(settings, {}), None)
    loop.start()
    event = events_pb2.Event(interaction={"user": "ann", "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    producer = KafkaProducer(**client_config(kafka), linger_ms=0)
    for _ in range(10_000):
        sent = producer.send(kafka.topic, event.SerializeToString(), partition=0).get(10)
        assert loop.status().failure is None
    producer.close()
    assert loop.wait_for({0: sent.offset + 1}, Deadline.after(60.0))
    loop.stop()


@pytest.mark.kafka
def test_events_removed_by_retention_are_offsets_lost(kafka: KafkaSettings) -> None:
    settings = Settings(kafka=kafka)
    _produce(kafka, [b"x"] * 10)
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    assert loop.wait_for({0: 10}, Deadline.after(60.0))
    loop.stop()
    assert state.position is not None
    state.position = type(state.position)(kafka.topic, state.position.topic_id, {0: 2})
    with KafkaAdminClient(**client_config(kafka)) as admin:
        admin.delete_records({TopicPartition(kafka.topic, 0): 5})
    loop = IngestLoop(settings, state, None)
    loop.start()
    deadline = Deadline.after(60.0)
    while loop.status().failure is None:
        assert not deadline.is_over()
        time.sleep(0.01)
    loop.stop()
    assert isinstance(loop.status().failure, OffsetsLostError)
    assert "retention" in str(loop.status().failure)


@pytest.mark.kafka
def test_what_a_transaction_took_back_is_not_read_and_its_marker_is_no_lag(kafka: KafkaSettings) -> None:
    settings = Settings(kafka=kafka)
    events = {user: events_pb2.Event(interaction={"user": user, "item": "bread", "type": "purchase"}) for user in "ab"}
    producer = KafkaProducer(**client_config(kafka), transactional_id=kafka.topic)
    producer.init_transactions()
    for event, end in zip(events.values(), (producer.commit_transaction, producer.abort_transaction), strict=True):
        event.event_time.FromMilliseconds(1_000)
        producer.begin_transaction()
        producer.send(kafka.topic, event.SerializeToString(), partition=0).get(10)
        end()
    producer.close()
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    deadline = Deadline.after(60.0)
    while not loop.is_caught_up:
        assert not deadline.is_over()
        time.sleep(0.01)
    loop.stop()
    assert state.graph.nodes("user").ids.all_ids() == ["a"]


@pytest.mark.kafka
def test_new_partitions_are_read_without_a_restart(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_TOPIC_CHECK_S", 0.2)
    settings = Settings(kafka=kafka)
    loop = IngestLoop(settings, LiveState(settings, {}), None)
    loop.start()
    deadline = Deadline.after(60.0)
    with KafkaAdminClient(**client_config(kafka)) as admin:
        admin.create_partitions({kafka.topic: 3})
    while set(loop.status().next_offsets) != {0, 1, 2}:
        assert not deadline.is_over()
        time.sleep(0.05)
    loop.stop()


@pytest.mark.kafka
def test_letter_too_large_for_the_topic_is_written_without_its_value(kafka: KafkaSettings) -> None:
    value = b"x" * 3_000_000  # Apache Kafka's default limit is 1 MiB.
    record = RawEvent(value, b"key", (), kafka.topic, 0, 7, 0)
    with DeadLetterWriter(kafka) as writer:
        assert writer.write([Refusal(record, "oversize", "too large")]) == {"oversize": 1}
    with _consumer(kafka, 0, kafka.dead_letter_topic) as consumer:
        (letter,) = _poll(consumer, 1)
    assert (letter.key, letter.value) == (b"key", None)
    assert dict(letter.headers)[OMITTED_BYTES] == b"3000000"
