"""Tombstones: until when each deleted node is deleted, kept without its id."""

import hashlib
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph import digest_kernels
from springtide.graph.columns import grown
from springtide.graph.late_columns import LateColumn

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

DIGEST_BYTES = 16  # Of 10^9 ids, two share a digest with a probability of 10^-21.
NEVER_MS = np.iinfo(np.int64).min  # Before any event: what was never deleted, or never seen.
_SLACK = 8  # A bound may be exceeded by 1/8 before the oldest go, so that dropping them costs O(1) for each.
_ROOM = 4  # An array that must grow gets room for 1/4 more.
_MIN_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class TombstonesSnapshot:
    """A copy of the tombstones of one node type, for the checkpoint.

    Attributes:
        node_type: Node type.
        digests: uint8 ``[n, DIGEST_BYTES]``, digests of the ids.
        deleted_ms: int64 ``[n]``, event time of each node's latest deletion.
    """

    node_type: str
    digests: npt.NDArray[np.uint8]
    deleted_ms: Int64s


class Tombstones:
    """The latest deletion of each node, by the digest of its id: of a forgotten id no trace may stay.

    One thread adds and looks up. A tombstone takes 30 to 45 bytes: 24 of its own, the rest is room and the table.

    Args:
        keep_ms: How long a tombstone is kept, counted back from the newest event time; None for no such bound.
        max_count: Most tombstones to keep; beyond it the oldest deletions go first. None for no bound.
    """

    def __init__(self, keep_ms: int | None = None, max_count: int | None = None) -> None:
        self.keep_ms = keep_ms
        self.max_count = max_count
        self._of_types: dict[str, _LatestTimes] = {}  # By node type; none is empty.
        self._oldest_ms: int | None = None  # No tombstone is older.
        self._late_copies: weakref.WeakSet[LateTombstones] = weakref.WeakSet()

    def __len__(self) -> int:
        return sum(map(len, self._of_types.values()))

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays, spare capacity included."""
        return sum(of_type.num_bytes for of_type in self._of_types.values())

    def has_any(self, node_type: str) -> bool:
        """Return whether any node of the type has a tombstone."""
        return node_type in self._of_types

    def add(self, node_type: str, ids: Sequence[str], deleted_ms: Sequence[int]) -> None:
        """Note deletions of nodes of one type, at least one; of several of a node the latest counts."""
        of_type = self._of_types.get(node_type)
        if of_type is None:
            of_type = self._of_types[node_type] = _LatestTimes()
        digests = _digests(ids)
        for late in self._late_copies:
            late.keep(of_type, digests)
        of_type.add(digests, np.array(deleted_ms, np.int64))
        oldest_ms = min(deleted_ms)
        self._oldest_ms = oldest_ms if self._oldest_ms is None else min(oldest_ms, self._oldest_ms)

    def deleted_ms(self, node_type: str, ids: Sequence[str]) -> Int64s:
        """Return until when each node is deleted, inclusive, int64 ``[n]``; ``NEVER_MS`` without a tombstone."""
        of_type = self._of_types.get(node_type)
        if of_type is None or not len(ids):
            return np.full(len(ids), NEVER_MS, np.int64)
        return of_type.of(_digests(ids))

    def expire(self, newest_ms: int | None) -> None:
        """Drop the tombstones beyond the bounds, once enough of them are.

        Args:
            newest_ms: Newest event time; None before the first event.
        """
        if self.keep_ms is not None and newest_ms is not None and self._oldest_ms is not None:
            start_ms = newest_ms - self.keep_ms
            if self._oldest_ms < start_ms - self.keep_ms // _SLACK:
                self._keep_since(start_ms)
        if self.max_count is not None and len(self) > self.max_count + self.max_count // _SLACK:
            times_ms = np.concatenate([of_type.times_ms for of_type in self._of_types.values()])
            excess = len(times_ms) - self.max_count
            self._keep_since(int(np.partition(times_ms, excess)[excess]))

    def snapshot(self) -> tuple[TombstonesSnapshot, ...]:
        """Return a copy of all tombstones."""
        return self.late_snapshot().copied()

    def late_snapshot(self) -> "LateTombstones":
        """Return the tombstones as they are now, for another thread to copy; one that is dropped costs nothing more."""
        late = LateTombstones(self._of_types)
        self._late_copies.add(late)
        return late

    def restore(self, saved: Sequence[TombstonesSnapshot]) -> None:
        """Continue from what ``snapshot`` returned."""
        self._of_types = {
            each.node_type: _LatestTimes(np.array(each.digests).reshape(-1).view(np.uint64), each.deleted_ms.copy())
            for each in saved
            if len(each.digests)
        }
        self._oldest_ms = min((int(each.times_ms.min()) for each in self._of_types.values()), default=None)

    def _keep_since(self, start_ms: int) -> None:
        kept = {node_type: of_type.since(start_ms) for node_type, of_type in self._of_types.items()}
        self._of_types = {node_type: of_type for node_type, of_type in kept.items() if len(of_type)}
        self._oldest_ms = start_ms if self._of_types else None


class LateTombstones:
    """The tombstones as they are when this is made, copied later by another thread.

    Args:
        of_types: The latest deletions, by node type.
    """

    __slots__ = ("__weakref__", "_copy", "_of_types")

    def __init__(self, of_types: "Mapping[str, _LatestTimes]") -> None:
        # Digests are only ever added after these, or are in other arrays then.
        self._of_types = [
            (node_type, of_type, of_type.halves, LateColumn(of_type.times_ms))
            for node_type, of_type in of_types.items()
        ]
        self._copy: tuple[TombstonesSnapshot, ...] | None = None

    def __len__(self) -> int:
        """Number of node types with tombstones."""
        return len(self._of_types)

    def keep(self, of_type: "_LatestTimes", halves: Uint64s) -> None:
        """Keep the times of digests, uint64 ``[2 * n]``, that are about to change."""
        if self._copy is None:
            for _, each, _, times_ms in self._of_types:
                if each is of_type:
                    places = of_type.places(halves)
                    times_ms.keep(places[places >= 0])

    def copied(self) -> tuple[TombstonesSnapshot, ...]:
        """Return the copy; the same one whenever it is asked for, by one thread."""
        if self._copy is None:
            self._copy = tuple(
                TombstonesSnapshot(node_type, halves.copy().view(np.uint8).reshape(-1, DIGEST_BYTES), times_ms.copied())
                for node_type, _, halves, times_ms in self._of_types
            )
        return self._copy


class _LatestTimes:
    """The latest time of each digest: arrays in the order in which the digests came, and a hash table that says where.

    Args:
        halves: uint64 ``[2 * n]``, the two halves of each digest, distinct; None for none.
        times_ms: int64 ``[n]``, their times.
    """

    __slots__ = ("_halves", "_num", "_slots", "_times_ms")

    def __init__(self, halves: Uint64s | None = None, times_ms: Int64s | None = None) -> None:
        self._num = 0 if times_ms is None else len(times_ms)
        self._halves = np.empty(0, np.uint64) if halves is None else halves
        self._times_ms = np.empty(0, np.int64) if times_ms is None else times_ms
        self._slots = np.zeros(1, np.uint32)  # Place in the arrays, counted from 1; 0 if the slot is free.
        self._resize(self._num)

    def __len__(self) -> int:
        return self._num

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays, spare capacity included."""
        return self._halves.nbytes + self._times_ms.nbytes + self._slots.nbytes

    @property
    def halves(self) -> Uint64s:
        """The digests, uint64 ``[2 * n]``; not a copy."""
        return self._halves[: 2 * self._num]

    @property
    def times_ms(self) -> Int64s:
        """The times, int64 ``[n]``; not a copy."""
        return self._times_ms[: self._num]

    def add(self, halves: Uint64s, times_ms: Int64s) -> None:
        """Add times of digests, ``[2 * n]`` and ``[n]``; of several times of one digest the latest stays."""
        if self._num + len(times_ms) > len(self._times_ms):
            self._resize(self._num + len(times_ms))
        self._num = digest_kernels.add_times(halves, times_ms, self._halves, self._times_ms, self._slots, self._num)

    def of(self, halves: Uint64s) -> Int64s:
        """Return the time of each digest, int64 ``[n]``; ``NEVER_MS`` if there is none."""
        times_ms = np.full(len(halves) // 2, NEVER_MS, np.int64)
        digest_kernels.look_up_times(halves, self._halves, self._times_ms, self._slots, times_ms)
        return times_ms

    def places(self, halves: Uint64s) -> Int64s:
        """Return where each digest is in the arrays, int64 ``[n]``; -1 if it is not."""
        places = np.empty(len(halves) // 2, np.int64)
        digest_kernels.look_up_places(halves, self._halves, self._slots, places)
        return places

    def since(self, start_ms: int) -> "_LatestTimes":
        """Return a copy without earlier times."""
        is_kept = self.times_ms >= start_ms
        return _LatestTimes(self.halves.reshape(-1, 2)[is_kept].reshape(-1), self.times_ms[is_kept])

    def _resize(self, num_wanted: int) -> None:
        """Give the arrays room for ``num_wanted`` digests and some more, and the table slots for them."""
        capacity = max(_MIN_CAPACITY, num_wanted + num_wanted // _ROOM)
        self._halves = grown(self._halves, 2 * self._num, 2 * capacity)
        self._times_ms = grown(self._times_ms, self._num, capacity)
        num_slots = 1 << (3 * capacity // 2).bit_length()  # At most 2/3 of them are in use.
        if num_slots != len(self._slots):
            self._slots = np.zeros(num_slots, np.uint32)
            digest_kernels.index_digests(self._halves, self._slots, self._num)


def _digests(ids: Sequence[str]) -> Uint64s:
    """Return the two halves of the digest of each id, uint64 ``[2 * n]``, read-only."""
    return np.frombuffer(b"".join(map(_digest, ids)), np.uint64)


def _digest(id_: str) -> bytes:
    return hashlib.blake2b(id_.encode(), digest_size=DIGEST_BYTES).digest()
