"""What other parts of a server do when ingest has come to a point of its work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from springtide.events import RawEvent
from springtide.events.model import EventBatch
from springtide.state import StateSnapshot
from springtide_services.stream.current_problem import LastingProblem


@dataclass(eq=False, slots=True)
class IngestHooks:
    """What ingest calls; each must be quick, and must not raise. None calls nothing.

    Attributes:
        before_apply: Called by the ingest thread with each batch before it is applied, once the stream is caught up.
        on_advance: Called by the ingest thread as soon as the position has advanced, before all else.
        on_applied: Called by the ingest thread with records that were applied, and when they were taken, in nanoseconds
            since the Unix epoch.
        on_durable: Called by the thread that writes checkpoints with what it has written.
        blocked_by: Returns what others wrote that the ingest thread waits for, and that does not return; by any thread.
    """

    before_apply: Callable[[EventBatch], None] | None = None
    on_advance: Callable[[], None] | None = None
    on_applied: Callable[[Sequence[RawEvent], int], None] | None = None
    on_durable: Callable[[StateSnapshot], None] | None = None
    blocked_by: Callable[[], LastingProblem | None] | None = None
