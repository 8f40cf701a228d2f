"""The status of ingest, for the server and its status call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from springtide.state import StreamGap
from springtide_services.stream.checkpointing import CheckpointCounts
from springtide_services.stream.current_problem import LastingProblem

StreamHealth = Literal["reading", "catching_up", "behind", "silent", "waiting", "ended"]
"""What the stream does: only while it is `reading`, its health is SERVING."""

_LONGEST_SILENCE_S = 30.0  # A lag that has not been known for longer may be any.


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """The status of ingest.

    Attributes:
        next_offsets: By partition, the offset of the first event that is not yet in the graph.
        lag_events: Number of records in the topic after these offsets; -1 if unknown, or if a broker that leads a
            partition has not said for 3 s where it ends.
        lag_age_s: How old the number is, or would be, in seconds: since when the slowest broker has not answered.
        silent_partitions: Partitions whose broker has not answered for 3 s, ascending.
        is_connected: Whether the topic is being read.
        problem: Why it is not being read, or why the stream does not go on; None if it does.
        gaps: The latest gaps in the stream, oldest first.
        dead_letters: Events refused since the start, by reason.
        num_letters_not_written: Of these events, those that the dead-letter topic did not take.
        num_duplicates: Events that were ignored since the beginning, because events of the same id had come before.
        num_changed_duplicates: How many of them differed from the event that counts.
        num_applied: Events applied to the graph since the start; what a rebuilt state reads again counts once.
        checkpoints: How often checkpoints were written, and how long it took.
        num_ignored: Valid interactions since the start to which no interaction rule applied.
        last_checkpoint_ms: When the last checkpoint was written, in milliseconds since the Unix epoch, or None.
        failure: Why ingest has ended; None while it runs.
    """

    next_offsets: Mapping[int, int]
    lag_events: int
    lag_age_s: float
    silent_partitions: tuple[int, ...]
    is_connected: bool
    problem: LastingProblem | None
    gaps: Sequence[StreamGap]
    dead_letters: Mapping[str, int]
    num_letters_not_written: int
    num_duplicates: int
    num_changed_duplicates: int
    num_applied: int
    checkpoints: CheckpointCounts
    num_ignored: int
    last_checkpoint_ms: int | None
    failure: BaseException | None

    def health(self, *, has_caught_up: bool, max_lag_events: int | None) -> StreamHealth:
        """Return what the stream does.

        Args:
            has_caught_up: Whether the lag was 0 at least once since the start.
            max_lag_events: How many events it may be behind; None for any number.
        """
        if self.failure is not None or (self.problem is not None and self.problem.is_final):
            return "ended"
        if self.problem is not None or not self.is_connected:
            return "waiting"
        if not has_caught_up:
            return "catching_up"
        if self.lag_events < 0 and self.lag_age_s > _LONGEST_SILENCE_S:
            return "silent"
        return "behind" if max_lag_events is not None and self.lag_events > max_lag_events else "reading"
