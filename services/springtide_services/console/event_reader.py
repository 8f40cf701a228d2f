"""Reading the events topic from its end on, for people who watch."""

import threading
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from springtide.clock import wall_ms
from springtide.settings.model import KafkaSettings
from springtide_services.console.event_words import shown_events
from springtide_services.stream.broker_errors import explain
from springtide_services.stream.topics import client_config, with_client_id

_POLL_MS = 250
_MAX_POLL = 500
_FETCH_WAIT_MS = 100  # The embedded broker holds a fetch to the end.
_MAX_BEHIND = 5_000  # Records; those between are counted, and not read.
_RETRY_S = 2.0
_SKEW_MS = 1_000  # Between the clocks of producers and ours.
_TIMEOUTS = {"bootstrap_timeout_ms": 10_000, "request_timeout_ms": 10_000}


class Found:
    """What a reader has read since it was asked last.

    Attributes:
        events: What browsers are shown, in order.
        num_skipped: Records that were not read.
        problem: Why nothing comes, for people; empty if all is well.
        is_watching: Whether the end of each partition is known.
    """

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.num_skipped = 0
        self.problem = ""
        self.is_watching = False


class Reader:
    """Reads the topic from its end on, in a thread of its own: the consumer belongs to one.

    Args:
        kafka: The broker and the topic.

    Attributes:
        stopping: Set to end it.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.stopping = threading.Event()
        self._kafka = with_client_id(kafka, "console")
        self._lock = threading.Lock()
        self._found = Found()
        self._started_ms = wall_ms()

    def take(self) -> Found:
        """Return what was read since the last call."""
        with self._lock:
            found, self._found = self._found, Found()
            self._found.problem, self._found.is_watching = found.problem, found.is_watching
        return found

    def run(self) -> None:
        """Read until it is stopped; a broker that is away is tried again."""
        while not self.stopping.is_set():
            try:
                self._read()
            except KafkaError as error:
                with self._lock:
                    self._found.problem = explain(error, self._kafka).message
                    self._found.is_watching = False
                self.stopping.wait(_RETRY_S)

    def _read(self) -> None:
        options = {**_TIMEOUTS, **client_config(self._kafka, KafkaConsumer)}
        consumer = KafkaConsumer(
            **{**options, "fetch_max_wait_ms": _FETCH_WAIT_MS, "max_poll_records": _MAX_POLL},
            enable_auto_commit=False,
            auto_offset_reset="latest",
        )
        try:
            numbers = consumer.partitions_for_topic(self._kafka.topic)
            if not numbers:
                raise UnknownTopicOrPartitionError(self._kafka.topic)
            partitions = [TopicPartition(self._kafka.topic, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            consumer.seek_to_end(*partitions)
            ends: dict[TopicPartition, int] = {}
            while not self.stopping.is_set():
                polled = consumer.poll(_POLL_MS)
                unheard = partitions if len(ends) < len(partitions) else ()
                ends |= {
                    each: end for each in unheard if each not in ends and (end := consumer.highwater(each)) is not None
                }
                records = [record for each in polled.values() for record in each if self._is_new(record, ends)]
                shown = [each for record in records for each in shown_events(record)]
                num_skipped = sum(_skip_to_end(consumer, each) for each in partitions)
                with self._lock:
                    self._found.problem, self._found.is_watching = "", len(ends) == len(partitions)
                    self._found.num_skipped += num_skipped
                    room = max(0, 2 * _MAX_POLL - len(self._found.events))
                    self._found.events += shown[:room]
                    self._found.num_skipped += len(shown) - min(room, len(shown))
        finally:
            consumer.close(autocommit=False)

    def _is_new(self, record: Any, ends: Mapping[TopicPartition, int]) -> bool:
        """Return whether a record came after the start: the embedded broker's word for the end is too low."""
        end = ends.get(TopicPartition(record.topic, record.partition), 0)
        return bool(record.offset >= end or record.timestamp >= self._started_ms - _SKEW_MS)


def _skip_to_end(consumer: KafkaConsumer, partition: TopicPartition) -> int:
    """Go to the end where the reader is far behind, and return how many records it passes over."""
    end = consumer.highwater(partition)
    if end is None:
        return 0
    behind = int(end - consumer.position(partition))
    if behind <= _MAX_BEHIND:
        return 0
    consumer.seek(partition, end)
    return behind
