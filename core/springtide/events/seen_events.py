"""The latest events that had an id, so that the same event counts once; of bounded size."""

import uuid
import weakref
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
_Ring = tuple[Uint64s, Uint32s, Uint32s]  # Keys, contents, and times when they were published.


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


class LateSeenEvents:
    """The events that are remembered when this is made, of which any part is copied later, by any thread.

    The thread that adds events tells which places of the ring it is about to use anew. A ring that grows is another.

    Args:
        lineage: See ``SeenEventsSnapshot``.
        first: Number of the oldest event that is remembered.
        stop: Number that the next event will have.
        ring: The ring's columns: keys, contents, and times.
    """

    __slots__ = ("__weakref__", "_kept", "_ring", "first", "lineage", "stop")

    def __init__(self, lineage: str, first: int, stop: int, ring: _Ring) -> None:
        self.lineage = lineage
        self.first = first
        self.stop = stop
        self._ring = ring
        self._kept: list[tuple[int, int, _Ring]] = []  # Numbers from and to, and what was in their places.

    def keep(self, ring: _Ring, start: int, stop: int) -> None:
        """Keep the events of some numbers, whose places are about to be used anew; called by the thread that does."""
        start, stop = max(start, self.first), min(stop, self.stop)
        if ring[0] is self._ring[0] and start < stop:
            self._kept.append((start, stop, _part_of(ring, start, stop)))

    def part(self, start: int, stop: int) -> SeenEventsSnapshot:
        """Return the events of the numbers [start, stop)."""
        columns = _part_of(self._ring, start, stop)
        for kept_start, kept_stop, kept in self._kept.copy():  # Asked for after the copy: it has all that has changed.
            first, last = max(start, kept_start), min(stop, kept_stop)
            if first < last:
                at, of = slice(first - start, last - start), slice(first - kept_start, last - kept_start)
                columns[0][at], columns[1][at], columns[2][at] = kept[0][of], kept[1][of], kept[2][of]
        return SeenEventsSnapshot(self.lineage, start, *columns)


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
        self._late_copies: weakref.WeakSet[LateSeenEvents] = weakref.WeakSet()

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
        next_before, capacity = self._next, len(self._keys)
        for late in self._late_copies:
            late.keep(self._ring, self._next - capacity, min(self._next, self._next - capacity + len(marks)))
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
        """Return a copy of what is remembered."""
        return SeenEventsSnapshot(self.lineage, self._first, *_part_of(self._ring, self._first, self._next))

    def late_snapshot(self) -> LateSeenEvents:
        """Return what is remembered now, for a checkpoint to copy later; one that is dropped costs nothing more."""
        late = LateSeenEvents(self.lineage, self._first, self._next, self._ring)
        self._late_copies.add(late)
        return late

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

    @property
    def _ring(self) -> _Ring:
        return self._keys, self._contents, self._published_s

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


def _part_of(ring: _Ring, start: int, stop: int) -> _Ring:
    """Return a copy of the events of the numbers [start, stop)."""
    keys, contents, published_s = ring
    return _unrolled(keys, start, stop), _unrolled(contents, start, stop), _unrolled(published_s, start, stop)


def _unrolled(column: npt.NDArray[T], start: int, stop: int) -> npt.NDArray[T]:
    at, num = start % len(column), stop - start
    return np.concatenate([column[at : at + num], column[: max(0, at + num - len(column))]])
