"""Time as a value: wall time in milliseconds, durations as monotonic deadlines."""

import math
import time
from dataclasses import dataclass

MS_PER_SECOND = 1_000
MS_PER_HOUR = 3_600_000
MS_PER_DAY = 86_400_000


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
