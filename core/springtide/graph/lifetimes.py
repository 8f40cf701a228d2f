"""The lifetimes of nodes: which deletion each one follows, and when it was first and last heard of."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph import kernels
from springtide.graph.columns import bounds, fitted, with_room
from springtide.graph.late_columns import LateColumn
from springtide.graph.tombstones import NEVER_MS

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LifetimesSnapshot:
    """A copy of the lifetimes of one node type, for the checkpoint.

    Attributes:
        newest_ms: int64 ``[num_nodes]``, newest event time of each node; ``NEVER_MS`` where there is none.
        born_rows: int32 ``[n]``, rows of the nodes that follow a deletion.
        born_ms: int64 ``[n]``, event times of these deletions.
        first_ms: int64 ``[num_nodes]``, first event time of each node, likewise; None in a checkpoint of an earlier
            release.
    """

    newest_ms: Int64s
    born_rows: npt.NDArray[np.int32]
    born_ms: Int64s
    first_ms: Int64s | None = None


class LateLifetimes:
    """The lifetimes of the first nodes as they are when this is made, copied later by another thread.

    Args:
        newest_ms: int64 ``[n]``, newest event times, at most ``num_nodes``.
        first_ms: int64 ``[n]``, first event times.
        deleted_ms: int64 ``[m]``, times of the deletions that nodes follow, at most ``num_nodes``.
        num_nodes: Number of nodes.
    """

    __slots__ = ("__weakref__", "_copy", "_deleted_ms", "_first_ms", "_newest_ms", "_num_nodes")

    def __init__(self, newest_ms: Int64s, first_ms: Int64s, deleted_ms: Int64s, num_nodes: int) -> None:
        self._newest_ms, self._first_ms = LateColumn(newest_ms), LateColumn(first_ms)
        self._deleted_ms = LateColumn(deleted_ms)
        self._num_nodes = num_nodes
        self._copy: LifetimesSnapshot | None = None

    def keep_times(self, rows: npt.NDArray[np.int32]) -> None:
        """Keep the newest and the first event times of nodes that are about to change."""
        self._newest_ms.keep(rows)
        self._first_ms.keep(rows)

    def keep_deleted(self, rows: npt.NDArray[np.int32]) -> None:
        """Keep the deletions that nodes follow, which are about to change."""
        self._deleted_ms.keep(rows)

    def copied(self) -> LifetimesSnapshot:
        """Return the copy; the same one whenever it is asked for, by one thread."""
        if self._copy is None:
            newest_ms, first_ms = (
                fitted(column.copied(), self._num_nodes, NEVER_MS) for column in (self._newest_ms, self._first_ms)
            )
            deleted_ms = self._deleted_ms.copied()
            rows = np.flatnonzero(deleted_ms != NEVER_MS).astype(np.int32)
            self._copy = LifetimesSnapshot(newest_ms, rows, deleted_ms[rows], first_ms)
        return self._copy


class Lifetimes:
    """For each node of one type, the time of the deletion that it follows, its first and its newest event time.

    A node may be deleted and come again: what came after the deletion is another node, though it has the same id. One
    thread writes; any thread may ask for ``born_ms``.
    """

    __slots__ = ("_deleted_ms", "_first_ms", "_late_copies", "_newest_ms")

    def __init__(self) -> None:
        self._late_copies: weakref.WeakSet[LateLifetimes] = weakref.WeakSet()
        self._newest_ms = np.empty(0, np.int64)
        self._first_ms = np.empty(0, np.int64)
        self._deleted_ms = np.empty(0, np.int64)  # Without entries until a node follows a deletion.

    @property
    def has_born(self) -> bool:
        """Whether a node has ever followed a deletion."""
        return len(self._deleted_ms) > 0

    def born_ms(self, row: int) -> int:
        """Return the event time of the deletion that the node follows; 0 if it follows none."""
        deleted_ms = self.deleted_ms(row)
        return 0 if deleted_ms == NEVER_MS else deleted_ms

    def all_born_ms(self, num_nodes: int) -> Int64s:
        """Return ``born_ms`` of the first rows, int64 ``[num_nodes]``; a copy."""
        deleted_ms = fitted(self._deleted_ms, num_nodes, NEVER_MS)
        return np.where(deleted_ms == NEVER_MS, 0, deleted_ms)

    def deleted_ms(self, row: int) -> int:
        """Return until when what was known of the node is deleted, inclusive; ``NEVER_MS`` if it was never deleted."""
        deleted_ms = self._deleted_ms
        return int(deleted_ms[row]) if 0 <= row < len(deleted_ms) else NEVER_MS

    def all_deleted_ms(self, rows: npt.NDArray[np.int32]) -> Int64s:
        """Return ``deleted_ms`` of each row, int64 ``[n]``; ``NEVER_MS`` for row -1."""
        all_ms = np.full(len(rows), NEVER_MS, np.int64)
        known = (rows >= 0) & (rows < len(self._deleted_ms))
        all_ms[known] = self._deleted_ms[rows[known]]
        return all_ms

    def newest_ms(self, row: int) -> int:
        """Return the newest event time of the node; ``NEVER_MS`` if there is none."""
        return int(self._newest_ms[row]) if row < len(self._newest_ms) else NEVER_MS

    def all_newest_ms(self, num_nodes: int) -> Int64s:
        """Return ``newest_ms`` of the first rows, int64 ``[num_nodes]``; a copy."""
        return fitted(self._newest_ms, num_nodes, NEVER_MS).copy()

    def first_ms(self, row: int) -> int:
        """Return the first event time of the node, see ``all_first_ms``; ``NEVER_MS`` if there is none."""
        first_ms = int(self._first_ms[row]) if row < len(self._first_ms) else NEVER_MS
        return first_ms if first_ms == NEVER_MS else max(first_ms, self.deleted_ms(row))

    def all_first_ms(self, num_nodes: int) -> Int64s:
        """Return the first event time of each of the first rows, int64 ``[num_nodes]``; ``NEVER_MS`` for none; a copy.

        A node that follows a deletion came then, if what is known is from before. Events that were dropped by age still
        count. Any thread may ask; a time that is noted meanwhile may be missing.
        """
        first_ms = fitted(self._first_ms, num_nodes, NEVER_MS).copy()
        if self.has_born:
            is_known = first_ms != NEVER_MS
            np.maximum(first_ms, fitted(self._deleted_ms, num_nodes, NEVER_MS), out=first_ms, where=is_known)
        return first_ms

    def note(self, rows: npt.NDArray[np.int32], timestamps_ms: Int64s) -> None:
        """Note the event times of nodes, ``[n]`` each, with n at least 1."""
        num_rows = bounds(rows)[1] + 1
        self._first_ms = with_room(self._first_ms, num_rows, NEVER_MS)
        self._newest_ms = with_room(self._newest_ms, num_rows, NEVER_MS)
        for late in self._late_copies:
            late.keep_times(rows)
        rows, timestamps_ms = np.ascontiguousarray(rows), np.ascontiguousarray(timestamps_ms)
        kernels.note_times(self._newest_ms, self._first_ms, rows, timestamps_ms)

    def bear(self, rows: Sequence[int], deleted_ms: Sequence[int]) -> None:
        """Note that nodes follow a deletion, with n at least 1."""
        born = with_room(self._deleted_ms, max(rows) + 1, NEVER_MS)
        for late in self._late_copies:
            late.keep_deleted(np.array(rows, np.int32))
        born[list(rows)] = deleted_ms
        self._deleted_ms = born

    def forget(self, row: int) -> None:
        """Forget the times of a node."""
        for late in self._late_copies:
            late.keep_times(np.array([row], np.int32))
            late.keep_deleted(np.array([row], np.int32))
        for column in (self._newest_ms, self._first_ms, self._deleted_ms):
            column[row : row + 1] = NEVER_MS

    def snapshot(self, num_nodes: int) -> LifetimesSnapshot:
        """Return a copy of the times of the first rows."""
        return self.late_snapshot(num_nodes).copied()

    def late_snapshot(self, num_nodes: int) -> LateLifetimes:
        """Return the times of the first rows as they are now, to be copied later; one that is dropped costs nothing."""
        newest_ms, first_ms = self._newest_ms[:num_nodes], self._first_ms[:num_nodes]
        late = LateLifetimes(newest_ms, first_ms, self._deleted_ms[:num_nodes], num_nodes)
        self._late_copies.add(late)
        return late

    def restore(self, saved: LifetimesSnapshot) -> None:
        """Continue from what ``snapshot`` returned.

        Without first times, each node was first heard of at its newest time, until ``note`` says otherwise.
        """
        self._newest_ms = saved.newest_ms.copy()
        self._first_ms = self._newest_ms.copy() if saved.first_ms is None else saved.first_ms.copy()
        if len(saved.born_rows):
            self.bear(saved.born_rows.tolist(), saved.born_ms.tolist())
