"""What the stream waits for now: kept for the status, and logged once and then seldom."""

from dataclasses import dataclass

import structlog

from springtide.clock import Deadline, wall_ms
from springtide_services.stream.broker_errors import Problem

logger = structlog.stdlib.get_logger(__name__)

_LOG_AGAIN_S = 60.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 0.5
_LONGEST_REFUSED_PAUSE_S = 5.0  # If the broker refuses: somebody must change something first.


@dataclass(frozen=True, slots=True)
class LastingProblem:
    """A problem that lasts.

    Attributes:
        problem: Why the stream does not go on.
        since_ms: Since when, in milliseconds since the Unix epoch.
        is_final: Whether the stream has ended; False while it tries again.
    """

    problem: Problem
    since_ms: int
    is_final: bool


class CurrentProblem:
    """The problem that the stream has now. One thread reports and clears it; any thread may read it."""

    def __init__(self) -> None:
        self._lasting: LastingProblem | None = None
        self._next_log = Deadline.after(0.0)
        self._pause_s = _FIRST_PAUSE_S

    @property
    def lasting(self) -> LastingProblem | None:
        """The problem, or None while there is none."""
        return self._lasting

    def report(self, problem: Problem) -> None:
        """Note a problem for which the stream waits; the same kind of problem keeps the time of its first report."""
        former = self._lasting
        is_new = former is None or former.problem.kind != problem.kind
        self._lasting = LastingProblem(problem, wall_ms() if is_new or former is None else former.since_ms, False)
        if is_new or self._next_log.is_over():
            self._next_log = Deadline.after(_LOG_AGAIN_S)
            logger.warning("stream_waits", kind=problem.kind, error=problem.message)

    def end_with(self, problem: Problem) -> None:
        """Note the problem that has ended the stream."""
        self._lasting = LastingProblem(problem, wall_ms(), True)

    def clear_if_connected(self) -> None:
        """Forget the problem if it was that the broker did not answer."""
        if self._lasting is not None and self._lasting.problem.heals:
            self.clear()

    def clear(self) -> None:
        """Forget the problem."""
        if self._lasting is not None:
            logger.info("stream_goes_on", after_s=(wall_ms() - self._lasting.since_ms) / 1_000)
            self._lasting = None

    def next_pause_s(self, *, has_moved: bool) -> float:
        """Return how long to wait before the stream is tried again, in seconds: longer each time that nothing came."""
        lasting = self._lasting
        longest_s = _LONGEST_PAUSE_S if lasting is None or lasting.problem.heals else _LONGEST_REFUSED_PAUSE_S
        pause_s = _FIRST_PAUSE_S if has_moved else self._pause_s
        self._pause_s = min(2 * pause_s, longest_s)
        return pause_s
