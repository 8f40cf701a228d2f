"""The latest events that had an id, so that the same event counts once; of bounded size."""

import uuid
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from springtide.events import kernels
from springtide.events.marks import EventMarks

_FIRST_CAPACITY = 1_024

T = TypeVar("T", bound=np.generic)
Bools = npt.NDArray[np.bool_]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class SeenEventsSnapshot:
    """The events that are remembered, oldest first, numbered by arrival; of two with one lineage, one goes on.

    Attributes:
        lineage: Name of the history: within one lineage, a number always means the same event.
        first: Number of the oldest event that is remembered.
        keys: uint64 ``[n]``, see ``EventMarks``.
        contents: uint32 ``[n]``.
        published_s: uint32 ``[n]``.
    """

    lineage: str
    first: int
    keys: Uint64s
    contents: Uint32s
    published_s: Uint32s

    @property
    def stop(self) -> int:
        """Number that the next event will have."""
        return self.first + len(self.keys)


class SeenEvents:
    """Says for each event whether it comes for the first time, and remembers it. One thread calls it.

    Two events are the same if their keys are, and if their records were published at most ``max_age_s`` apart. The one
    that comes first counts; those that follow do not renew it. The events are in a ring, 16 bytes each, and a hash
    table says where: 4 bytes for each of its slots, of which there are 1.5 to 3 for each place of the ring.

    Args:
        max_events: Most events that are remembered; then the one that came first is forgotten. At least 1.
        max_age_s: How many seconds apart two records of one event may be published.

    Attributes:
        num_duplicates: Number of events that had come before, since the beginning.
        num_changed: How many of them differed from the one that counts, in time, value, context or attributes.
        lineage: See ``SeenEventsSnapshot``.
    """

    def __init__(self, max_events: int, max_age_s: float) -> None:
        self.num_duplicates = 0
        self.num_changed = 0
        self.lineage = uuid.uuid4().hex
        self._max_events = max_events
        self._max_age_s = max_age_s
        self._first = self._next = 0  # Numbers of the oldest event, and of the next one.
        self._allocate(min(_FIRST_CAPACITY, max_events))

    def __len__(self) -> int:
        return self._next - self._first

    @property
    def num_bytes(self) -> int:
        """Bytes of the ring and of the hash table."""
        return self._keys.nbytes + self._contents.nbytes + self._published_s.nbytes + self._slots.nbytes

    def add(self, marks: EventMarks) -> Bools:
        """Return whether each event comes for the first time, bool ``[n]``, and remember those that do."""
        self._make_room(len(self) + len(marks))
        is_first = np.empty(len(marks), np.bool_)
        next_before = self._next
        self._first, self._next, num_changed = kernels.add_seen(
            marks.keys,
            marks.contents,
            marks.published_s,
            self._max_age_s,
            self._keys,
            self._contents,
            self._published_s,
            self._slots,
            self._first,
            self._next,
            is_first,
        )
        self.num_duplicates += len(marks) - (self._next - next_before)
        self.num_changed += num_changed
        return is_first

    def snapshot(self) -> SeenEventsSnapshot:
        """Return a copy of what is remembered, for a checkpoint."""
        columns = self._unrolled(self._keys), self._unrolled(self._contents), self._unrolled(self._published_s)
        return SeenEventsSnapshot(self.lineage, self._first, *columns)

    def restore(self, snapshot: SeenEventsSnapshot) -> None:
        """Continue from a snapshot; of more events than may be remembered, the latest."""
        num_kept = min(len(snapshot.keys), self._max_events)
        kept = slice(len(snapshot.keys) - num_kept, None)
        self.lineage = snapshot.lineage
        self._first = self._next = 0
        self._make_room(num_kept)
        self._first, self._next = snapshot.stop - num_kept, snapshot.stop
        places = self._places()
        self._keys[places] = snapshot.keys[kept]
        self._contents[places] = snapshot.contents[kept]
        self._published_s[places] = snapshot.published_s[kept]
        kernels.index_seen(self._keys, self._slots, self._first, self._next)

    def _unrolled(self, column: npt.NDArray[T]) -> npt.NDArray[T]:
        """Return a copy of a column of the ring, from the oldest event to the latest."""
        start, num = self._first % len(column), len(self)
        return np.concatenate([column[start : start + num], column[: max(0, start + num - len(column))]])

    def _places(self) -> npt.NDArray[np.int64]:
        return np.arange(self._first, self._next) % len(self._keys)

    def _allocate(self, capacity: int) -> None:
        self._keys = np.zeros(capacity, np.uint64)
        self._contents = np.zeros(capacity, np.uint32)
        self._published_s = np.zeros(capacity, np.uint32)
        self._slots = np.zeros(1 << (3 * capacity // 2).bit_length(), np.uint64)

    def _make_room(self, num_wanted: int) -> None:
        capacity = len(self._keys)
        while capacity < min(num_wanted, self._max_events):
            capacity = min(2 * capacity, self._max_events)
        if capacity == len(self._keys):
            return
        old = self.snapshot()
        self._allocate(capacity)
        places = self._places()
        self._keys[places], self._contents[places] = old.keys, old.contents
        self._published_s[places] = old.published_s
        kernels.index_seen(self._keys, self._slots, self._first, self._next)
