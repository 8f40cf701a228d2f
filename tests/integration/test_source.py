"""What reading from the events topic costs, and what it says of the topic's end."""

import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.consumer.fetcher import Fetcher

from springtide.clock import Deadline
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream.fetcher import SparingFetcher
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.source import KafkaSource
from springtide_services.stream.topics import client_config


def _until(source: KafkaSource, num_behind: int | None, budget_s: float = 60.0) -> int:
    """Poll until the lag is a number; return how many records came."""
    deadline, num_records = Deadline.after(budget_s), 0
    while True:
        num_records += len(source.poll(50))
        if source.lag().num_events == num_behind:
            return num_records
        assert not deadline.is_over(), f"the lag is {source.lag()}, wanted {num_behind}"


def test_the_chosen_fetch_wait_does_not_delay_an_event(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=1)
    event = events_pb2.Event(interaction={"user": "ann", "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    loop = IngestLoop(Settings(kafka=kafka), LiveState(Settings(kafka=kafka), {}), None)
    loop.start()
    took_s = []
    with EventPublisher(Settings(kafka=kafka)) as publisher:
        for _ in range(10):
            time.sleep(0.05)  # The next fetch waits at the broker.
            partition, offset = publisher.publish(event)
            start_s = time.monotonic()
            assert loop.wait_for({partition: offset + 1}, Deadline.after(60.0))
            took_s.append(time.monotonic() - start_s)
    loop.stop()
    assert sorted(took_s)[2] < 0.15, "some come at once; others may have waited for a busy machine"


def test_fetch_wait_is_chosen_by_the_broker_unless_a_number_is_set(
    fresh_kafka: Callable[..., KafkaSettings],
) -> None:
    is_real_kafka = bool(os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))
    with KafkaSource(fresh_kafka(), None) as source:
        assert source.fetch_wait_ms == (500 if is_real_kafka else 10)
    with KafkaSource(fresh_kafka(fetch_max_wait_ms=77), None) as source:
        assert source.fetch_wait_ms == 77


def test_a_quiet_embedded_broker_is_asked_seldom_until_an_event_comes(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        pytest.skip("Kafka answers a waiting fetch once a record comes: there the wait does not change")
    waits_ms: list[int] = []
    make = SparingFetcher._create_fetch_requests

    def note(fetcher: SparingFetcher) -> dict[int, Any]:
        requests = make(fetcher)
        waits_ms.extend([fetcher.config["fetch_max_wait_ms"]] * len(requests))
        return requests

    monkeypatch.setattr(SparingFetcher, "_create_fetch_requests", note)
    kafka = fresh_kafka(num_partitions=1)
    producer = KafkaProducer(**client_config(kafka))

    def asked_within(seconds: float) -> list[int]:
        waits_ms.clear()
        deadline = Deadline.after(seconds)
        while not deadline.is_over():
            source.poll(20)
        return waits_ms.copy()

    with KafkaSource(kafka, None) as source:
        _until(source, 0)
        asked_within(1.5)
        quiet = asked_within(0.8)
        assert set(quiet) == {50}
        assert len(quiet) <= 17
        producer.send(kafka.topic, b"an event", partition=0).get(10)
        assert len(source.poll(1_000)) == 1
        assert asked_within(0.5)[-1] == 10
    producer.close()


def test_a_quiet_poll_waits_once(fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python rounds what is left of the time down, and would ask without a wait for up to a millisecond."""
    calls: list[int | None] = []
    fetch = SparingFetcher.fetch_records

    def note(fetcher: SparingFetcher, *arguments: Any, **options: Any) -> Any:
        calls.append(options["timeout_ms"])
        return fetch(fetcher, *arguments, **options)

    monkeypatch.setattr(SparingFetcher, "fetch_records", note)
    with KafkaSource(fresh_kafka(num_partitions=1), None) as source:
        _until(source, 0)
        calls.clear()
        for _ in range(20):
            source.poll(20)
    assert len(calls) <= 30


def test_requests_are_packed_once_a_broker_is_known_with_and_without_fetch_sessions(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, num_theirs, num_ours = fresh_kafka(num_partitions=3), 0, 0
    theirs, ours = Fetcher._create_fetch_requests, SparingFetcher._send_plain

    def note_theirs(fetcher: SparingFetcher) -> dict[int, Any]:
        nonlocal num_theirs
        requests: dict[int, Any] = theirs(fetcher)
        num_theirs += len(requests)
        return requests

    def note_ours(fetcher: SparingFetcher, node: int, request: Any) -> Any:
        nonlocal num_ours
        num_ours += 1
        return ours(fetcher, node, request)

    monkeypatch.setattr(Fetcher, "_create_fetch_requests", note_theirs)
    monkeypatch.setattr(SparingFetcher, "_send_plain", note_ours)
    read: dict[int, list[int]] = {}
    wanted: dict[int, list[int]] = {}
    with KafkaProducer(**client_config(kafka)) as producer, KafkaSource(kafka, None) as source:
        deadline = Deadline.after(60.0)
        for number in range(40):
            sent = producer.send(kafka.topic, b"event", partition=number % 3).get(60)
            wanted.setdefault(sent.partition, []).append(sent.offset)
            while read != wanted:
                assert not deadline.is_over(), f"read {read}, wanted {wanted}"
                for record in source.poll(1_000):
                    read.setdefault(record.partition, []).append(record.offset)
        num_behind = source.lag().num_events
    assert num_behind == 0
    assert num_ours > 20
    assert num_theirs <= 3, "kafka-python builds the first ones, and those after new metadata"


def test_lag_is_exact_while_a_backlog_is_read_in_parts(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=3, max_poll_records=7)
    producer = KafkaProducer(**client_config(kafka))
    for number in range(60):
        producer.send(kafka.topic, b"x", partition=number % 2)
    producer.flush()
    with KafkaSource(kafka, None) as source:
        assert source.lag().num_events is None, "not every partition was fetched"
        num_read = 0
        while num_read < 60:
            num_read += len(source.poll(1_000))
            assert source.lag().num_events in (None, 60 - num_read)
        assert source.lag().num_events == 0
        producer.send(kafka.topic, b"x", partition=2).get(10)
        assert _until(source, 0) == 1
    producer.close()


@pytest.mark.kafka
def test_the_next_fetch_is_under_way_while_a_backlog_is_applied(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=1, client_options={"max_partition_fetch_bytes": 20_000})
    producer = KafkaProducer(**client_config(kafka))
    offsets: list[int] = []
    for _ in range(20):
        producer.send(kafka.topic, b"x" * 10_000, partition=0)
        producer.flush()  # A batch each.
    with KafkaSource(kafka, None) as source:
        fetcher, deadline, num_ahead = source._consumer._fetcher, Deadline.after(60.0), 0
        while len(offsets) < 20:
            records = source.poll(1_000)
            offsets += [record.offset for record in records]
            is_asked = bool(fetcher._nodes_with_pending_fetch_requests)
            if records:
                assert is_asked == (len(offsets) < 20), "only where there is more: else the broker would hold it"
                num_ahead += is_asked
                time.sleep(0.05)
                assert source.lag().silence_s == 0.0, "what the caller takes is not the broker's silence"
            assert not deadline.is_over()
        assert num_ahead >= 3
        producer.send(kafka.topic, b"x", partition=0).get(10)
        assert _until(source, 0) == 1
    assert offsets == list(range(20))
    producer.close()


@pytest.mark.kafka
def test_lag_counts_an_open_transaction_and_not_its_end_marker(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=2)
    producer = KafkaProducer(**client_config(kafka), transactional_id=kafka.topic)
    producer.init_transactions()
    with KafkaSource(kafka, None) as source:
        _until(source, 0)
        for is_committed in (True, False):
            producer.begin_transaction()
            producer.send(kafka.topic, b"x", partition=1).get(10)
            producer.flush()
            assert _until(source, 1) == 0, "it waits for the transaction's end"
            if is_committed:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
            assert _until(source, 0) == int(is_committed)
    producer.close()


@pytest.mark.kafka
def test_a_thousand_idle_partitions_cost_next_to_nothing(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = Settings(kafka=fresh_kafka(num_partitions=1_000))
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    deadline = Deadline.after(60.0)
    while not loop.is_caught_up:
        assert not deadline.is_over(), loop.status()
        time.sleep(0.05)
    time.sleep(16.0)  # For 15 s after the start every partition is looked at once a second.
    used = []
    for _ in range(3):
        cpu_s, start_s = time.process_time(), time.monotonic()
        time.sleep(1.5)  # What a quiet while costs.
        used.append((time.process_time() - cpu_s) / (time.monotonic() - start_s))
    loop.stop()
    assert min(used) < 0.05, f"{used} of a core; above 1 when each turn asked every partition"


@pytest.mark.kafka
def test_an_event_in_one_of_a_thousand_partitions_is_read(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=1_000)
    producer = KafkaProducer(**client_config(kafka))
    with KafkaSource(kafka, None) as source:
        _until(source, 0, 60.0)
        for number in (999, 3, 999, 500):
            sent = producer.send(kafka.topic, b"%d" % number, partition=number).get(10)
            deadline = Deadline.after(60.0)
            while not (records := source.poll(1_000)):
                assert not deadline.is_over()
            assert [(r.partition, r.offset, r.value) for r in records] == [(number, sent.offset, b"%d" % number)]
    producer.close()


@pytest.mark.parametrize("max_poll_records", [3, 5_000])
def test_each_record_comes_once_and_in_order(fresh_kafka: Callable[..., KafkaSettings], max_poll_records: int) -> None:
    kafka = fresh_kafka(num_partitions=20, max_poll_records=max_poll_records)
    rng = random.Random(7)
    producer = KafkaProducer(**client_config(kafka))
    num_sent, num_read, next_offsets = 0, 0, dict.fromkeys(range(20), 0)
    with KafkaSource(kafka, None) as source:
        deadline = Deadline.after(60.0)
        while num_read < 3_000:
            if num_sent < 3_000 and rng.random() < 0.7:
                for _ in range(60):
                    producer.send(kafka.topic, b"x" * rng.randrange(500), partition=rng.randrange(20) ** 2 // 20)
                num_sent += 60
            for record in source.poll(20):
                assert record.offset == next_offsets[record.partition]
                next_offsets[record.partition] += 1
                num_read += 1
            source.lag()
            assert not deadline.is_over(), f"{num_read} of {num_sent}"
        _until(source, 0)
        assert sum(next_offsets.values()) == num_sent == 3_000
    producer.close()


def test_partition_that_could_not_be_asked_for_is_asked_for_later(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=2)
    partition = TopicPartition(kafka.topic, 0)
    producer = KafkaProducer(**client_config(kafka))
    with KafkaSource(kafka, None) as source:
        _until(source, 0)
        consumer = source._consumer
        consumer.pause(partition)  # As while its offset is checked with a new leader.
        consumer._fetcher.has_failed = True  # As after a change of leaders: each partition is asked for anew.
        for _ in range(40):
            source.poll(50)
        consumer.resume(partition)
        producer.send(kafka.topic, b"x", partition=0).get(10)
        deadline = Deadline.after(60.0)
        while not source.poll(100):
            assert not deadline.is_over(), "it was forgotten"
    producer.close()
