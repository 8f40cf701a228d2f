"""Events that the broker no longer has: skipped where the settings say so, and the gap is remembered."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import UnsupportedCodecError
from kafka.record import default_records

from springtide.checkpoint import CheckpointStore
from springtide.clock import Deadline, wall_ms
from springtide.errors import OffsetsLostError
from springtide.settings.model import CheckpointSettings, KafkaSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide.v1 import events_pb2
from springtide_services.stream import source
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config, ensure_topics, with_client_id


@contextlib.contextmanager
def _running(settings: Settings, state: LiveState, *, skip_lost: bool = False) -> Iterator[IngestLoop]:
    loop = IngestLoop(settings, state, CheckpointStore(settings.checkpoint.url), skip_lost=skip_lost)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def _until(is_so: Callable[[], object], budget_s: float = 60.0) -> None:
    deadline = Deadline.after(budget_s)
    while not is_so():
        assert not deadline.is_over(), f"not within {budget_s} s"
        time.sleep(0.01)


def _publish(settings: Settings, num_events: int) -> None:
    with EventPublisher(settings) as publisher:
        for number in range(num_events):
            event = events_pb2.Event(interaction={"user": f"u{number}", "item": "bread", "type": "purchase"})
            event.event_time.FromMilliseconds(1_000)
            publisher.publish(event)


def _settings(kafka: KafkaSettings, folder: Path) -> Settings:
    return Settings(kafka=kafka, checkpoint=CheckpointSettings(url=str(folder / "checkpoints")))


def _restored(settings: Settings) -> LiveState:
    state = LiveState(settings, {})
    store = CheckpointStore(settings.checkpoint.url)
    newest = store.latest()
    assert newest is not None
    store.restore(newest, state)
    return state


def _recreate(settings: Settings) -> None:
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        admin.delete_topics([settings.kafka.topic])
    ensure_topics(settings)


def _read_three_then_let_retention_remove_five_of_eight(settings: Settings) -> None:
    """Leave a checkpoint at offset 3 of a topic that begins at 5 and ends at 8."""
    _publish(settings, 3)
    with _running(settings, LiveState(settings, {})) as loop:
        _until(lambda: loop.is_caught_up)
    _publish(settings, 5)
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        admin.delete_records({TopicPartition(settings.kafka.topic, 0): 5})


@pytest.mark.kafka
@pytest.mark.parametrize("once", [False, True], ids=["by_setting", "once"])
def test_graph_is_kept_when_retention_has_overtaken_it(
    once: bool, fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    settings = _settings(fresh_kafka(num_partitions=1, on_lost="stop" if once else "skip"), tmp_path)
    _read_three_then_let_retention_remove_five_of_eight(settings)
    started_ms = wall_ms()
    state = _restored(settings)
    with _running(settings, state, skip_lost=once) as loop:
        _until(lambda: state.num_events == 6)
        (gap,) = loop.status().gaps
        assert (gap.topic, gap.partition, gap.from_offset, gap.to_offset) == (settings.kafka.topic, 0, 3, 5)
        assert gap.reason == "retention"
        assert gap.read_until_ms is not None
        assert gap.read_until_ms <= started_ms <= gap.found_ms
    again = _restored(settings)
    assert (again.num_events, again.gaps, again.next_offsets) == (6, (gap,), {0: 8})


@pytest.mark.kafka
def test_lost_events_stop_the_stream_unless_the_settings_say_otherwise(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    settings = _settings(fresh_kafka(num_partitions=1), tmp_path)
    _read_three_then_let_retention_remove_five_of_eight(settings)
    state = _restored(settings)
    with _running(settings, state) as loop:
        _until(lambda: isinstance(loop.status().failure, OffsetsLostError))
        assert "--skip-lost" in str(loop.status().failure)
    assert (state.num_events, state.gaps, state.next_offsets) == (3, (), {0: 3})


@pytest.mark.fault("topic deleted and made anew")
def test_recreated_topic_is_read_from_its_beginning_while_running(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_TOPIC_CHECK_S", 0.2)
    settings = _settings(fresh_kafka(num_partitions=1, on_lost="skip"), tmp_path)
    state = LiveState(settings, {})
    _publish(settings, 3)
    with _running(settings, state) as loop:
        _until(lambda: loop.is_caught_up)
        assert state.position is not None
        first_id = state.position.topic_id
        _recreate(settings)
        _publish(settings, 2)
        _until(lambda: state.num_events == 5)
        (gap,) = loop.status().gaps
        assert (gap.from_offset, gap.to_offset, gap.reason) == (3, 0, "recreated")
        assert state.next_offsets == {0: 2}
        assert state.position.topic_id != first_id
        assert loop.status().failure is None


@pytest.mark.fault("topic deleted and made anew")
def test_missing_topic_is_waited_for_if_lost_events_are_skipped(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_TOPIC_GRACE_S", 0.2)
    settings = _settings(fresh_kafka(num_partitions=1, on_lost="skip"), tmp_path)
    state = LiveState(settings, {})
    _publish(settings, 3)
    with _running(settings, state) as loop:
        _until(lambda: loop.is_caught_up)
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        admin.delete_topics([settings.kafka.topic])
    with _running(settings, state) as loop:
        _until(lambda: (lasting := loop.status().problem) is not None and lasting.problem.kind == "topic")
        assert loop.status().failure is None
        ensure_topics(settings)
        _publish(settings, 2)
        _until(lambda: state.num_events == 5)


def test_another_topic_is_taken_only_once_and_by_hand(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    settings = _settings(fresh_kafka(num_partitions=1, on_lost="skip"), tmp_path)
    _publish(settings, 2)
    state = LiveState(settings, {})
    state.position = StreamPosition("former", "", {0: 7, 1: 9})
    with _running(settings, state) as loop:
        _until(lambda: isinstance(loop.status().failure, OffsetsLostError))
    with _running(settings, state, skip_lost=True) as loop:
        _until(lambda: state.num_events == 2)
        gaps = loop.status().gaps
    assert [(gap.topic, gap.partition, gap.from_offset, gap.reason) for gap in gaps] == [
        ("former", 0, 7, "other_topic"),
        ("former", 1, 9, "other_topic"),
    ]
    assert state.next_offsets == {0: 2}


def test_batch_whose_codec_is_not_installed_is_named_and_waited_for(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(fresh_kafka(num_partitions=1), tmp_path)
    producer = KafkaProducer(**client_config(settings.kafka), compression_type="gzip")
    event = events_pb2.Event(interaction={"user": "ann", "item": "bread" * 20, "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    producer.send(settings.kafka.topic, event.SerializeToString(), partition=0).get(5)
    producer.close()
    state = LiveState(settings, {})

    def fail(_payload: bytes) -> bytes:
        raise UnsupportedCodecError("Libraries for gzip compression codec not found")

    def is_named() -> bool:
        lasting = loop.status().problem
        return (
            lasting is not None and lasting.problem.kind == "codec" and settings.kafka.topic in lasting.problem.message
        )

    with monkeypatch.context() as patch, _running(settings, state) as loop:
        patch.setattr(default_records, "gzip_decode", fail)
        _until(is_named)
        assert loop.status().failure is None
    with _running(settings, state):
        _until(lambda: state.num_events == 1)


def test_client_ids_name_the_process_and_options_take_precedence() -> None:
    kafka = KafkaSettings(bootstrap_servers="a:1,b:2")
    assert client_config(kafka)["client_id"].startswith("springtide-")
    server = client_config(with_client_id(kafka, "server", 50_051))["client_id"]
    assert server.startswith("springtide-server-")
    assert server.endswith("-50051")
    named = kafka.model_copy(update={"client_options": {"client_id": "ours"}})
    assert client_config(with_client_id(named, "server", 50_051))["client_id"] == "ours"
