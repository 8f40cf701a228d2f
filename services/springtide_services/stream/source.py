"""The events topic as a source: opened at a position, checked against the broker, read by polling."""

import contextlib
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaConnectionError, OffsetOutOfRangeError, RetriableError

from springtide.clock import Deadline
from springtide.errors import OffsetsLostError
from springtide.events import RawEvent
from springtide.settings.model import KafkaSettings
from springtide.state import StreamPosition
from springtide_services.stream.broken_records import BrokenRecords
from springtide_services.stream.broker_errors import Problem
from springtide_services.stream.consumer import EventConsumer
from springtide_services.stream.held_partitions import HeldPartition, StallWatch, problem_of
from springtide_services.stream.record_batches import Damage
from springtide_services.stream.topics import TopicFacts, client_config, read_topic_facts

logger = structlog.stdlib.get_logger(__name__)

_CHOICES = (
    "restore the topic; or start once with `springtide serve --skip-lost`, which keeps the graph and reads on where "
    "the topic begins; or make the graph anew of what is left with `springtide rebuild --from-what-is-left`"
)
_CONNECTION_CHECK_S = 1.0  # Between two checks for a lost connection: each reads a counter.
_TOPIC_CHECK_S = 10.0  # Between two checks for a recreated topic or new partitions: each is a request to the broker.
_TOPIC_GRACE_S = 5.0  # A broker that has just started may not know its topics yet.
_TIMEOUTS = {"bootstrap_timeout_ms": 10_000, "request_timeout_ms": 10_000}  # Then a broker counts as gone.
_SILENT_S = 3.0  # A leader that has not answered a fetch for this long does not answer: fetches wait 0.5 s.
_END_CHECK_S = 2.0  # The next response to a healthy partition's fetch comes sooner.
_FETCH_WAIT_MS = 500  # Kafka answers a waiting fetch as soon as a record comes.
_FETCH_WAIT_EMBEDDED_MS = 10  # The embedded broker always waits to the end.
_QUIET_WAIT_EMBEDDED_MS = 50  # The same once nothing has come for a while: a fetch each 10 ms takes a tenth of a core.
_QUIET_S = 1.0
_EMBEDDED_CLUSTER_IDS = ("tansu_cluster",)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the reader is behind the topic's end, as the last responses said.

    Attributes:
        num_events: Records after those that were polled; None until each partition was fetched once.
        silence_s: For how long the slowest leader has not answered, in seconds: the age of what is known of its
            partitions. Below 1 while all answer.
        silent_partitions: Partitions whose leader has not answered for 3 s, ascending.
        num_held: How many of the events lie in partitions that cannot be read on.
    """

    num_events: int | None
    silence_s: float = 0.0
    silent_partitions: tuple[int, ...] = ()
    num_held: int = 0


class KafkaSource:
    """Reads the events topic from a position on; all calls, ``close`` too, must come from one thread.

    Checkpoints hold the offsets: consumer groups are not used, and nothing is committed to the broker.

    Args:
        kafka: The broker and the topic, which must exist.
        position: Where to continue; None for the topic's beginning.

    Attributes:
        position: Where reading starts: the given position, and the beginnings of partitions that are new.
        fetch_wait_ms: How long the broker may hold a fetch that finds no records, in milliseconds, while records come.
        held: Partitions that cannot be read on, by number: they are tried again from time to time.

    Raises:
        OffsetsLostError: If the topic is not the position's topic, or no longer has the next events.
        KafkaError: If the broker does not answer.
    """

    def __init__(self, kafka: KafkaSettings, position: StreamPosition | None) -> None:
        self._kafka = kafka
        self._next_connection_check = Deadline.after(_CONNECTION_CHECK_S)
        self._next_topic_check = Deadline.after(_TOPIC_CHECK_S)
        self._topic_thread: threading.Thread | None = None
        self._topic_answers: queue.SimpleQueue[TopicFacts | Exception] = queue.SimpleQueue()
        self._is_closed = False
        self.held: dict[int, HeldPartition] = {}
        self._broken: list[BrokenRecords] = []
        self._skipped_to: dict[int, int] = {}
        self._admin = KafkaAdminClient(**{**_TIMEOUTS, **client_config(kafka)})
        try:
            facts = self._find_topic()
            _check_topic(facts, position)
            self.fetch_wait_ms = choose_fetch_wait_ms(kafka, self._admin)
            is_embedded = kafka.fetch_max_wait_ms == "auto" and self.fetch_wait_ms == _FETCH_WAIT_EMBEDDED_MS
            self._quiet_wait_ms = _QUIET_WAIT_EMBEDDED_MS if is_embedded else self.fetch_wait_ms
            self._quiet_from = Deadline.after(_QUIET_S)
            self._consumer = _make_consumer(kafka, self.fetch_wait_ms)
        except BaseException:
            self._admin.close()
            raise
        try:
            self._stalls = StallWatch(kafka, self._consumer)
            self._partitions = {number: TopicPartition(kafka.topic, number) for number in facts.partitions}
            self._unheard = set(self._partitions.values())
            self._behind: dict[TopicPartition, int] = {}  # Those above 0, and their sum.
            self._num_behind = 0
            self._ahead: dict[TopicPartition, Deadline] = {}  # Read past the known end: when to ask the broker for it.
            self._consumer.assign(list(self._partitions.values()))
            self._next_offsets = self._seek({} if position is None else position.next_offsets)
            self.position = StreamPosition(kafka.topic, facts.topic_id, dict(self._next_offsets))
        except BaseException:
            self.close()
            raise

    def poll(self, timeout_ms: int) -> list[RawEvent]:
        """Return the next records, grouped by partition and in order; an empty list if none came in time.

        A partition whose next batch cannot be read is then in ``held``.

        Raises:
            OffsetsLostError: If the broker no longer has the next events.
            KafkaError: If the broker refuses.
        """
        for number, held in [*self.held.items()]:
            if held.is_over():
                del self.held[number]
            elif held.begin_retry():
                self._consumer.resume(self._partitions[number])
        try:
            polled = self._consumer.poll(timeout_ms)
        except OffsetOutOfRangeError as error:
            raise OffsetsLostError(
                f"topic {self._kafka.topic!r} does not have the next events: {_wanted_offsets(error)} ({_CHOICES})"
            ) from error
        if polled:
            self._quiet_from = Deadline.after(_QUIET_S)
        self._consumer.set_fetch_wait(self._quiet_wait_ms if self._quiet_from.is_over() else self.fetch_wait_ms)
        for partition, records in polled.items():
            self._next_offsets[partition.partition] = records[-1].offset + 1
            self.held.pop(partition.partition, None)
        for broken in self._consumer.take_broken():
            number = broken.record.partition
            self._next_offsets[number] = max(self._next_offsets[number], broken.next_offset)
            self.held.pop(number, None)
            self._broken.append(broken)
        for damage in self._consumer.take_damage():
            self._hold(damage)
        return [event for events in polled.values() for event in events]

    def take_broken(self) -> list[BrokenRecords]:
        """Return what was broken for good among or before the records of the last poll, and was passed over."""
        broken, self._broken = self._broken, []
        return broken

    def held_problem(self) -> Problem:
        """Return why the held partitions cannot be read on; there must be one."""
        return problem_of(self.held)

    def skip_damage(self, number: int) -> tuple[int, int]:
        """Read a held partition on after what cannot be read.

        Returns:
            The offset of the first record that is skipped, and of the next one that is read.
        """
        damage, partition = self.held.pop(number).damage, self._partitions[number]
        first, end = self._next_offsets[number], self._consumer.highwater(partition)
        next_offset = max(first + 1, damage.next_offset)
        if end is not None and next_offset > end > first:
            next_offset = end
        self._next_offsets[number] = self._skipped_to[number] = next_offset
        self._consumer.seek(partition, next_offset)
        self._consumer.resume(partition)
        return first, next_offset

    def lag(self) -> Lag:
        """Return how far the polled records are behind the topic's end; costs what was fetched since the last call.

        Raises:
            OffsetsLostError: If the next offset stays past a partition's end, and the broker confirms that end.
            KafkaError: If the broker does not say where the partition ends.
        """
        # A partition that is behind is looked at again: the end of a transaction moves its offset without a record.
        for partition in self._consumer.take_fetched() | self._behind.keys():
            # From the fetch responses: `end_offsets` is wrong on the embedded broker.
            high_watermark = self._consumer.highwater(partition)
            if high_watermark is None:
                continue
            self._unheard.discard(partition)
            # Not self._next_offsets: a transaction's end marker takes an offset, but is never polled.
            next_offset = self._consumer.next_offset(partition)
            self._set_behind(partition, high_watermark - next_offset)
        for partition, check_at in [*self._ahead.items()]:
            if check_at.is_over():
                self._ahead[partition] = Deadline.after(_END_CHECK_S)
                self._check_end(partition.partition, self._consumer.next_offset(partition))
        silence_s = self._consumer.longest_silence_s()
        silent = self._consumer.silent_partitions(_SILENT_S) if silence_s > _SILENT_S else ()
        self._stalls.look(self._behind, self.held)
        num_held = sum(self._behind.get(self._partitions[number], 0) for number in self.held)
        return Lag(None if self._unheard else self._num_behind, silence_s, tuple(silent), num_held)

    def check(self) -> bool:
        """Check connection and topic from time to time; cheap enough to be called before each poll.

        Returns:
            False if the source must be opened again to read new partitions.

        Raises:
            OffsetsLostError: If the topic was recreated.
            KafkaError: If the connection is lost.
        """
        if self._next_connection_check.is_over():
            self._next_connection_check = Deadline.after(_CONNECTION_CHECK_S)
            if not self._consumer.is_connected():
                raise KafkaConnectionError("no connection to any broker is left")
        if self._next_topic_check.is_over():
            self._next_topic_check = Deadline.after(_TOPIC_CHECK_S)
            if self._topic_thread is None or not self._topic_thread.is_alive():
                # In a thread: a broker that hangs would keep us from reading from the others.
                self._topic_thread = threading.Thread(target=self._ask_for_topic, name="topic-check", daemon=True)
                self._topic_thread.start()
        with contextlib.suppress(queue.Empty):
            facts = self._topic_answers.get_nowait()
            if isinstance(facts, Exception):
                raise facts
            _check_topic(facts, self.position)
            return len(facts.partitions) == len(self._partitions)
        return True

    def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        self._consumer.close(autocommit=False)
        self._admin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_behind(self, partition: TopicPartition, behind: int) -> None:
        self._num_behind += max(behind, 0) - self._behind.pop(partition, 0)
        if behind > 0:
            self._behind[partition] = behind
        if behind < 0:
            self._ahead.setdefault(partition, Deadline.after(_END_CHECK_S))
        else:
            self._ahead.pop(partition, None)

    def _check_end(self, number: int, next_offset: int) -> None:
        """Ask the broker where a partition ends; raise OffsetsLostError if that is before the next offset.

        A fetch's high watermark is no proof: Kafka reads it before it reads the records, so a fetch from a healthy
        topic may return records past it. On Kafka, reading past the end is an error. The embedded broker returns
        nothing instead, which is why this check is needed.
        """
        partition = self._partitions[number]
        end = self._consumer.end_offsets([partition])[partition]
        if end < next_offset:
            raise OffsetsLostError(
                f"partition {number} of topic {self._kafka.topic!r} ends at offset {end}, wanted {next_offset}: "
                f"the topic was recreated or truncated ({_CHOICES})"
            )

    def _hold(self, damage: Damage) -> None:
        """Note that a partition cannot be read on; the consumer has paused it."""
        number, former = damage.partition, self.held.get(damage.partition)
        num_tries = 1 if former is None else former.num_tries + 1
        if self._skipped_to.get(number) == damage.offset:
            num_tries = 2  # What came before it was tried: the batch did not tell where it ends.
        held = self.held[number] = HeldPartition.of(damage, self._kafka, num_tries)
        if held.is_given_up:
            self._consumer.give_up(self._partitions[number], damage.offset)

    def _ask_for_topic(self) -> None:
        try:
            self._topic_answers.put(self._find_topic())
        except RetriableError as error:
            logger.debug("topic_check_failed", error=f"{type(error).__name__}: {error}")  # It is asked again.
        except Exception as error:
            if not self._is_closed:
                self._topic_answers.put(error)

    def _find_topic(self) -> TopicFacts:
        deadline = Deadline.after(_TOPIC_GRACE_S)
        while (facts := read_topic_facts(self._admin, self._kafka.topic)) is None:
            if deadline.is_over():
                raise OffsetsLostError(f"the broker has no topic {self._kafka.topic!r} ({_CHOICES})")
            time.sleep(0.1)
        return facts

    def _seek(self, known: Mapping[int, int]) -> dict[int, int]:
        """Seek each partition to its known offset, or to its beginning; return the offsets by partition."""
        beginnings = self._consumer.beginning_offsets(list(self._partitions.values()))
        next_offsets = {}
        for number, partition in self._partitions.items():
            offset = known.get(number, beginnings[partition])
            if offset < beginnings[partition]:
                raise OffsetsLostError(
                    f"partition {number} of topic {self._kafka.topic!r} begins at offset {beginnings[partition]}, "
                    f"wanted {offset}: retention has removed the next events ({_CHOICES})"
                )
            self._consumer.seek(partition, offset)
            next_offsets[number] = offset
        return next_offsets


def choose_fetch_wait_ms(kafka: KafkaSettings, admin: KafkaAdminClient) -> int:
    """Return how long the broker may hold a fetch that finds no records, in milliseconds.

    ``kafka.fetch_max_wait_ms`` decides. If it is ``"auto"``, the broker's own name does: Tansu, the embedded broker,
    calls its cluster ``tansu_cluster``, and always waits to the end.

    Raises:
        KafkaError: If the broker does not answer.
    """
    if kafka.fetch_max_wait_ms != "auto":
        return kafka.fetch_max_wait_ms
    is_embedded = admin.describe_cluster()["cluster_id"] in _EMBEDDED_CLUSTER_IDS
    return _FETCH_WAIT_EMBEDDED_MS if is_embedded else _FETCH_WAIT_MS


def _make_consumer(kafka: KafkaSettings, fetch_wait_ms: int) -> EventConsumer:
    return EventConsumer(
        **{**_TIMEOUTS, **client_config(kafka, KafkaConsumer)},
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_min_bytes=1,
        fetch_max_wait_ms=fetch_wait_ms,
        isolation_level="read_committed",  # Records of an aborted transaction are not events.
        max_poll_records=kafka.max_poll_records,
    )


def _wanted_offsets(error: OffsetOutOfRangeError) -> str:
    offsets = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    words = [f"partition {partition.partition}: wanted {offset}" for partition, offset in offsets.items()]
    return ", ".join(words) or "the offsets are out of range"


def _check_topic(facts: TopicFacts, position: StreamPosition | None) -> None:
    """Raise OffsetsLostError if the topic is not the position's topic."""
    if position is None:
        return
    if position.topic != facts.name:
        raise OffsetsLostError(
            f"the checkpoint was made from topic {position.topic!r}, the settings name {facts.name!r} ({_CHOICES})"
        )
    if position.topic_id and facts.topic_id and position.topic_id != facts.topic_id:
        raise OffsetsLostError(
            f"topic {facts.name!r} was recreated: its id is {facts.topic_id}, wanted {position.topic_id} ({_CHOICES})"
        )
    lost = sorted(set(position.next_offsets) - set(facts.partitions))
    if lost:
        raise OffsetsLostError(f"topic {facts.name!r} has lost partitions {lost} ({_CHOICES})")
