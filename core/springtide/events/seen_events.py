"""The latest events that had an id, so that the same event counts once; of bounded size."""

import uuid
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

from springtide.events.marks import EventMarks

_FIRST_CAPACITY = 1_024
_FREE = np.uint64(0)
_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOWER = np.uint64(2**32 - 1)

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
        is_first = np.ones(len(marks), np.bool_)
        self._first, self._next, num_changed = _add(
            *(marks.keys, marks.contents, marks.published_s, self._max_age_s),
            *(self._keys, self._contents, self._published_s, self._slots, self._first, self._next, is_first),
        )
        self.num_duplicates += len(marks) - int(np.count_nonzero(is_first))
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
        _index(self._keys, self._slots, self._first, self._next)

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
        _index(self._keys, self._slots, self._first, self._next)


@njit(cache=True, nogil=True)
def _slot(slots: Uint64s, keys: Uint64s, key: np.uint64) -> int:
    """Return the slot of a key, or the free slot where it belongs; the table is never full.

    A slot has the upper half of a key and, in its lower half, the place in the ring, counted from 1; 0 if it is free.
    So the ring, which is elsewhere in memory, is only looked at where the upper halves are equal.
    """
    mask = np.uint64(len(slots) - 1)  # Its length is a power of two.
    slot = (key >> _HALF) & mask
    while slots[slot]:
        if slots[slot] >> _HALF == key >> _HALF and keys[(slots[slot] & _LOWER) - _ONE] == key:
            break
        slot = (slot + _ONE) & mask
    return int(slot)


@njit(cache=True, nogil=True)
def _free(slots: Uint64s, freed: int) -> None:
    """Free a slot, and move those after it that would not be found any more (Knuth 1973, 6.4, algorithm R)."""
    mask = np.uint64(len(slots) - 1)
    hole = np.uint64(freed)
    slot = hole
    slots[hole] = _FREE
    while True:
        slot = (slot + _ONE) & mask
        if slots[slot] == _FREE:
            return
        home = (slots[slot] >> _HALF) & mask
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            slots[hole] = slots[slot]
            slots[slot] = _FREE
            hole = slot


@njit(cache=True, nogil=True)
def _entry(key: np.uint64, place: int) -> np.uint64:
    return ((key >> _HALF) << _HALF) | np.uint64(place + 1)


@njit(cache=True, nogil=True)
def _place(entry: np.uint64) -> int:
    return int(entry & _LOWER) - 1


@njit(cache=True, nogil=True)
def _index(keys: Uint64s, slots: Uint64s, first: int, stop: int) -> None:
    """Fill an empty table with the events of the ring; of two with one key, the later one is found."""
    for number in range(first, stop):
        place = number % len(keys)
        slots[_slot(slots, keys, keys[place])] = _entry(keys[place], place)


@njit(cache=True, nogil=True)
def _add(
    keys: Uint64s,
    contents: Uint32s,
    published_s: Uint32s,
    max_age_s: float,
    ring_keys: Uint64s,
    ring_contents: Uint32s,
    ring_published_s: Uint32s,
    slots: Uint64s,
    first: int,
    stop: int,
    is_first: Bools,
) -> tuple[int, int, int]:
    """Mark the events that came before, and put the others into the ring.

    Returns:
        The numbers of the oldest and of the next event, and how many differed from the one that came before.
    """
    num_changed = 0
    for number in range(len(keys)):
        key, time_s = keys[number], published_s[number]
        slot = _slot(slots, ring_keys, key)
        place = _place(slots[slot])
        if place >= 0 and abs(np.int64(time_s) - np.int64(ring_published_s[place])) <= max_age_s:
            is_first[number] = False
            num_changed += contents[number] != ring_contents[place]
            continue
        place = stop % len(ring_keys)
        if stop - first == len(ring_keys):
            oldest = _slot(slots, ring_keys, ring_keys[place])
            if _place(slots[oldest]) == place:  # Else a later event of the same key has taken its slot.
                _free(slots, oldest)
            first += 1
            slot = _slot(slots, ring_keys, key)
        ring_keys[place], ring_contents[place], ring_published_s[place] = key, contents[number], time_s
        slots[slot] = _entry(key, place)
        stop += 1
    return first, stop, num_changed
