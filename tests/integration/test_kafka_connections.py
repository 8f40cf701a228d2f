"""Ways to a Kafka, and what may be in its log: protocols, codecs, transactions, a bootstrap server that is down."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.codec import has_gzip, has_lz4, has_snappy, has_zstd

from springtide.clock import Deadline
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config

pytestmark = pytest.mark.kafka

HAS_CODEC = {"gzip": has_gzip, "lz4": has_lz4, "snappy": has_snappy, "zstd": has_zstd}


def purchase(user: str, item: str = "bread") -> events_pb2.Event:
    event = events_pb2.Event(interaction={"user": user, "item": item, "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    return event


@contextmanager
def reading(kafka: KafkaSettings) -> Iterator[tuple[IngestLoop, LiveState]]:
    settings = Settings(kafka=kafka)
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    try:
        yield loop, state
    finally:
        loop.stop()
    assert loop.status().failure is None


def users(state: LiveState) -> list[str]:
    return sorted(state.graph.nodes("user").ids.all_ids())


def wait_until_caught_up(loop: IngestLoop) -> None:
    deadline = Deadline.after(60.0)
    while not loop.is_caught_up:
        assert not deadline.is_over()
        time.sleep(0.02)


def wait_for_users(state: LiveState, wanted: Sequence[str], within_s: float = 60.0) -> None:
    deadline = Deadline.after(within_s)
    while users(state) != sorted(wanted):
        assert not deadline.is_over(), users(state)
        time.sleep(0.02)


def publish_and_read(kafka: KafkaSettings) -> None:
    with reading(kafka) as (_, state):
        with EventPublisher(Settings(kafka=kafka)) as publisher:
            publisher.publish(purchase("ann"))
        wait_for_users(state, ["ann"])


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
        ("SSL", ""),
        ("SASL_SSL", "SCRAM-SHA-256"),
        ("SASL_SSL", "SCRAM-SHA-512"),
    ],
)
def test_events_come_by_every_protocol(
    fresh_kafka: Callable[..., KafkaSettings],
    on_listener: Callable[..., KafkaSettings],
    grant: Callable[..., None],
    protocol: str,
    mechanism: str,
) -> None:
    plain = fresh_kafka()
    kafka = on_listener(plain, protocol, mechanism)
    grant("TOPIC", kafka.topic, "READ", "WRITE")
    publish_and_read(kafka)


@pytest.mark.parametrize("codec", sorted(HAS_CODEC))
def test_batches_in_every_codec_are_read(fresh_kafka: Callable[..., KafkaSettings], codec: str) -> None:
    if not HAS_CODEC[codec]():
        pytest.skip(f"the library for {codec} is not installed")
    kafka = fresh_kafka(num_partitions=1)
    producer = KafkaProducer(**client_config(kafka), compression_type=codec, linger_ms=100)
    wanted = [f"u{number}" for number in range(500)]
    sent = [producer.send(kafka.topic, purchase(user).SerializeToString()) for user in wanted]
    last = sent[-1].get(10)
    producer.close()
    assert last.offset == 499
    with reading(kafka) as (loop, state):
        assert loop.wait_for({0: 500}, Deadline.after(60.0))
        assert users(state) == sorted(wanted)


@pytest.mark.fault("transaction left open, aborted")
def test_open_transaction_makes_the_stream_wait_until_it_ends(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=1)
    producer = KafkaProducer(**client_config(kafka), transactional_id=kafka.topic)
    producer.init_transactions()
    with reading(kafka) as (loop, state):
        wait_until_caught_up(loop)
        for end, sent in ((producer.commit_transaction, ("ann", "bob")), (producer.abort_transaction, ("cid",))):
            before = users(state)
            producer.begin_transaction()
            for user in sent:
                producer.send(kafka.topic, purchase(user).SerializeToString(), partition=0).get(10)
            time.sleep(1.0)  # Nothing of it may come.
            assert users(state) == before
            end()
            wait_for_users(state, ["ann", "bob"])
        with EventPublisher(Settings(kafka=kafka)) as publisher:
            publisher.publish(purchase("dan"))
        wait_for_users(state, ["ann", "bob", "dan"])  # What came after the aborted transaction is read.
    producer.close()


@pytest.mark.fault("partition added")
def test_new_partition_is_read_from_its_beginning_within_seconds(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=1)
    with reading(kafka) as (loop, state):
        wait_until_caught_up(loop)
        with KafkaAdminClient(**client_config(kafka)) as admin:
            admin.create_partitions({kafka.topic: 2})
            admin.wait_for_topics([kafka.topic])
        producer = KafkaProducer(**client_config(kafka))
        producer.send(kafka.topic, purchase("ann").SerializeToString(), partition=1).get(10)
        producer.close()
        wait_for_users(state, ["ann"])


def test_first_bootstrap_server_that_is_down_is_passed_over(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()
    num_threads = threading.active_count()
    publish_and_read(kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:1,{kafka.bootstrap_servers}"}))
    deadline = Deadline.after(60.0)
    while threading.active_count() > num_threads:
        assert not deadline.is_over(), threading.enumerate()
        time.sleep(0.05)
