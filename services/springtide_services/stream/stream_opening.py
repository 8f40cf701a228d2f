"""Where the stream is read from: it is opened at the state's position, and what is lost may be skipped."""

import dataclasses
import threading
from collections.abc import Sequence

import structlog

from springtide.clock import wall_ms
from springtide.errors import OffsetsLostError
from springtide.settings.model import KafkaSettings
from springtide.state import StreamGap, StreamPosition
from springtide_services.stream.arrivals import Arrivals
from springtide_services.stream.checkpointing import Checkpointer
from springtide_services.stream.current_problem import CurrentProblem
from springtide_services.stream.journaled_topics import JournaledTopics
from springtide_services.stream.lost_offsets import skip_lost_events, very_first_position
from springtide_services.stream.record_taking import RecordTaker
from springtide_services.stream.source import KafkaSource
from springtide_services.stream.succession import Succession
from springtide_services.stream.topics import make_missing_topics

logger = structlog.stdlib.get_logger(__name__)


class StreamOpening:
    """Opens the stream, and moves the position past what cannot be read; for the ingest thread.

    Args:
        kafka: The broker and the topic.
        succession: The state whose position counts.
        checkpointer: Is asked for a checkpoint where a restart must find a new position.
        arrivals: When events were last read.
        problem: What the stream waits for.
        journal: As for ``IngestLoop``.
        skip_lost: As for ``IngestLoop``.
        lost_position: As for ``IngestLoop``.

    Attributes:
        is_held: Whether a partition cannot be read on.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        succession: Succession,
        checkpointer: Checkpointer,
        arrivals: Arrivals,
        problem: CurrentProblem,
        *,
        journal: JournaledTopics | None,
        skip_lost: bool,
        lost_position: StreamPosition | None,
    ) -> None:
        self.is_held = False
        self._kafka = kafka
        self._succession = succession
        self._checkpointer = checkpointer
        self._arrivals = arrivals
        self._problem = problem
        self._journal = journal
        self._lost_position = lost_position
        self._skips_lost_once = skip_lost
        self._skips_damage_once = skip_lost  # Until the stream is caught up.

    def open(self, taker: RecordTaker, stopping: threading.Event) -> KafkaSource:
        """Open the topic at the state's position, and return it.

        Args:
            taker: Takes what only the journal has.
            stopping: Set when the journal is to be read no further.

        Raises:
            OffsetsLostError: If the broker does not have the position's events.
            BrokerProblemError: If it refuses, or has no such topic.
        """
        state = self._succession.current
        if self._journal is not None and self._journal.bring_up_to_date(
            *(state, taker.take, stopping),
            skips_lost=self._skips_lost_once,
            has_lost_checkpoints=self._lost_position is not None,
        ):
            self._checkpointer.ask()  # What reads the log again, such as after poison, begins in the topic of now.
        kafka, position = self._kafka, state.position
        if position is None and self._lost_position is not None:
            # Not the state's before it was opened there: else an empty state would be written at the end.
            position = self._lost_position = very_first_position(kafka, self._lost_position)
        if position is None:  # With a position, its topic must exist: a recreated one would lack the events.
            make_missing_topics(kafka, {kafka.topic: kafka.num_partitions})
        source = KafkaSource(kafka, position)
        state.position = source.position  # Partitions that are new begin there.
        self._skips_lost_once = False
        self._problem.clear_if_connected()
        logger.info("reading", **dataclasses.asdict(source.position))
        return source

    def skip_lost(self, error: OffsetsLostError) -> StreamPosition | None:
        """Move the position past the lost events if the settings say so, and return it; else raise the error.

        Raises:
            OffsetsLostError: If nothing may be skipped, or the broker has all events.
            BrokerProblemError: If the broker has no such topic, or does not answer.
        """
        if self._succession.is_passing:
            raise error
        kafka, position = self._kafka, self._succession.current.position or self._lost_position
        is_same_topic = position is not None and position.topic == kafka.topic
        if position is None or not (self._skips_lost_once or (kafka.on_lost == "skip" and is_same_topic)):
            raise error
        last = self._checkpointer.last
        read_until_ms = self._arrivals.read_at_ms or (None if last is None else last.created_ms)
        position, gaps = skip_lost_events(kafka, position, read_until_ms)
        if not gaps:
            raise error
        self._skip_to(position, gaps)
        return position

    def look_at_held(self, source: KafkaSource) -> None:
        """Say which partitions cannot be read on, or skip what cannot be read in them, if the settings say so."""
        if self._skips_damage_once or self._kafka.on_lost == "skip":
            for number in [number for number, held in source.held.items() if held.may_be_skipped]:
                position = self._succession.current.position
                assert position is not None, "what is read has a position"
                first, next_offset = source.skip_damage(number)
                gap = StreamGap(
                    position.topic, number, first, next_offset, "damaged", wall_ms(), self._arrivals.read_at_ms
                )
                next_offsets = {**position.next_offsets, number: next_offset}
                self._skip_to(dataclasses.replace(position, next_offsets=next_offsets), [gap])
        was_held, self.is_held = self.is_held, bool(source.held)
        if self.is_held:
            self._problem.report(source.held_problem())
        elif was_held:
            self._problem.clear()

    def note_caught_up(self) -> None:
        """Note that all is read that can be: damage that comes from now on is skipped only if the settings say so."""
        self._skips_damage_once = self._skips_damage_once and self.is_held

    def _skip_to(self, position: StreamPosition, gaps: Sequence[StreamGap]) -> None:
        for gap in gaps:
            logger.warning("events_skipped", **dataclasses.asdict(gap))
        self._succession.current.skip_to(position, gaps)
        self._checkpointer.ask()  # A restart must find the new position.
