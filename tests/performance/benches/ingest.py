"""Kafka to queryable: the ingest loop beside a bare poll loop that throws records away."""

import contextlib
import time
from collections.abc import Iterator

from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions
from kafka import KafkaConsumer, TopicPartition

from springtide.clock import Deadline
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.dataset_events import interaction_events
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config, ensure_topics

_PARTITIONS = 4
_TIMEOUT_S = 120.0


def run(sizes: Sizes) -> list[Figure]:
    figures = []
    for name, num in (("single events", sizes.singles), ("packed events", sizes.packed)):
        with _published(name, num, sizes) as settings:
            _, end = _read_bare(settings, num)  # Nothing is cold any more.
            bare, ours = [], []
            for _ in range(sizes.repetitions):
                bare.append(_read_bare(settings, num)[0])
                ours.append(_ingest(settings, end, num))
        limit = Limit("kafka-python poll loop, records thrown away", bare)
        figures.append(Figure(f"Kafka to queryable, {name}", "events/s", ours, limit))
    return figures


@contextlib.contextmanager
def _published(name: str, num: int, sizes: Sizes) -> Iterator[Settings]:
    interactions = make_interactions(num, sizes.users, sizes.items)
    with EmbeddedBroker() as broker:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, num_partitions=_PARTITIONS))
        ensure_topics(settings)
        with EventPublisher(settings) as publisher:
            if name.startswith("packed"):
                publisher.publish_interactions(interactions)
            else:
                publisher.publish_many(interaction_events(interactions))
        yield settings


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


def _ingest(settings: Settings, end: dict[int, int], num: int) -> float:
    """Read the topic into a live state; return events a second."""
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    ingest = IngestLoop(settings, state, None)
    clock = _Clock()
    ingest.on_advance = lambda: clock.advance(state.num_events)
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
