"""What befalls a real Kafka while it is read: silence, retention that overtakes the reader, compaction."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from springtide.checkpoint import CheckpointStore
from springtide.clock import Deadline
from springtide.settings.model import CheckpointSettings, KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
BUDGET_S = 120.0
SILENT_S = float(os.environ.get("SILENT_S", "12"))  # `SILENT_S=300 make test-kafka` for minutes.
Note = Callable[[str, object], None]


@contextlib.contextmanager
def running(settings: Settings, state: LiveState) -> Iterator[IngestLoop]:
    loop = IngestLoop(settings, state, CheckpointStore(settings.checkpoint.url))
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def until(is_so: Callable[[], object], budget_s: float = BUDGET_S) -> float:
    """Wait until something is so, and return how many seconds it took."""
    started_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_s < budget_s
        time.sleep(0.02)
    return time.monotonic() - started_s


def purchase(user: str, item: str = "bread") -> events_pb2.Event:
    event = events_pb2.Event(interaction={"user": user, "item": item, "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    return event


def publish(settings: Settings, users: range) -> None:
    with EventPublisher(settings) as publisher:
        publisher.publish_many(purchase(f"u{number}") for number in users)


def settings_of(kafka: KafkaSettings, folder: Path) -> Settings:
    return Settings(kafka=kafka, checkpoint=CheckpointSettings(url=str(folder / "checkpoints")))


@pytest.fixture
def pause() -> Iterator[Callable[[str], None]]:
    """Freeze the brokers and thaw them: ``pause("--pause")``, ``pause("--resume")``; they are thawed at the end."""
    start, folder = os.environ.get("KAFKA_START", ""), os.environ.get("KAFKA_DIR", "")
    if not start or not folder:
        pytest.skip("needs KAFKA_START and KAFKA_DIR, to freeze the broker")

    def run(word: str) -> None:
        subprocess.run([Path(start).with_name("stop"), folder, word], check=True, capture_output=True, timeout=60)

    yield run
    run("--resume")


@pytest.mark.fault("broker silent")
def test_broker_that_is_silent_for_long_is_waited_for_and_nothing_is_lost(
    pause: Callable[[str], None], fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, record_property: Note
) -> None:
    # Requests are given up several times meanwhile, as in minutes with the default of 30 s.
    quick = {"request_timeout_ms": 3_000}
    settings = settings_of(fresh_kafka(client_options=quick), tmp_path)
    state = LiveState(settings, {})
    with running(settings, state) as loop:
        publish(settings, range(100))
        until(lambda: state.num_events == 100)
        pause("--pause")
        cpu_s, started_s = time.process_time(), time.monotonic()
        until(lambda: loop.status().lag_events == -1)
        loop.checkpoint_now()  # What was read is kept meanwhile.
        time.sleep(max(0.0, started_s + SILENT_S - time.monotonic()))  # So long it is silent.
        assert loop.status().failure is None
        assert (time.process_time() - cpu_s) / (time.monotonic() - started_s) < 0.5, "of one core: it does not spin"
        pause("--resume")
        thawed_s = time.monotonic()
        publish(settings, range(100, 200))
        until(lambda: state.num_events >= 200)
        record_property("recovered_s", time.monotonic() - thawed_s)
        until(lambda: loop.status().lag_events == 0)
        assert loop.status().gaps == ()
    assert sorted(state.graph.nodes("user").ids.all_ids()) == sorted(f"u{number}" for number in range(200))
    assert state.num_events == 200, "none twice"


@pytest.mark.fault("retention overtakes the reader")
def test_reader_that_retention_overtakes_while_it_reads_goes_on_and_says_what_is_missing(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, record_property: Note
) -> None:
    few = {"fetch_max_bytes": 2_000, "max_partition_fetch_bytes": 2_000}  # So that it does not hold all of it already.
    settings = settings_of(fresh_kafka(num_partitions=1, on_lost="skip", client_options=few), tmp_path)
    state, go_on, is_held = LiveState(settings, {}), threading.Event(), threading.Event()
    with running(settings, state) as loop:
        publish(settings, range(10))
        until(lambda: loop.is_caught_up and state.num_events == 10)

        def hold(batch: object) -> None:
            is_held.set()
            go_on.wait(BUDGET_S)

        loop.hooks.before_apply = hold
        publish(settings, range(10, 11))
        assert is_held.wait(BUDGET_S)
        publish(settings, range(11, 2_000))
        with KafkaAdminClient(**client_config(settings.kafka)) as admin:
            admin.delete_records({TopicPartition(settings.kafka.topic, 0): 1_500})
        loop.hooks.before_apply = None
        go_on.set()
        record_property("recovered_s", until(lambda: loop.status().next_offsets == {0: 2_000}))
        (gap,) = loop.status().gaps
        assert loop.status().failure is None
    assert (gap.reason, gap.to_offset) == ("retention", 1_500)
    assert 11 <= gap.from_offset < 1_500
    assert state.num_events == 2_000 - (gap.to_offset - gap.from_offset), "what is missing is what it says"


@pytest.mark.fault("compaction under the reader")
def test_what_compaction_leaves_is_read_and_what_it_removed_is_no_loss(
    broker: str, tmp_path: Path, record_property: Note
) -> None:
    topic = f"test.compacted-{os.getpid()}"
    kafka = KafkaSettings(bootstrap_servers=broker, topic=topic, dead_letter_topic=f"{topic}-dead", num_partitions=1)
    configs = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    with KafkaAdminClient(**client_config(kafka)) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1, "configs": configs}})
    settings = settings_of(kafka, tmp_path)
    producer = KafkaProducer(**client_config(kafka))

    def price(number: int) -> None:
        event = events_pb2.Event(node_upsert={"type": "item", "id": f"i{number % 10}", "numbers": {"price": number}})
        event.event_time.FromMilliseconds(1_000 + number)
        producer.send(topic, event.SerializeToString(), key=b"i%d" % (number % 10), partition=0).get(BUDGET_S)

    state = LiveState(settings, {})
    with running(settings, state) as loop:
        for number in range(100):
            price(number)
        until(lambda: loop.status().next_offsets == {0: 100})
    stopped_at = dict(state.next_offsets)
    for number in range(100, 300):
        price(number)
    producer.send(topic, None, key=b"gone", partition=0).get(BUDGET_S)  # How Kafka is told to forget a key.

    def is_compacted() -> bool:
        price(300)  # A new segment, so that the one before it may be compacted.
        return offsets_in(kafka)[0] > 250

    until(is_compacted)
    producer.close()
    restored, store = LiveState(settings, {}), CheckpointStore(settings.checkpoint.url)
    newest = store.latest()
    assert newest is not None
    store.restore(newest, restored)
    assert restored.next_offsets == stopped_at, "the next event is one of those that are gone"
    fresh = LiveState(settings, {})
    for each in (restored, fresh):
        with running(settings if each is restored else settings_of(kafka, tmp_path / "fresh"), each) as loop:
            took_s = until(lambda loop=loop: loop.status().lag_events == 0 and loop.is_caught_up)  # type: ignore[misc]
            assert (loop.status().failure, loop.status().gaps) == (None, ())
            assert loop.status().dead_letters == {"empty_payload": 1}, (
                "Kafka's word to forget a key is no event of ours"
            )
    record_property("recovered_s", took_s)
    prices = {f"i{number % 10}": float(number) for number in range(301)}
    for each in (restored, fresh):
        items = each.graph.nodes("item")
        found = {id_: items.number_values(row)["price"] for row, id_ in enumerate(items.ids.all_ids())}
        assert found == prices


def offsets_in(kafka: KafkaSettings) -> list[int]:
    """Return the offsets of the records that a topic still has."""
    partition = TopicPartition(kafka.topic, 0)
    consumer = KafkaConsumer(**client_config(kafka), auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        consumer.assign([partition])
        end, offsets, deadline = consumer.end_offsets([partition])[partition], [], Deadline.after(BUDGET_S)
        while consumer.position(partition) < end:
            assert not deadline.is_over()
            offsets += [record.offset for records in consumer.poll(200).values() for record in records]
        return offsets
    finally:
        consumer.close(autocommit=False)
