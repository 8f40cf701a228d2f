"""Time as a value: wall time in milliseconds, the stream's own time, durations as monotonic deadlines."""

import math
import time
from dataclasses import dataclass
from typing import Literal

MS_PER_SECOND = 1_000
MS_PER_HOUR = 3_600_000
MS_PER_DAY = 86_400_000

ClockName = Literal["auto", "wall", "stream"]
MomentSource = Literal["given", "wall", "stream"]

# A week: what a weekly export delivers late is still a live stream, and of trends the half-life of a week has faded to
# half at most. Data that ended longer ago than that is looked at as of its end.
LIVE_WITHIN_MS = 7 * MS_PER_DAY


def wall_ms() -> int:
    """Return the time now as milliseconds since the Unix epoch; only outermost callers use it, and pass it on."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock by which something must be done.

    Attributes:
        at_s: Seconds on ``time.monotonic()``'s clock; infinite for never, as ``checkpoint.every_s = inf`` says.

    Raises:
        ValueError: If the moment is not a number, or the budget of ``after`` is negative.
    """

    at_s: float

    def __post_init__(self) -> None:
        if math.isnan(self.at_s):
            raise ValueError("at_s: wanted a number of seconds, got NaN")

    @classmethod
    def after(cls, budget_s: float) -> "Deadline":
        """Return the deadline ``budget_s`` seconds from now; 0 or more."""
        if budget_s < 0:
            raise ValueError(f"budget_s: wanted 0 or more seconds, got {budget_s}")
        return cls(time.monotonic() + budget_s)

    def remaining_s(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self.at_s - time.monotonic())

    def is_over(self) -> bool:
        """Return whether no time is left."""
        return time.monotonic() >= self.at_s


@dataclass(frozen=True, slots=True)
class AsOf:
    """The moment that an answer speaks of.

    Attributes:
        timestamp_ms: Milliseconds since the Unix epoch.
        source: ``given`` by the request, or read from the ``wall`` clock or the ``stream``'s.
    """

    timestamp_ms: int
    source: MomentSource


class StreamClock:
    """The time of a stream, and the clock that requests without a time are answered by. One thread notes, any reads.

    The stream's time is that of its newest event, and goes on with the wall clock from when that event came. So it is
    the wall clock less a number of milliseconds, which is the least that a newest event came late. That number never
    grows, so the stream's time never jumps back; and it is kept in checkpoints, so a restart changes nothing. The
    stream's time is never ahead of the wall clock, whatever an event says.

    ``auto`` is the stream's time if the newest event was more than a week old when it came (``LIVE_WITHIN_MS``), else
    the wall clock: a live stream that falls silent for a month is still answered as of today.

    Args:
        name: Which clock answers: ``auto``, ``wall`` or ``stream``.

    Attributes:
        behind_ms: How far the stream's time is behind the wall clock, 0 or more; None before the first event.
    """

    def __init__(self, name: ClockName = "auto") -> None:
        self.behind_ms: int | None = None
        self._name = name

    def note(self, newest_ms: int | None, came_ms: int) -> None:
        """Note the newest event.

        Args:
            newest_ms: Event time of the newest event so far; None before the first.
            came_ms: When it came, by the wall clock; at the latest, if that is not known better.
        """
        if newest_ms is not None:
            self.note_behind(max(0, came_ms - newest_ms))

    def note_behind(self, behind_ms: int | None) -> None:
        """Note how far the stream was behind the wall clock at some time, such as when a checkpoint was written."""
        former_ms = self.behind_ms
        if behind_ms is not None and (former_ms is None or behind_ms < former_ms):
            self.behind_ms = behind_ms

    def read(self, now_ms: int) -> AsOf:
        """Return the moment of a request without a time.

        Args:
            now_ms: The wall clock.
        """
        behind_ms = self.behind_ms  # Once: another thread writes it.
        if self._follows_stream(behind_ms):
            return AsOf(now_ms - (behind_ms or 0), "stream")
        return AsOf(now_ms, "wall")

    def when_it_happened(self, timestamps_ms: list[int], now_ms: int) -> list[int]:
        """Return what this clock says at the times of events that come now: their times, if it follows the stream.

        By the wall clock, events of a stream that is far behind happen as much later, and never after now.

        Args:
            timestamps_ms: Event times.
            now_ms: The wall clock.
        """
        behind_ms = self.behind_ms
        if not behind_ms or self._follows_stream(behind_ms):
            return timestamps_ms
        return [max(time_ms, min(time_ms + behind_ms, now_ms)) for time_ms in timestamps_ms]

    def _follows_stream(self, behind_ms: int | None) -> bool:
        if behind_ms is None or self._name == "wall":
            return False
        return self._name == "stream" or behind_ms > LIVE_WITHIN_MS
