"""Epochs: pieces of time of fixed length, within which decayed counts are whole numbers.

An event's weight grows with its time within its epoch, as in forward decay (Cormode et al. 2009), and is rounded to a
multiple of a fixed quantum. Sums of such numbers are exact, so the order of events does not matter to the last bit, and
what is taken back leaves nothing. A common factor decays each epoch's sums when they are read.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

KEPT = 3  # Epochs kept, the newest included. What is older counts as 0: it has decayed for two whole epochs at least.
FEW = 4  # Events up to which a loop over numbers costs less than calls of NumPy; a live stream has one at a time.
_ORIGIN_MS = 1_262_304_000_000  # 2010-01-01: epochs of 24 years (those of a calendar) begin in 1986, 2010 and 2034.


def newest_of(timestamps_ms: npt.NDArray[np.int64]) -> int | None:
    """Return the newest of some times, int64 ``[n]``; None if there are none."""
    if len(timestamps_ms) <= FEW:
        return max(timestamps_ms.tolist(), default=None)
    return int(timestamps_ms.max())


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

    def split(
        self, timestamps_ms: npt.NDArray[np.int64], oldest: int
    ) -> list[tuple[int, slice | npt.NDArray[np.int64]]]:
        """Return the epochs of events from ``oldest`` on, ascending, each with the positions of its events."""
        if not len(timestamps_ms):
            return []
        if self.is_single:
            return [(0, slice(None))]
        first, last = self.of_time(int(timestamps_ms.min())), self.of_time(int(timestamps_ms.max()))
        if first == last:
            return [(first, slice(None))] if first >= oldest else []
        of_event = (timestamps_ms - _ORIGIN_MS) // self.length_ms
        found = np.unique(of_event[of_event >= oldest]).tolist()
        return [(epoch, np.flatnonzero(of_event == epoch)) for epoch in found]

    def of_time(self, timestamp_ms: int) -> int:
        """Return the epoch of one time."""
        return 0 if self.is_single else (timestamp_ms - _ORIGIN_MS) // self.length_ms

    def quantised(
        self, epoch: int, timestamps_ms: npt.NDArray[np.int64], weights: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """Return the weight of each event of an epoch in quanta, whole numbers, float64 ``[n]``."""
        quanta: npt.NDArray[np.float64] = np.multiply(weights, self.quanta, dtype=np.float64)
        if not self.is_single:
            quanta *= np.exp2((timestamps_ms - (_ORIGIN_MS + epoch * self.length_ms)) * (1.0 / self.half_life_ms))
        np.rint(quanta, out=quanta)
        return quanta

    def quantised_one(self, epoch: int, timestamp_ms: int, weight: float) -> int:
        """Return ``quantised`` of one event, to the last bit."""
        quanta = weight * self.quanta
        if not self.is_single:
            # NumPy's power of 2, as for many events: that of the C library may differ in the last bit.
            quanta *= float(np.exp2((timestamp_ms - (_ORIGIN_MS + epoch * self.length_ms)) * (1.0 / self.half_life_ms)))
        return round(quanta)

    def factor(self, epoch: int, now_ms: int) -> float:
        """Return what one quantum of an epoch counts at a time."""
        if self.is_single:
            return 1.0 / self.quanta
        start_ms = _ORIGIN_MS + epoch * self.length_ms
        return float(2.0 ** ((start_ms - now_ms) / self.half_life_ms)) / self.quanta
