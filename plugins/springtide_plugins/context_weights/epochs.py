"""Epochs: pieces of time of fixed length, within which decayed counts are whole numbers.

An event's weight grows with its time within its epoch, as in forward decay (Cormode et al. 2009), and is rounded to a
multiple of a fixed quantum. Sums of such numbers are exact, so the order of events does not matter to the last bit, and
what is taken back leaves nothing. A common factor decays each epoch's sums when they are read.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

KEPT = 3  # Epochs kept, the newest included. What is older counts as 0: it has decayed for two whole epochs at least.
_MOST_HALF_LIVES = 512.0  # Sums of such weights are finite too.
_FEW = 32  # Times up to which Python finds the newest sooner than NumPy; a live stream has one at a time.
_ORIGIN_MS = 1_262_304_000_000  # 2010-01-01: epochs of 24 years (those of a calendar) begin in 1986, 2010 and 2034.


def newest_of(timestamps_ms: npt.NDArray[np.int64]) -> int | None:
    """Return the newest of some times, int64 ``[n]``; None if there are none."""
    if len(timestamps_ms) <= _FEW:
        return max(timestamps_ms.tolist(), default=None)
    return int(timestamps_ms.max())


def grown(half_lives: float) -> float:
    """Return what a weight of 1 has grown to after some half-lives, or, below 0, has decayed to.

    It stays finite: the times of a damaged state may be any.
    """
    return math.pow(2.0, min(half_lives, _MOST_HALF_LIVES))


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epochs of one half-life, and how weights become whole numbers.

    Attributes:
        half_life_ms: Milliseconds, above 0; ``inf`` for no decay: then there is one epoch.
        half_lives: Length of an epoch, in half-lives.
        quanta: Quanta of an event of weight 1 at the beginning of an epoch.
        is_single: Whether there is one epoch alone, since nothing decays.
        length_ms: Length of an epoch in milliseconds, unless it is single.
    """

    half_life_ms: float
    half_lives: int
    quanta: int
    is_single: bool = field(init=False)
    length_ms: int = field(init=False)

    def __post_init__(self) -> None:
        is_single = not np.isfinite(self.half_life_ms)
        object.__setattr__(self, "is_single", is_single)
        object.__setattr__(self, "length_ms", 1 if is_single else max(1, round(self.half_lives * self.half_life_ms)))

    def of_time(self, timestamp_ms: int) -> int:
        """Return the epoch of one time."""
        return 0 if self.is_single else (timestamp_ms - _ORIGIN_MS) // self.length_ms

    def oldest_kept(self, newest_ms: int) -> int:
        """Return the oldest epoch that is kept while that of a time is the newest."""
        return self.of_time(newest_ms) - KEPT + 1

    def end_of(self, epoch: int) -> float:
        """Return the time at which an epoch ends, milliseconds since the Unix epoch; ``inf`` for the only one."""
        return math.inf if self.is_single else _ORIGIN_MS + (epoch + 1) * self.length_ms

    def as_arguments(self, oldest: int) -> tuple[int, int, int, float, float]:
        """Return what the compiled loops take: origin, length, the oldest epoch, 1 over the half-life, and quanta."""
        length_ms, per_half_life = (0, 0.0) if self.is_single else (self.length_ms, 1.0 / self.half_life_ms)
        return _ORIGIN_MS, length_ms, oldest, per_half_life, float(self.quanta)

    def factor(self, epoch: int, now_ms: int) -> float:
        """Return what one quantum of an epoch counts at a time."""
        if self.is_single:
            return 1.0 / self.quanta
        start_ms = _ORIGIN_MS + epoch * self.length_ms
        return grown((start_ms - now_ms) / self.half_life_ms) / self.quanta
