"""The ingest loop against a real broker: bad input, restarts, lost offsets, a lost connection."""

import contextlib
import gc
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from springtide.checkpoint import CheckpointStore
from springtide.clock import Deadline, wall_ms
from springtide.errors import CheckpointError, OffsetsLostError
from springtide.events.limits import REASONS
from springtide.events.model import EventBatch
from springtide.settings.model import CheckpointSettings, KafkaSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide.testing import interactions_of
from springtide.v1 import events_pb2
from springtide_services.stream import dead_letters, source
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher, pack
from springtide_services.stream.topics import client_config, ensure_topics

PURCHASES = ("user", "purchase", "item")
JSON = [("content-type", b"application/json")]


def _event(user: str = "ann", item: str = "bread", at_ms: int = 1_000, **others: object) -> events_pb2.Event:
    event = events_pb2.Event(interaction={"user": user, "item": item, "type": "purchase", **others})
    event.event_time.FromMilliseconds(at_ms)
    return event


def _upsert(**attributes: object) -> events_pb2.Event:
    event = events_pb2.Event(node_upsert={"type": "item", "id": "bread", **attributes})
    event.event_time.FromMilliseconds(1_000)
    return event


def _delete(user: str) -> events_pb2.Event:
    event = events_pb2.Event(node_delete={"type": "user", "id": user})
    event.event_time.FromMilliseconds(1_000)
    return event


@contextlib.contextmanager
def _running(settings: Settings, state: LiveState, store: CheckpointStore | None = None) -> Iterator[IngestLoop]:
    loop = IngestLoop(settings, state, store)
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


def _edges(state: LiveState) -> list[tuple[str, str, int]]:
    view = state.graph.view()
    edges = view.edges(PURCHASES)
    users = view.nodes("user").ids.ids(edges.source)
    items = view.nodes("item").ids.ids(edges.target)
    return sorted(zip(users, items, edges.timestamps_ms.tolist(), strict=True))


@dataclass
class _Letter:
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)


def _read_letters(kafka: KafkaSettings, count: int) -> list[_Letter]:
    consumer = KafkaConsumer(**client_config(kafka), auto_offset_reset="none", enable_auto_commit=False)
    partition = TopicPartition(kafka.dead_letter_topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    letters: list[_Letter] = []
    deadline = Deadline.after(60.0)
    while len(letters) < count and not deadline.is_over():
        for records in consumer.poll(100).values():
            letters += [_Letter(record.key, record.value, dict(record.headers)) for record in records]
    consumer.close()
    return letters


def _settings(kafka: KafkaSettings, folder: Path | None = None, **checkpoint: float) -> Settings:
    return Settings(kafka=kafka, checkpoint=CheckpointSettings(url=str(folder or "unused"), **checkpoint))


def _bad_records() -> dict[str, tuple[bytes | None, list[tuple[str, bytes]]]]:
    """One record for each reason for which a whole record is refused: value and headers."""
    no_time = _event()
    no_time.ClearField("event_time")
    ancient = _event()
    ancient.event_time.seconds = -(2**40)
    relation = events_pb2.Event(
        relation={
            "source_type": "user",
            "source_id": "a",
            "relation": "follows",
            "target_type": "user",
            "target_id": "b",
        }
    )
    relation.event_time.FromMilliseconds(1_000)
    relation.relation.weight = -1.0
    dream = _event()
    dream.interaction.type = "dream"
    liked = _event()
    liked.interaction.type = "liking"  # Its only rule has a bound.
    events = {
        "bad_batch": events_pb2.Event(batch={"users": [0], "items": []}),
        "bad_weight": relation,
        "context_too_large": _event(context={str(number): "x" for number in range(65)}),
        "empty_id": _event(user=""),
        "empty_payload": events_pb2.Event(event_id="nothing"),
        "future_time": _event(at_ms=wall_ms() + 40 * 86_400_000),
        "id_too_long": _event(item="x" * 257),
        "missing_time": no_time,
        "missing_value": liked,
        "not_finite": _event(value=math.nan),
        "text_too_long": _upsert(texts={"title": "x" * 20_000}),
        "time_out_of_range": ancient,
        "unknown_type": dream,
        "vector_too_long": _upsert(vectors={"image": {"values": [0.5] * 1_025}}),
        "wrong_attribute_kind": _upsert(texts={"price": "cheap"}),
        "wrong_vector_length": _upsert(vectors={"image": {"values": [0.5]}}),
    }
    return {
        **{reason: (event.SerializeToString(), []) for reason, event in events.items()},
        "oversize": (b"x" * 5_000, []),
        "undecodable": (b'{"interaction": ', JSON),
        "unknown_content_type": (b"<event/>", [("content-type", b"text/xml"), ("trace", b"1")]),
    }


def test_a_large_poll_is_applied_in_parts_once_answers_may_wait(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka(num_partitions=1))
    state = LiveState(settings, {})
    num_records, num_rows = 40, 1_000
    applied: list[int] = []
    are_published = threading.Event()

    def note(batch: EventBatch) -> None:
        applied.append(len(batch.interactions))
        are_published.wait(60.0)  # Those that come meanwhile are one poll.

    with (
        _running(settings, state) as loop,
        contextlib.closing(KafkaProducer(**client_config(settings.kafka))) as producer,
    ):
        _until(lambda: loop.is_caught_up)
        loop.hooks.before_apply = note
        producer.send(settings.kafka.topic, _event().SerializeToString()).get(10)
        _until(lambda: applied)
        for number in range(num_records):
            purchases = [(f"user-{number}-{row:030}", "bread", row) for row in range(num_rows)]
            batch = pack(interactions_of(purchases), np.arange(num_rows))
            producer.send(settings.kafka.topic, events_pb2.Event(batch=batch).SerializeToString())
        producer.flush()
        are_published.set()
        _until(lambda: state.num_events == 1 + num_records * num_rows)
    assert max(applied) < num_records * num_rows / 2


def test_bad_input_goes_to_dead_letters_and_the_stream_goes_on(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka(num_partitions=1))
    settings = settings.model_copy(
        update={
            "events": settings.events.model_copy(update={"max_event_bytes": 25_000, "max_text_bytes": 10_000}),
            "interactions": {**settings.interactions, "liking>3": settings.interactions["purchase"]},
        }
    )
    bad = _bad_records()
    bad["oversize"] = (b"x" * 30_000, [])
    elsewhere = {"broken_batch", "broken_record", "poison"}  # test_damaged_records.py and test_poison.py.
    elsewhere |= {"too_many_attributes", "too_many_values", "too_many_types"}  # test_attributes.py.
    assert set(bad) | elsewhere == set(REASONS)
    state = LiveState(settings, {})
    with EventPublisher(settings) as publisher, _running(settings, state) as loop:
        publisher.publish(_upsert(numbers={"price": 1.0}, vectors={"image": {"values": [0.5, 1.0]}}))
        producer = KafkaProducer(**client_config(settings.kafka))
        offsets = {}
        for number, (reason, (value, headers)) in enumerate(bad.items()):
            publisher.publish(_event(user=f"user-{number}"))
            written = producer.send(settings.kafka.topic, value, f"key-{reason}".encode(), headers, partition=0).get(5)
            offsets[reason] = written.offset
        producer.close()
        _, last = publisher.publish(_event(user="last"))
        assert loop.wait_for({0: last + 1}, Deadline.after(60.0))
        assert loop.status().dead_letters == dict.fromkeys(bad, 1)
        assert loop.status().failure is None
    assert [user for user, _, _ in _edges(state)] == sorted(["last", *(f"user-{n}" for n in range(len(bad)))])
    letters = {
        letter.headers[dead_letters.REASON].decode(): letter for letter in _read_letters(settings.kafka, len(bad))
    }
    assert set(letters) == set(bad)
    for reason, (value, headers) in bad.items():
        letter = letters[reason]
        assert letter.value == value
        assert letter.key == f"key-{reason}".encode()
        assert dict(headers).items() <= letter.headers.items()
        assert letter.headers[dead_letters.TOPIC] == settings.kafka.topic.encode()
        assert letter.headers[dead_letters.PARTITION] == b"0"
        assert letter.headers[dead_letters.OFFSET] == str(offsets[reason]).encode()
        assert letter.headers[dead_letters.EXCEPTION] == b"springtide.errors.EventRefusedError"
        assert letter.headers[dead_letters.MESSAGE]


def test_bad_rows_of_a_packed_batch_are_named_in_the_letter(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka(num_partitions=1))
    batch = events_pb2.EventBatch(
        dictionary=["purchase", "ann", "", "bread"],
        users=[1, 2, 1, 2],
        items=[3, 3, 3, 3],
        types=[0],
        event_times_ms=[1, 2, 3, 4],
    )
    state = LiveState(settings, {})
    with EventPublisher(settings) as publisher, _running(settings, state) as loop:
        _, offset = publisher.publish(events_pb2.Event(batch=batch))
        assert loop.wait_for({0: offset + 1}, Deadline.after(60.0))
        assert loop.status().dead_letters == {"empty_id": 2}
    assert _edges(state) == [("ann", "bread", 1), ("ann", "bread", 3)]
    (letter,) = _read_letters(settings.kafka, 1)
    assert letter.headers[dead_letters.ROWS] == b"1,3"


class _BadName(str):
    """A header name that goes over the wire as bytes that are not UTF-8, as a producer in another language may send."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


def test_record_that_kafka_python_cannot_read_is_stepped_over(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka(num_partitions=2))
    producer = KafkaProducer(**client_config(settings.kafka))
    good = _event().SerializeToString()
    for partition in (0, 1):
        for headers in ([], [(_BadName("x"), b"1")], []):
            producer.send(settings.kafka.topic, good, headers=headers, partition=partition).get(5)
    producer.close()
    state = LiveState(settings, {})
    with _running(settings, state) as loop:
        assert loop.wait_for({0: 3, 1: 3}, Deadline.after(60.0))
        assert loop.status().dead_letters == {"broken_record": 2}
        assert loop.status().failure is None
    assert state.num_events == 4, "nothing good is lost"
    places = {
        (letter.headers[dead_letters.PARTITION], letter.headers[dead_letters.OFFSET])
        for letter in _read_letters(settings.kafka, 2)
    }
    assert places == {(b"0", b"1"), (b"1", b"1")}


def test_dead_letter_that_cannot_be_written_holds_the_position(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(fresh_kafka(num_partitions=1))
    state = LiveState(settings, {})
    may_write = threading.Event()
    refused = threading.Event()
    write = dead_letters.DeadLetterWriter.write

    def write_later(writer: dead_letters.DeadLetterWriter, refusals: list[object]) -> object:
        if not may_write.is_set():
            refused.set()
            raise KafkaError("the dead-letter topic is read-only")
        return write(writer, refusals)  # type: ignore[arg-type]

    monkeypatch.setattr(dead_letters.DeadLetterWriter, "write", write_later)
    with EventPublisher(settings) as publisher, _running(settings, state) as loop:
        publisher.publish(_event(user=""))
        _, last = publisher.publish(_event(user="bob"))
        assert refused.wait(60.0)
        assert not loop.wait_for({0: last + 1}, Deadline.after(0.3))
        assert loop.status().dead_letters == {}
        may_write.set()
        assert loop.wait_for({0: last + 1}, Deadline.after(60.0))
        assert loop.status().dead_letters == {"empty_id": 1}
    assert [user for user, _, _ in _edges(state)] == ["bob"]


def test_written_event_is_read_within_milliseconds(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka())
    state = LiveState(settings, {})
    moved = threading.Event()
    with EventPublisher(settings) as publisher, _running(settings, state) as loop:
        loop.hooks.on_advance = moved.set
        publisher.publish(_event())
        assert moved.wait(60.0)
        took_ms = []
        for number in range(20):
            start_s = time.monotonic()
            partition, offset = publisher.publish(_event(user=f"user-{number}"))
            assert loop.wait_for({partition: offset + 1}, Deadline.after(60.0))
            took_ms.append((time.monotonic() - start_s) * 1e3)
        assert sorted(took_ms)[2] < 50, "a few milliseconds; others may have waited for a busy machine"
        _until(lambda: loop.is_caught_up and loop.status().lag_events == 0)
        assert loop.status().is_connected


def test_waiting_for_what_never_comes_ends_at_the_deadline(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka())
    with _running(settings, LiveState(settings, {})) as loop:
        assert loop.wait_for({}, Deadline.after(0.0))
        assert not loop.wait_for({0: 1}, Deadline.after(0.1))


def test_empty_topic_is_caught_up(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka())
    with _running(settings, LiveState(settings, {})) as loop:
        _until(lambda: loop.is_caught_up)
        assert loop.status().lag_events == 0


def test_deletion_forgets_what_came_before_it(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka())
    state = LiveState(settings, {})
    with EventPublisher(settings) as publisher:
        early, late = _event("ann", "tea", at_ms=1), _event("ann", "milk", at_ms=1_001)
        for event in (_event("ann", at_ms=5), _event("bob", at_ms=6), _delete("ann"), early, late):
            publisher.publish(event)
        with _running(settings, state) as loop:
            _until(lambda: loop.is_caught_up)
    assert _edges(state) == [("ann", "milk", 1_001), ("bob", "bread", 6)]


def test_restart_resumes_exactly_where_the_checkpoint_ends(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    settings = _settings(fresh_kafka(num_partitions=3), tmp_path)
    store = CheckpointStore(settings.checkpoint.url, settings.checkpoint.keep)
    state = LiveState(settings, {})
    with EventPublisher(settings) as publisher:
        publisher.publish_many(_event(f"user-{n % 9}", f"item-{n}", n) for n in range(300))
        with _running(settings, state, store) as loop:
            _until(lambda: loop.status().lag_events == 0)
            publisher.publish_many(_event(f"user-{n % 9}", f"item-{n}", n) for n in range(300, 400))
            _until(lambda: state.num_events == 400)
        publisher.publish_many(_event(f"user-{n % 9}", f"item-{n}", n) for n in range(400, 450))
    checkpoint = store.latest()
    assert checkpoint is not None
    assert checkpoint.num_events == 400, "stopping writes what has changed"
    again = LiveState(settings, {})
    store.restore(checkpoint, again)
    assert again.position == state.position
    with _running(settings, again, store) as loop:
        _until(lambda: loop.is_caught_up)
    assert [when for _, _, when in sorted(_edges(again), key=lambda edge: edge[2])] == list(range(450))
    assert again.num_events == 450


def test_checkpoint_comes_when_asked_and_when_due(fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path) -> None:
    settings = _settings(fresh_kafka(num_partitions=1), tmp_path, every_s=3_600.0, every_events=10)
    store = CheckpointStore(settings.checkpoint.url, settings.checkpoint.keep)
    state = LiveState(settings, {})
    with EventPublisher(settings) as publisher, _running(settings, state, store) as loop:
        publisher.publish(_event(at_ms=1))
        _until(lambda: state.num_events == 1)
        asked = loop.checkpoint_now()
        assert asked.num_events == 1
        assert asked.position is not None
        assert asked.position.next_offsets == {0: 1}
        publisher.publish_many(_event(at_ms=n) for n in range(2, 12))
        _until(lambda: state.num_events == 11)
        _until(lambda: (latest := store.latest()) is not None and latest.num_events == 11)
        assert loop.status().last_checkpoint_ms is not None
    with pytest.raises(CheckpointError, match="does not run"):
        loop.checkpoint_now()


def test_recreated_topic_is_named_and_stops_ingest(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = _settings(fresh_kafka(num_partitions=1))
    state = LiveState(settings, {})
    with EventPublisher(settings) as publisher:
        publisher.publish(_event())
        with _running(settings, state) as loop:
            _until(lambda: loop.is_caught_up)
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        admin.delete_topics([settings.kafka.topic])
    ensure_topics(settings)
    with EventPublisher(settings) as publisher:
        publisher.publish(_event("bob"))
        publisher.publish(_event("cid"))
    with _running(settings, state) as loop:
        _until(lambda: loop.status().failure is not None)
        failure = loop.status().failure
        assert isinstance(failure, OffsetsLostError)
        assert "recreated" in str(failure)
        assert not loop.wait_for({0: 99}, Deadline.after(5.0)), "waiting ends at once"
    assert [user for user, _, _ in _edges(state)] == ["ann"], "no silent latest, no silent beginning"


def test_topic_recreated_under_a_running_loop_is_noticed(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_TOPIC_CHECK_S", 0.2)
    settings = _settings(fresh_kafka(num_partitions=1))
    with _running(settings, LiveState(settings, {})) as loop:
        _until(lambda: loop.is_caught_up)
        with KafkaAdminClient(**client_config(settings.kafka)) as admin:
            admin.delete_topics([settings.kafka.topic])
        ensure_topics(settings)
        _until(lambda: isinstance(loop.status().failure, OffsetsLostError))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"next_offsets": {0: 7}}, "partition 0.* wanted 7"),
        ({"next_offsets": {0: 1, 5: 0}}, "lost partitions"),
        ({"topic": "another"}, "made from topic 'another'"),
    ],
)
def test_position_that_the_topic_does_not_have_is_named(
    change: dict[str, object], words: str, fresh_kafka: Callable[..., KafkaSettings]
) -> None:
    settings = _settings(fresh_kafka(num_partitions=1))
    with EventPublisher(settings) as publisher:
        publisher.publish(_event())
    state = LiveState(settings, {})
    state.position = StreamPosition(**{"topic": settings.kafka.topic, "topic_id": "", "next_offsets": {0: 1}, **change})
    with _running(settings, state) as loop:
        _until(lambda: loop.status().failure is not None)
    failure = loop.status().failure
    assert isinstance(failure, OffsetsLostError)
    with pytest.raises(OffsetsLostError, match=words):
        raise failure


def test_topic_that_is_gone_is_named(
    fresh_kafka: Callable[..., KafkaSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_TOPIC_GRACE_S", 0.2)
    settings = _settings(fresh_kafka())
    state = LiveState(settings, {})
    state.position = StreamPosition(f"{settings.kafka.topic}-gone", "", {})
    gone = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"topic": state.position.topic})})
    with _running(gone, state) as loop:
        _until(lambda: loop.status().failure is not None)
    assert "has no topic" in str(loop.status().failure)
    gc.collect()
