"""The times of the lock of a checkpoint URL, and how long its holder has been silent."""

import time
from dataclasses import dataclass
from typing import Self

from springtide.checkpoint.leases import Lease


@dataclass(frozen=True, slots=True)
class LockTiming:
    """The times of the lock's protocol, in seconds.

    Attributes:
        heartbeat_s: Between two heartbeats of the holder.
        stale_s: Without a heartbeat for this long, the holder counts as dead. Six heartbeats: one slow request to an
            object store takes no lock away.
        settle_s: On stores without conditional writes, from writing one's name to reading it back: of two that write at
            once, the last one wins.
        poll_s: Between two looks at a holder that may be dead.
    """

    heartbeat_s: float = 5.0
    stale_s: float = 30.0
    settle_s: float = 1.0
    poll_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_s < self.stale_s or self.settle_s < 0 or self.poll_s <= 0:
            raise ValueError(f"wanted 0 < heartbeat_s < stale_s, settle_s >= 0 and poll_s > 0, got {self}")

    @classmethod
    def replacing_after(cls, stale_s: float) -> Self:
        """Return the times by which a holder is replaced that is silent for so long."""
        usual = cls()
        return cls(stale_s / 6, stale_s, min(usual.settle_s, stale_s / 6), min(usual.poll_s, stale_s / 12))


class HolderWatch:
    """How long a holder has given no sign of life, by our own monotonic clock, so that wall clocks need not agree."""

    def __init__(self) -> None:
        self._seen: Lease | None = None
        self._since_s = 0.0

    def silent_s(self, lease: Lease) -> float:
        """Return for how many seconds a lease has been as it is now, as far as it was looked at."""
        if lease != self._seen:
            self._seen, self._since_s = lease, time.monotonic()
        return time.monotonic() - self._since_s
