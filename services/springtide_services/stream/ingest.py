"""The ingest loop: reads the events topic into the live state."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from kafka.errors import KafkaError

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.clock import Deadline, wall_ms
from springtide.errors import BrokerError, CheckpointError
from springtide.events import Refusal
from springtide.events.decoding import Decoder
from springtide.events.model import EventBatch
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide_services.stream.checkpointing import Checkpointer
from springtide_services.stream.dead_letters import DeadLetterWriter
from springtide_services.stream.source import KafkaSource, UnreadableRecordError
from springtide_services.stream.topics import is_reachable, make_missing_topics

logger = structlog.stdlib.get_logger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_TURN_S = 0.05  # Without a broker: between two checks whether a checkpoint is due.


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """The status of ingest.

    Attributes:
        next_offsets: By partition, the offset of the first event that is not yet in the graph.
        lag_events: Number of records in the topic after these offsets; -1 if unknown.
        is_connected: Whether the broker answers.
        dead_letters: Events refused since the start, by reason.
        num_ignored: Valid interactions since the start to which no interaction rule applied.
        last_checkpoint_ms: When the last checkpoint was written, in milliseconds since the Unix epoch, or None.
        failure: Why ingest has ended; None while it runs.
    """

    next_offsets: Mapping[int, int]
    lag_events: int
    is_connected: bool
    dead_letters: Mapping[str, int]
    num_ignored: int
    last_checkpoint_ms: int | None
    failure: BaseException | None


class IngestLoop:
    """Reads the stream in its own thread, which is the one writer of the live state.

    If the broker does not answer, the loop waits for it. An error that waiting cannot heal, such as OffsetsLostError or
    CheckpointLockLostError, ends the loop, and is then in ``status().failure``.

    Args:
        settings: All settings.
        state: The state that events are applied to. If it has a position, reading continues there.
        checkpoints: Where checkpoints are written; None writes none.

    Attributes:
        before_apply: Called by the ingest thread with each batch before it is applied, once the stream is caught up;
            must be quick, and must not raise. None calls nothing.
        on_advance: Called by the ingest thread each time the position has advanced; must be quick. None calls nothing.
    """

    def __init__(self, settings: Settings, state: LiveState, checkpoints: CheckpointStore | None) -> None:
        self.before_apply: Callable[[EventBatch], None] | None = None
        self.on_advance: Callable[[], None] | None = None
        self._settings = settings
        self._state = state
        self._checkpointer = Checkpointer(settings.checkpoint, state, checkpoints)
        self._decoder = Decoder(state.rules, settings.events, state.claim_attribute_kinds)
        self._dead_letters: Counter[str] = Counter()
        self._lag: int | None = None
        self._has_caught_up = False
        self._is_connected = False
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    @property
    def is_caught_up(self) -> bool:
        """Whether the lag was 0 at least once since the start."""
        return self._has_caught_up

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and write a last checkpoint if the state has changed; returns when both are done."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def status(self) -> IngestStatus:
        """Return the status; from any thread."""
        last = self._checkpointer.last
        return IngestStatus(
            next_offsets=dict(self._state.next_offsets),
            lag_events=-1 if self._lag is None else self._lag,
            is_connected=self._is_connected,
            dead_letters=dict(self._dead_letters),
            num_ignored=self._decoder.num_ignored,
            last_checkpoint_ms=None if last is None else last.created_ms,
            failure=self._failure,
        )

    def wait_for(self, next_offsets: Mapping[int, int], deadline: Deadline) -> bool:
        """Wait until the graph has reached the given offsets in all given partitions; from any thread.

        Returns:
            True if it has; False at the deadline, or when ingest has ended before.
        """

        def is_over() -> bool:
            return self._state.has_reached(next_offsets) or not self._thread.is_alive() or self._failure is not None

        with self._moved:
            self._moved.wait_for(is_over, deadline.remaining_s())
        return self._state.has_reached(next_offsets)

    def checkpoint_now(self, timeout_s: float = 60.0) -> Checkpoint:
        """Write a checkpoint between two batches, and return it when it is durable; from any thread but ingest's.

        Raises:
            CheckpointError: If it cannot be written in ``timeout_s`` seconds, or ingest does not run.
        """
        if self._failure is not None or not self._thread.is_alive():
            raise CheckpointError(f"no checkpoint can be taken: ingest does not run ({self._failure or 'stopped'})")
        try:
            return self._checkpointer.ask().result(timeout_s)
        except TimeoutError as error:
            raise CheckpointError(f"no checkpoint was written within {timeout_s:g} s") from error

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stopping.is_set():
                reached = self._state.position
                try:
                    if not self._wait_for_broker():
                        break
                    with self._open() as source, DeadLetterWriter(self._settings.kafka) as dead_letters:
                        reached = source.position
                        self._read(source, dead_letters)
                except (KafkaError, BrokerError) as error:
                    logger.warning("broker_lost", error=f"{type(error).__name__}: {error}", retry_in_s=pause_s)
                finally:
                    self._is_connected, self._lag = False, None
                self._pause(pause_s)
                has_moved = self._state.position is not reached
                pause_s = _FIRST_PAUSE_S if has_moved else min(2 * pause_s, _LONGEST_PAUSE_S)
            self._checkpointer.finish()
        except BaseException as error:
            logger.error("ingest_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
            self._failure = error
            self._checkpointer.abandon(error)
        finally:
            with self._moved:
                self._moved.notify_all()

    def _read(self, source: KafkaSource, dead_letters: DeadLetterWriter) -> None:
        """Read until ``stop`` is called, or until the source must be opened again."""
        state, timeout_ms = self._state, self._settings.kafka.poll_timeout_ms
        while not self._stopping.is_set() and source.check():
            try:
                records = source.poll(timeout_ms)
            except UnreadableRecordError as error:
                bad = error.record
                self._dead_letters.update(dead_letters.write([Refusal(bad, "undecodable", str(error))]))
                state.advance({bad.partition: bad.offset + 1})
                self._tell_moved()
                return
            if records:
                batches, refusals = self._decoder.decode(records, wall_ms())
                if refusals:  # Before the position moves past them: a crash repeats dead letters, never loses one.
                    self._dead_letters.update(dead_letters.write(refusals))
                for batch in batches:
                    if self.before_apply is not None and self._has_caught_up:
                        self.before_apply(batch)
                    state.apply(batch)
                # Records of one partition are in order, so the last one's offset wins.
                state.advance({record.partition: record.offset + 1 for record in records})
                self._tell_moved()
            self._checkpointer.write_if_due()
            self._lag = source.lag()
            self._has_caught_up = self._has_caught_up or self._lag == 0

    def _open(self) -> KafkaSource:
        kafka, position = self._settings.kafka, self._state.position
        wanted = {kafka.dead_letter_topic: 1}
        if position is None:  # With a position, its topic must exist: a recreated one would lack the events.
            wanted[kafka.topic] = kafka.num_partitions
        make_missing_topics(kafka, wanted)
        source = KafkaSource(kafka, position)
        self._state.position = source.position
        self._is_connected = True
        logger.info(
            "reading",
            topic=source.position.topic,
            topic_id=source.position.topic_id,
            next_offsets=source.position.next_offsets,
        )
        return source

    def _wait_for_broker(self) -> bool:
        """Wait for a broker; return False if ``stop`` was called before one took a connection."""
        while not self._stopping.is_set():
            if is_reachable(self._settings.kafka):
                return True
            self._pause(_LONGEST_PAUSE_S / 4)
        return False

    def _pause(self, pause_s: float) -> None:
        """Wait for a time, or until ``stop`` is called; write checkpoints that become due."""
        deadline = Deadline.after(pause_s)
        while not deadline.is_over() and not self._stopping.wait(_TURN_S):
            self._checkpointer.write_if_due()

    def _tell_moved(self) -> None:
        with self._moved:
            self._moved.notify_all()
        if self.on_advance is not None:
            self.on_advance()
