"""The ingest loop: reads the events topic into the live state."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import structlog
from kafka.errors import KafkaError

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.clock import Deadline
from springtide.errors import (
    BrokerError,
    CheckpointError,
    CheckpointLockLostError,
    JournalError,
    OffsetsLostError,
    PoisonError,
    RebuildError,
)
from springtide.events import EventDecoder
from springtide.settings.model import Settings
from springtide.state import LiveState, StateSnapshot, StreamPosition
from springtide_services.stream.arrivals import Arrivals
from springtide_services.stream.broker_errors import Problem, explain
from springtide_services.stream.checkpointing import Checkpointer
from springtide_services.stream.current_problem import CurrentProblem, LastingProblem
from springtide_services.stream.dead_letters import DeadLetterWriter
from springtide_services.stream.group_offsets import GroupOffsets
from springtide_services.stream.ignored_events import IgnoredEvents
from springtide_services.stream.ingest_hooks import IngestHooks
from springtide_services.stream.ingest_status import IngestStatus
from springtide_services.stream.journaled_topics import JournaledTopics
from springtide_services.stream.known_lag import KnownLag
from springtide_services.stream.poison import Poison
from springtide_services.stream.poll_parts import parts_of
from springtide_services.stream.record_taking import RecordTaker
from springtide_services.stream.source import KafkaSource
from springtide_services.stream.stream_opening import StreamOpening
from springtide_services.stream.succession import Succession
from springtide_services.stream.topics import check_connection
from springtide_services.stream.writer_role import WriterRole

logger = structlog.stdlib.get_logger(__name__)

_LAST_READ_S = 5.0  # With a journal: how long what was published before the stop is read, at most.
_QUIET_END_S = 0.25  # With a journal: nothing came for this long. The embedded broker's fetches take up to 50 ms.
_HOLD_S = 0.5  # Between two looks whether a lost stream is to go on.
_TURN_S = 0.05  # Without a broker: between two checks whether a checkpoint is due.


class IngestLoop:
    """Reads the stream in its own thread, which is the one writer of the live state.

    If the broker does not answer, or refuses, the loop says so in ``status().problem`` and tries again. An error that
    ends the stream, such as OffsetsLostError or CheckpointLockLostError, is then in ``status().failure``. After
    OffsetsLostError, checkpoints are still written on request: they hold events that the broker may no longer have.

    Args:
        settings: All settings.
        state: The state that events are applied to. If it has a position, reading continues there.
        checkpoints: Where checkpoints are written; None writes none.
        skip_lost: Whether to skip events that are lost when the stream is first opened, and to accept another topic.
        decoders: Decoders of other tools' records, by name; none if None.
        lost_position: How far a state had read that was lost, if this empty one takes its place: the stream is read
            from its very first event, which the broker must still have. None for any other state.
        journal: Where records are kept until checkpoints hold them; a new topic then carries on the former one, and
            ``stop`` reads what was published before. None for a broker that keeps them itself.
        role: Whether this process writes checkpoints and dead letters now; None if it always does.

    Attributes:
        hooks: What others do when ingest has come to a point of its work.
        poison: What happens if events break the state.
    """

    def __init__(
        self,
        settings: Settings,
        state: LiveState,
        checkpoints: CheckpointStore | None,
        *,
        skip_lost: bool = False,
        decoders: Mapping[str, EventDecoder] | None = None,
        lost_position: StreamPosition | None = None,
        journal: JournaledTopics | None = None,
        role: WriterRole | None = None,
    ) -> None:
        self.hooks = IngestHooks()
        self.poison = Poison()
        self._settings = settings
        self._succession = Succession(state)
        self._role = role
        why_not = None if role is None or role.is_writer else role.reader_error()
        self._checkpointer = Checkpointer(settings.checkpoint, state, checkpoints, why_not)
        self._checkpointer.on_durable = self._note_durable
        self._group_offsets = GroupOffsets(settings)
        self._journal = journal
        # With a journal, what was published before ``stop`` is read: until when, and for how long nothing may come.
        self._last_turn: tuple[Deadline, Deadline] | None = None
        self._letter_writer = DeadLetterWriter(settings.kafka)
        self._letter_writer.is_counting = why_not is not None
        self._checkpointer.before_write = self._letter_writer.file.forget_deleted
        self._problem = CurrentProblem()
        self._lag = KnownLag()
        self._is_holding = False
        self._is_connected = False
        last = self._checkpointer.last
        self._arrivals = Arrivals(None if last is None or state.position is None else last.created_ms)
        self._taker = RecordTaker(
            *(settings, self._succession, self._arrivals, self.poison, self._letter_writer, self.hooks, decoders)
        )
        self._taker.on_moved = self._tell_moved
        self._opening = StreamOpening(
            *(settings.kafka, self._succession, self._checkpointer, self._arrivals, self._problem),
            journal=journal,
            skip_lost=skip_lost,
            lost_position=lost_position,
        )
        self._ignored_events = IgnoredEvents()
        self._ignored_events.look_at(state)
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    @property
    def is_caught_up(self) -> bool:
        """Whether the lag was 0 at least once since the start."""
        return self._arrivals.has_caught_up

    @property
    def last_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, of this process or an earlier one; None if there is none."""
        return self._checkpointer.last

    @property
    def is_writer(self) -> bool:
        """Whether this process writes checkpoints and dead letters now."""
        return self._role is None or self._role.is_writer

    @property
    def has_earlier_events(self) -> bool:
        """Whether events were read that no log has any more: the broker forgets, and was started again."""
        return self._journal is not None and self._journal.has_earlier_events

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and write a last checkpoint if the state has changed; returns when both are done.

        Where a part of a plugin does not return, neither can be done: the thread ends with the process.
        """
        self._stopping.set()
        while self._thread.is_alive():
            self._thread.join(_TURN_S)
            if (blocked := self._blocked_by()) is not None:
                logger.error("ingest_left_behind", error=blocked.problem.message)
                return
        if self._journal is not None:
            self._journal.close()

    def status(self) -> IngestStatus:
        """Return the status; from any thread."""
        last, served = self._checkpointer.last, self._succession.served
        num_events, lag_age_s, silent_partitions = self._lag.read()
        return IngestStatus(
            next_offsets=dict(served.next_offsets),
            lag_events=num_events,
            lag_age_s=lag_age_s,
            silent_partitions=silent_partitions,
            is_connected=self._is_connected,
            problem=self._problem.lasting or self._blocked_by(),
            gaps=served.gaps,
            dead_letters=self._taker.dead_letters,
            num_letters_not_written=self._letter_writer.num_not_written,
            num_duplicates=served.seen_events.num_duplicates,
            num_changed_duplicates=served.seen_events.num_changed,
            num_applied=self._taker.num_applied,
            checkpoints=self._checkpointer.counts,
            num_ignored=self._taker.num_ignored,
            last_checkpoint_ms=None if last is None else last.created_ms,
            failure=self._failure,
        )

    def wait_for(self, next_offsets: Mapping[int, int], deadline: Deadline) -> bool:
        """Wait until the graph has reached the given offsets in all given partitions; from any thread.

        Returns:
            True if it has; False at the deadline, or when ingest has ended before.
        """

        def is_over() -> bool:
            has_ended = not self._thread.is_alive() or self._failure is not None
            return has_ended or self._succession.served.has_reached(next_offsets)

        with self._moved:
            self._moved.wait_for(is_over, deadline.remaining_s())
        return self._succession.served.has_reached(next_offsets)

    def succeed(self, heir: LiveState, publish: Callable[[], None]) -> Future[None]:
        """Let another state, read from the same topic, take the place of this one; from any thread.

        The ingest thread stops to apply events to this state, reads the other one up to the same position, and calls
        ``publish``; from then on it applies events to the other one. The answer is done then, or with the error for
        which this state stays.
        """
        done = self._succession.ask(heir, publish)
        if not self._thread.is_alive() or (self._failure is not None and not self._is_holding):
            self._refuse_successions()
        return done

    def _refuse_successions(self) -> None:
        self._succession.refuse(f"ingest does not run ({self._failure or 'stopped'})")

    def checkpoint_now(self, timeout_s: float = 60.0) -> Checkpoint:
        """Write a checkpoint between two batches, and return it when it is durable; from any thread but ingest's.

        Raises:
            CheckpointError: If it cannot be written in ``timeout_s`` seconds, or ingest does not run.
        """
        if not self._thread.is_alive():
            raise CheckpointError(f"no checkpoint can be taken: ingest does not run ({self._failure or 'stopped'})")
        try:
            return self._checkpointer.ask().result(timeout_s)
        except TimeoutError as error:
            raise CheckpointError(f"no checkpoint was written within {timeout_s:g} s") from error

    def _run(self) -> None:
        try:
            self._read_until_stopped()
            self._give_up_succession(RebuildError("ingest has ended"))
            self._checkpointer.finish()
        except BaseException as error:
            self._fail(error)
        finally:
            self._letter_writer.close()
            self._tell_ended()
            self._refuse_successions()

    def _read_until_stopped(self) -> None:
        """Open the stream and read, again and again; a lost stream is held until ``stop`` is called.

        Raises:
            Exception: Why the stream cannot go on, and no checkpoint may be written.
        """
        while not self._stopping.is_set():
            if self._succession.is_late():
                self._give_up_succession(RebuildError("it could not be read as far as the graph that is served"))
            if self._succession.begin():
                self._taker.follow_state()
            reached = self._state.position
            try:
                reached = self._open_and_read()
            except PoisonError as error:
                if self.poison.on_poison is None or self._give_up_succession(error):
                    raise
                self._await_whole_state(error)
                continue
            except OffsetsLostError as error:
                if self._give_up_succession(error):
                    continue
                self._log_failure(error)
                if not self._hold():
                    return
                self._failure = None
                continue
            except JournalError as error:  # Nothing of it was applied: it is read again.
                self._problem.report(Problem("disk", str(error)))
            except (KafkaError, BrokerError) as error:
                self._letter_writer.close()  # Its connection may be lost too.
                self._problem.report(explain(error, self._settings.kafka))
            self._pause(self._problem.next_pause_s(has_moved=self._state.position is not reached))

    def _open_and_read(self) -> StreamPosition | None:
        """Read until the source must be opened again; return the position at which it was opened."""
        check_connection(self._settings.kafka)
        try:
            with self._opening.open(self._taker, self._stopping) as source:
                self._is_connected = True
                reached = source.position
                self._read(source)
                return reached
        except OffsetsLostError as error:
            return self._opening.skip_lost(error)
        finally:
            self._is_connected = False
            self._lag.forget()

    def count_dead_letters(self, counts: Mapping[str, int]) -> None:
        """Add to the status what another thread has put away, by reason."""
        self._taker.count_dead_letters(counts)

    def _await_whole_state(self, error: PoisonError) -> None:
        """Serve the broken state on, but write nothing of it, until a whole one is to follow."""
        logger.error("events_poisoned", error=str(error), exc_info=error)
        self._problem.report(Problem("poison", str(error)))
        self._checkpointer.taint(error)
        self._is_holding = True
        self.poison.wait(self._stopping, lambda: self._succession.is_asked)
        self._is_holding = False

    def _hold(self) -> bool:
        """Keep the graph until ``stop`` is called or another state is to follow, and return whether one is to."""
        self._is_holding = True
        while not self._stopping.is_set() and not self._succession.is_asked:
            self._pause(_HOLD_S)
        self._is_holding = False
        return not self._stopping.is_set()

    def _fail(self, error: BaseException) -> None:
        """End the stream by an error after which no checkpoint may be written."""
        self._give_up_succession(error)
        self._log_failure(error)
        self._refuse_successions()
        self._checkpointer.abandon(error)
        try:
            while not self._stopping.wait(_TURN_S):
                self._checkpointer.raise_if_lock_lost()
        except CheckpointLockLostError as lost:
            self._failure = lost

    def _log_failure(self, error: BaseException) -> None:
        problem = explain(error, self._settings.kafka)
        logger.error("ingest_failed", error=problem.message, exc_info=error if problem.kind == "internal" else None)
        self._problem.end_with(problem)
        self._failure = error
        self._tell_ended()  # Nobody waits any longer.

    def _tell_ended(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def _read(self, source: KafkaSource) -> None:
        """Read until ``stop`` is called, or until the source must be opened again."""
        state, timeout_ms = self._state, self._settings.kafka.poll_timeout_ms
        while not self._must_end() and source.check():
            if self._succession.end_if_reached():
                self._checkpointer.follow(state)
            if self._succession.is_asked or self._succession.is_late():
                return
            records = source.poll(timeout_ms)
            if records and self._last_turn is not None:
                self._last_turn = self._last_turn[0], Deadline.after(_QUIET_END_S)
            broken = source.take_broken()
            self._taker.put_away(broken)
            for part in parts_of(records, is_live=self._arrivals.has_caught_up):
                if self._journal is not None:
                    self._journal.append(part)
                self._taker.take(part)
            self._taker.pass_over(broken)
            with self.poison.naming(state):
                if self._arrivals.has_caught_up or not records:  # Else more follow at once, as far as is known.
                    state.settle()
                state.reclaim(time.monotonic())
            self._opening.look_at_held(source)
            self._write_if_due()
            lag = source.lag()
            self._lag.note(lag)
            if lag.num_events == lag.num_held:  # All is read that can be.
                self._arrivals.has_caught_up = True
                self._opening.note_caught_up()
                if not self._opening.is_held:
                    self._problem.clear()

    def _must_end(self) -> bool:
        """Return whether to read no further: after ``stop``, and with a journal once all that came before it is read.

        A broker that forgets is stopped after us.
        """
        if not self._stopping.is_set():
            return False
        if self._journal is None:
            return True
        if self._last_turn is None:
            self._last_turn = Deadline.after(_LAST_READ_S), Deadline.after(_QUIET_END_S)
        return any(deadline.is_over() for deadline in self._last_turn)

    def _blocked_by(self) -> LastingProblem | None:
        return None if self.hooks.blocked_by is None else self.hooks.blocked_by()

    def _note_durable(self, checkpoint: Checkpoint, snapshot: StateSnapshot) -> None:
        """Tell others that a checkpoint is on the disk; called by the thread that wrote it."""
        self._group_offsets.commit(checkpoint)
        if self._journal is not None:
            self._journal.prune()
        if self.hooks.on_durable is not None:
            self.hooks.on_durable(snapshot)

    @property
    def _state(self) -> LiveState:
        return self._succession.current

    def _give_up_succession(self, error: BaseException) -> bool:
        has_given_up = self._succession.give_up(error)
        if has_given_up:
            self._taker.follow_state()
        return has_given_up

    def _pause(self, pause_s: float) -> None:
        """Wait for a time, or until ``stop`` is called; write checkpoints that become due."""
        deadline = Deadline.after(pause_s)
        while not deadline.is_over() and not self._stopping.wait(_TURN_S):
            self._write_if_due(may_read=False)

    def _write_if_due(self, *, may_read: bool = True) -> None:
        """Take up a role that has changed, then begin to write a checkpoint if one is due."""
        if self._role is not None and (may_read or self._role.is_writer) and not self._succession.is_passing:
            self._role.turn(self._state, self, self._taker.write_missed_letters)
        self._checkpointer.write_if_due()

    def become_writer(self) -> None:
        """Write checkpoints and dead letters from now on; called by the ingest thread."""
        self._letter_writer.is_counting = False
        self._checkpointer.become_writer()

    def become_reader(self, reason: CheckpointError) -> None:
        """Write nothing from now on; called by the ingest thread."""
        self._letter_writer.is_counting = True
        self._checkpointer.become_reader(reason)

    def _tell_moved(self) -> None:
        if self.hooks.on_advance is not None:
            self.hooks.on_advance()
        if not self._opening.is_held:
            self._problem.clear()
        self._arrivals.note_read()
        self._ignored_events.look_at(self._state)
        with self._moved:
            self._moved.notify_all()
