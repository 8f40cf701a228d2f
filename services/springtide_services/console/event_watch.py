"""Events as they come in, for browsers: one reader at the topic's end, which runs while somebody looks."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, UnknownTopicOrPartitionError
from starlette.requests import Request
from starlette.responses import Response

from springtide.clock import wall_ms
from springtide.settings.model import KafkaSettings, Settings
from springtide_services.access.roles import WATCH
from springtide_services.console.event_streams import EventStream, Feed, event
from springtide_services.console.event_words import is_about, shown_events
from springtide_services.gateway.events_in import NO_KAFKA
from springtide_services.gateway.refusals import refusal
from springtide_services.gateway.route_guard import RouteGuard
from springtide_services.stream.broker_errors import explain
from springtide_services.stream.topics import client_config, with_client_id

_FLUSH_S = 0.25
_MAX_PER_S = 50  # Events that a browser is shown; the others are counted.
_POLL_MS = 250
_MAX_POLL = 500
_FETCH_WAIT_MS = 100  # The embedded broker holds a fetch to the end.
_MAX_BEHIND = 5_000  # Records; those between are counted, and not read.
_RETRY_S = 2.0
_BEGIN_S = 5.0
_SKEW_MS = 1_000  # Between the clocks of producers and ours.
_TIMEOUTS = {"bootstrap_timeout_ms": 10_000, "request_timeout_ms": 10_000}


class EventWatch:
    """Answers ``GET /v1/events``: first an event ``watching``, then ``events`` at most each quarter of a second.

    The data of ``events`` are ``{"events": […], "numNotShown": …}``; of ``failure`` ``{"code": …, "message": …}``.

    Args:
        settings: The broker and the topic.
        guard: Who may.
    """

    def __init__(self, settings: Settings, guard: RouteGuard) -> None:
        self._kafka = with_client_id(settings.kafka, "console")
        self._guard = guard
        self._feeds: dict[tuple[str, str], _WatchFeed] = {}
        self._task: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> Any:
        """Answer a request; with ``?user=`` or ``?item=`` only with what is about them."""
        admitted = await self._guard.admit(WATCH, request)
        if isinstance(admitted, Response):
            return admitted
        if not self._kafka.bootstrap_servers:
            return refusal("unimplemented", NO_KAFKA, 501)
        about = request.query_params.get("user", ""), request.query_params.get("item", "")
        feed = self._feeds.setdefault(about, _WatchFeed(*about))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="event-watch")
        return EventStream(feed)

    def end(self) -> None:
        """End all streams."""
        for feed in self._feeds.values():
            feed.end()

    async def _watch(self) -> None:
        """Read until nobody looks."""
        reader = _Reader(self._kafka)
        thread = threading.Thread(target=reader.run, name="event-watch", daemon=True)
        thread.start()
        try:
            while True:
                await asyncio.sleep(_FLUSH_S)
                self._feeds = {about: feed for about, feed in self._feeds.items() if feed.is_heard or feed.is_new()}
                if not self._feeds:
                    return
                found = reader.take()
                for feed in self._feeds.values():
                    feed.take(found)
        finally:
            reader.stopping.set()


class _Found:
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


class _WatchFeed(Feed):
    def __init__(self, user_id: str, item_id: str) -> None:
        super().__init__()
        self._made_s = time.monotonic()
        self._about = user_id, item_id
        self._budget = float(_MAX_PER_S)
        self._state: bytes | None = None

    def greeting(self) -> Sequence[bytes]:
        """Return what is known of the reader."""
        return () if self._state is None else (self._state,)

    def is_new(self) -> bool:
        """Return whether it was made a moment ago: it is heard once its answer has begun."""
        return time.monotonic() < self._made_s + _BEGIN_S

    def take(self, found: _Found) -> None:
        """Send what was found, as far as the budget of a second goes."""
        if found.problem:
            self._turn(event("failure", {"code": "unavailable", "message": found.problem}))
        elif found.is_watching:
            self._turn(event("watching", {}))
        self._budget = min(_MAX_PER_S, self._budget + _MAX_PER_S * _FLUSH_S)
        of_ours = [each for each in found.events if is_about(each, *self._about)]
        num_shown = min(len(of_ours), int(self._budget))
        self._budget -= num_shown
        num_not_shown = len(of_ours) - num_shown + found.num_skipped
        if num_shown or num_not_shown:
            shown = of_ours[len(of_ours) - num_shown :]
            self.send(event("events", {"events": shown, "numNotShown": num_not_shown}))

    def _turn(self, state: bytes) -> None:
        if state != self._state:
            self._state = state
            self.send(state)


class _Reader:
    """Reads the topic from its end on, in a thread of its own: the consumer belongs to one.

    Args:
        kafka: The broker and the topic.

    Attributes:
        stopping: Set to end it.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.stopping = threading.Event()
        self._kafka = kafka
        self._lock = threading.Lock()
        self._found = _Found()
        self._started_ms = wall_ms()

    def take(self) -> _Found:
        """Return what was read since the last call."""
        with self._lock:
            found, self._found = self._found, _Found()
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
