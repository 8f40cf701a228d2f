"""Reading the topic into a state beside the server: from the state's position to the topic's end, once."""

import threading
import time
from collections.abc import Callable, Collection, Mapping

import structlog
from kafka.errors import KafkaError

from springtide.clock import Deadline, wall_ms
from springtide.errors import BrokerError, RebuildError
from springtide.events import RawEvent, Refusal
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.decoding import Decoder
from springtide.events.skips import SkipFilter
from springtide.plugins.contracts import EventDecoder
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamGap
from springtide_services.stream.broker_errors import explain
from springtide_services.stream.source import KafkaSource

logger = structlog.stdlib.get_logger(__name__)

OnProgress = Callable[[int, int], None]

_PAUSE_S = 1.0  # Between two attempts to reach the broker.
_MAX_SILENCE_S = 60.0  # Then a broker that does not answer counts as gone.


class PoisonedRecordError(Exception):
    """Raised when one record cannot be applied; the state may have half of it.

    Attributes:
        record: The record.
    """

    def __init__(self, record: RawEvent, message: str) -> None:
        super().__init__(message)
        self.record = record


class PoisonedRecordsError(Exception):
    """Raised when several records cannot be applied together; the state may have half of them.

    Attributes:
        until: The offset before which all of them are, by partition.
    """

    def __init__(self, until: Mapping[int, int]) -> None:
        super().__init__(f"events cannot be applied, before {dict(until)}")
        self.until = until


class Replay:
    """Reads events into a state; refused ones are counted, and written nowhere: the server has done that.

    Args:
        settings: All settings.
        state: The state; one that was never read is read from the topic's beginning.
        decoders: Decoders of other tools' records, by name.
        skips: Leaves out events; None leaves out none.
        careful_until: By partition, the offset before which records are applied one by one: one of them cannot be
            applied, and ``PoisonedRecordError`` then tells which.
        left_out: Records that are left out, by partition and offset.

    Attributes:
        num_records: How many records were read.
        num_refused: How many events were refused.
    """

    def __init__(
        self,
        settings: Settings,
        state: LiveState,
        decoders: Mapping[str, EventDecoder] | None = None,
        skips: SkipFilter | None = None,
        careful_until: Mapping[int, int] | None = None,
        left_out: Collection[tuple[int, int]] = (),
    ) -> None:
        self.num_records = 0
        self.num_refused = 0
        self._settings = settings
        self._state = state
        self._careful_until = careful_until or {}
        self._left_out = left_out
        self._reads_all = state.position is None  # Else what cannot be read is left to who reads on.
        kinds = AttributeKindCheck(settings.attributes, state.settled_kind, state.settled_length)
        self._decoder = Decoder(state.rules, settings.events, kinds, decoders, skips, state.known_names)

    def run(
        self,
        on_progress: OnProgress | None = None,
        *,
        from_what_is_left: bool = False,
        stopping: threading.Event | None = None,
    ) -> None:
        """Read to the topic's end.

        Args:
            on_progress: Called after each poll with the number of records read, and that of all as far as is known.
            from_what_is_left: Whether to read a topic that has lost its beginning; the state then notes the gaps.
            stopping: Ends the reading early when it is set.

        Raises:
            RebuildError: If the topic has lost its beginning, or ``stopping`` was set.
            OffsetsLostError: If there is no such topic, or it loses events while it is read.
            BrokerError: If the broker does not answer for a minute, or refuses.
        """
        stopping = stopping or threading.Event()
        giving_up = Deadline.after(_MAX_SILENCE_S)
        while True:
            num_before = self.num_records
            try:
                if self._read(on_progress, from_what_is_left, stopping):
                    return
            except KafkaError as error:
                problem = explain(error, self._settings.kafka)
                if self.num_records > num_before:
                    giving_up = Deadline.after(_MAX_SILENCE_S)
                if giving_up.is_over() or not problem.heals:
                    raise BrokerError(f"the topic cannot be read: {problem.message}") from error
                time.sleep(_PAUSE_S)

    def _read(self, on_progress: OnProgress | None, from_what_is_left: bool, stopping: threading.Event) -> bool:
        """Read to the end, and return True; or False if the topic must be opened again."""
        state = self._state
        with KafkaSource(self._settings.kafka, state.position) as source:
            if state.position is None:
                self._check_beginning(source.position.next_offsets, from_what_is_left)
            state.position = source.position
            while not stopping.is_set() and source.check():
                records, broken = source.poll(self._settings.kafka.poll_timeout_ms), source.take_broken()
                if records:
                    refusals = self._apply(records)
                    state.note_time(wall_ms())
                    state.advance({record.partition: record.offset + 1 for record in records})
                    state.reclaim(time.monotonic())
                    self.num_records += len(records)
                    self.num_refused += sum(refusal.num_events for refusal in refusals)
                for each in broken:
                    self.num_refused += each.num_records
                    if each.next_offset > state.next_offsets.get(each.record.partition, 0):
                        state.advance({each.record.partition: each.next_offset})
                lag = source.lag()
                if on_progress is not None and lag.num_events is not None:
                    on_progress(self.num_records, self.num_records + lag.num_events)
                if lag.num_events == lag.num_held and self._may_end(source, from_what_is_left):
                    state.settle()
                    return True
        if stopping.is_set():
            raise RebuildError("reading the topic was stopped")
        return False

    def _apply(self, records: list[RawEvent]) -> list[Refusal]:
        """Apply some records, and return what was refused of them.

        Raises:
            PoisonedRecordError: If one that is applied alone cannot be applied.
        """
        if self._left_out:
            records = [record for record in records if (record.partition, record.offset) not in self._left_out]
        careful = [each for each in records if each.offset < self._careful_until.get(each.partition, 0)]
        rest = [each for each in records if each.offset >= self._careful_until.get(each.partition, 0)]
        refused: list[Refusal] = []
        for record in careful:
            batches, refusals = self._decoder.decode([record], wall_ms())
            refused += refusals
            try:
                for batch in batches:
                    self._state.apply(batch)
            except Exception as error:
                raise PoisonedRecordError(record, f"{type(error).__name__}: {error}") from error
        if rest:
            batches, refusals = self._decoder.decode(rest, wall_ms())
            refused += refusals
            try:
                for batch in batches:
                    self._state.apply(batch, more_follow=True)
            except Exception as error:
                raise PoisonedRecordsError({each.partition: each.offset + 1 for each in rest}) from error
        return refused

    def _may_end(self, source: KafkaSource, from_what_is_left: bool) -> bool:
        """Return whether nothing is left to read, after all partitions that can be read were; skip what cannot be.

        Raises:
            RebuildError: If something cannot be read, and may not be skipped.
        """
        if not source.held or not self._reads_all:
            return True
        skippable = [number for number, held in source.held.items() if held.may_be_skipped]
        may_skip = from_what_is_left or self._settings.kafka.on_lost == "skip"
        if not skippable or not may_skip:
            way_out = "; `springtide rebuild --from-what-is-left` skips it" if skippable and not may_skip else ""
            raise RebuildError(f"{source.held_problem().message}{way_out}")
        topic = self._settings.kafka.topic
        for number in skippable:
            first, next_offset = source.skip_damage(number)
            self._state.gaps += (StreamGap(topic, number, first, next_offset, "damaged", wall_ms(), None),)
            self._state.advance({number: next_offset})
        return False

    def _check_beginning(self, beginnings: Mapping[int, int], from_what_is_left: bool) -> None:
        lost = {number: offset for number, offset in beginnings.items() if offset > 0}
        if not lost:
            return
        topic = self._settings.kafka.topic
        if not from_what_is_left:
            words = ", ".join(f"partition {number} begins at offset {offset:,}" for number, offset in lost.items())
            raise RebuildError(
                f"topic {topic!r} no longer has its first events ({words}): the graph would lack them. "
                "`springtide rebuild --from-what-is-left` makes it of what is left"
            )
        gaps = [StreamGap(topic, number, 0, offset, "retention", wall_ms(), None) for number, offset in lost.items()]
        self._state.gaps = (*self._state.gaps, *gaps)
