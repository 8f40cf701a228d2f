"""Kafka to queryable: the ingest loop beside bare poll loops that throw the records away; and its parts in memory.

On the Kafka that KAFKA_BOOTSTRAP_SERVERS names: a catch-up on a million events, uncompressed and in lz4. Without one,
on the embedded broker and with fewer. What librdkafka reads is a figure beside it, if confluent-kafka is installed.
"""

import contextlib
import importlib.util
import os
import time
import uuid
from collections.abc import Iterator

import numpy as np
from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.codec import has_lz4

from springtide.clock import Deadline, wall_ms
from springtide.events import RawEvent
from springtide.events.decoding import Decoder
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.dataset_events import interaction_events
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.poll_parts import parts_of
from springtide_services.stream.producer import EventPublisher, pack
from springtide_services.stream.topics import client_config, ensure_topics

_PARTITIONS = 4
_TIMEOUT_S = 600.0
_POLLS = (1, 100, 5_000)
_PACKED_ROWS = 1_000
_MAX_POLLS = 1_000  # Of a size.
_NO_LIBRDKAFKA = "librdkafka's poll loop is not measured: confluent-kafka is not installed."


def run(sizes: Sizes) -> list[Figure]:
    kafka = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    if importlib.util.find_spec("confluent_kafka") is None:
        print(_NO_LIBRDKAFKA, end=" ", flush=True)
    with contextlib.nullcontext(kafka) if kafka else _embedded() as servers:
        num_singles = sizes.catch_up if kafka else sizes.singles
        figures = _measure(servers, "single events", num_singles, None, sizes)
        if kafka and has_lz4():
            figures += _measure(servers, "single events in lz4", num_singles, "lz4", sizes)
        elif kafka:
            print("lz4 is not measured: its library is not installed.", end=" ", flush=True)
        figures += _measure(servers, "packed by 1,000", sizes.packed, None, sizes)
    return figures + _in_process(sizes)


def _in_process(sizes: Sizes) -> list[Figure]:
    """Decode and apply events that are in memory, by the number of records in a poll; in CPU time."""
    num = sizes.singles // _PACKED_ROWS * _PACKED_ROWS
    interactions = make_interactions(num, sizes.users, sizes.items)
    singles = [RawEvent(event.SerializeToString()) for event in interaction_events(interactions)]
    rows = np.arange(num).reshape(-1, _PACKED_ROWS)
    packed = [RawEvent(events_pb2.Event(batch=pack(interactions, each)).SerializeToString()) for each in rows]
    figures = []
    for size in _POLLS:
        figures += _applied(f"poll of {size:,} single events", _polls(singles[: size * _MAX_POLLS], size), sizes)
    figures += _applied(f"poll of 5 events packed by {_PACKED_ROWS:,}", _polls(packed, 5), sizes)
    name = f"live poll of {len(packed):,} events packed by {_PACKED_ROWS:,}, in parts"
    return figures + _applied(name, list(parts_of(packed, is_live=True)), sizes, is_one_poll=True)


def _polls(records: list[RawEvent], size: int) -> list[list[RawEvent]]:
    return [records[start : start + size] for start in range(0, len(records), size)]


def _applied(name: str, polls: list[list[RawEvent]], sizes: Sizes, *, is_one_poll: bool = False) -> list[Figure]:
    """Decode and apply polls, or the parts of one."""
    decoding, applying = [], []
    for _ in range(sizes.repetitions):
        settings = Settings()
        state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
        decoder = Decoder(settings.interaction_rules(), settings.events)
        spent = [0.0, 0.0]
        for poll in polls:
            started = time.thread_time()
            batches, _ = decoder.decode(poll, wall_ms())
            decoded = time.thread_time()
            for batch in batches:
                state.apply(batch, more_follow=is_one_poll)
            spent = [spent[0] + decoded - started, spent[1] + time.thread_time() - decoded]
        started = time.thread_time()
        state.settle()
        spent[1] += time.thread_time() - started
        decoding.append(state.num_events / spent[0])
        applying.append(state.num_events / spent[1])
    return [Figure(f"Decode, {name}", "events/s", decoding), Figure(f"Apply, {name}", "events/s", applying)]


def _measure(servers: str, name: str, num: int, compression: str | None, sizes: Sizes) -> list[Figure]:
    with _published(servers, name, num, compression, sizes) as settings:
        _, end = _read_bare(settings, num)  # Nothing is cold any more.
        bare, ours, librdkafka = [], [], []
        for _ in range(sizes.repetitions):
            bare.append(_read_bare(settings, num)[0])
            ours.append(_ingest(settings, end, num))
            if importlib.util.find_spec("confluent_kafka") is not None:
                librdkafka.append(_read_with_librdkafka(settings, end, num))
    limit = Limit("kafka-python poll loop, records thrown away", bare)
    figures = [Figure(f"Kafka to queryable, {name}", "events/s", ours, limit)]
    if librdkafka:
        figures.append(Figure(f"librdkafka poll loop, {name}", "events/s", librdkafka, limit))
    return figures


@contextlib.contextmanager
def _embedded() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.bootstrap_servers


@contextlib.contextmanager
def _published(servers: str, name: str, num: int, compression: str | None, sizes: Sizes) -> Iterator[Settings]:
    interactions = make_interactions(num, sizes.users, sizes.items)
    topic = f"springtide.bench-{uuid.uuid4().hex[:12]}"
    kafka = KafkaSettings(bootstrap_servers=servers, num_partitions=_PARTITIONS, topic=topic)
    settings = Settings(kafka=kafka)
    ensure_topics(settings)
    producer = kafka.model_copy(update={"client_options": {"compression_type": compression}})
    try:
        with EventPublisher(Settings(kafka=producer)) as publisher:
            if name.startswith("packed"):
                publisher.publish_interactions(interactions, rows_per_batch=_PARTITIONS * _PACKED_ROWS)
            else:
                publisher.publish_many(interaction_events(interactions))
        yield settings
    finally:
        with KafkaAdminClient(**client_config(kafka)) as admin:
            admin.delete_topics([topic])


def _read_bare(settings: Settings, num: int) -> tuple[float, dict[int, int]]:
    """Read the topic to its end; return events a second, and the offsets reached."""
    consumer = KafkaConsumer(
        **client_config(settings.kafka),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_poll_records=settings.kafka.max_poll_records,
    )
    partitions = [TopicPartition(settings.kafka.topic, number) for number in range(_PARTITIONS)]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    reached = dict.fromkeys(range(_PARTITIONS), 0)
    clock, deadline = _Clock(), Deadline.after(_TIMEOUT_S)
    num_records = 0
    while reached != {partition.partition: consumer.highwater(partition) for partition in partitions}:
        assert not deadline.is_over(), f"came to {reached} only"
        for partition, records in consumer.poll(settings.kafka.poll_timeout_ms).items():
            reached[partition.partition] = records[-1].offset + 1
            num_records += len(records)
        if num_records:
            clock.advance(num_records)
    consumer.close()
    return clock.per_second() * num / num_records, reached


def _read_with_librdkafka(settings: Settings, end: dict[int, int], num: int) -> float:
    """Read the topic to its end with confluent-kafka; return events a second."""
    import confluent_kafka

    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "bench", "enable.auto.commit": False}
    )
    consumer.assign([confluent_kafka.TopicPartition(settings.kafka.topic, number, 0) for number in range(_PARTITIONS)])
    clock, deadline = _Clock(), Deadline.after(_TIMEOUT_S)
    num_records, wanted = 0, sum(end.values())
    while num_records < wanted:
        assert not deadline.is_over(), f"came to {num_records} of {wanted} only"
        num_records += len(consumer.consume(settings.kafka.max_poll_records, settings.kafka.poll_timeout_ms / 1_000))
        if num_records:
            clock.advance(num_records)
    consumer.close()
    return clock.per_second() * num / num_records


def _ingest(settings: Settings, end: dict[int, int], num: int) -> float:
    """Read the topic into a live state; return events a second."""
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    ingest = IngestLoop(settings, state, None)
    clock = _Clock()
    ingest.hooks.on_advance = lambda: clock.advance(state.num_events)
    ingest.start()
    try:
        assert ingest.wait_for(end, Deadline.after(_TIMEOUT_S)), ingest.status()
    finally:
        ingest.stop()
    assert state.num_events == num, f"wanted {num} events, got {state.num_events}"
    return clock.per_second()


class _Clock:
    """The rate after the first poll: connecting, and whatever was fetched meanwhile, are not what is measured."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._first: tuple[float, int] | None = None
        self._last = (self._started, 0)

    def advance(self, count: int) -> None:
        self._last = (time.perf_counter(), count)
        self._first = self._first or self._last

    def per_second(self) -> float:
        first = self._first if self._first not in (None, self._last) else (self._started, 0)
        assert first is not None
        return (self._last[1] - first[1]) / (self._last[0] - first[0])
