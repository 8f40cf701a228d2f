"""When each attribute of each node was set: one time per node, and the times of attributes that differ from it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.columns import fitted, with_room

NO_TIME = np.iinfo(np.int64).min  # No time: the node has no attributes, or the attribute has no time of its own.
_MANY = 16  # Own times of more than 1/16 of the nodes take less memory as an array than as a dictionary.


@dataclass(frozen=True, slots=True)
class TimesSnapshot:
    """A copy of all times, for the checkpoint; all are in milliseconds since the Unix epoch.

    Attributes:
        of_nodes: int64 ``[num_nodes]``, the time of most attributes of each node; the smallest int64 for none.
        own: By attribute, rows int32 ``[n]`` and times int64 ``[n]`` where the attribute has another time.
    """

    of_nodes: npt.NDArray[np.int64]
    own: dict[str, tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]]

    @classmethod
    def unknown(cls) -> "TimesSnapshot":
        """Return the times of attributes that were set before times were kept: all are 0."""
        return cls(np.zeros(0, np.int64), {})


class AttributeTimes:
    """The event time of each attribute of each node; one thread uses it.

    A catalogue sets all attributes of a node at once, and a feed of prices one of them: so a node has one time, and an
    attribute has times of its own only where they differ. That is 12 bytes per node, and 8 more for each attribute that
    is often set alone.
    """

    __slots__ = ("_dense", "_num_held", "_of_nodes", "_sparse")

    def __init__(self) -> None:
        self._of_nodes = np.empty(0, np.int64)
        self._num_held = np.empty(0, np.int32)  # Attributes that each node has, cleared ones included.
        self._sparse: dict[str, dict[int, int]] = {}
        self._dense: dict[str, npt.NDArray[np.int64]] = {}

    def num_held(self, row: int) -> int:
        """Return the number of attributes that a node has, cleared ones included."""
        return int(self._num_held[row]) if row < len(self._num_held) else 0

    def of(self, name: str, row: int) -> int:
        """Return when an attribute that the node has was set, in milliseconds since the Unix epoch."""
        dense = self._dense.get(name)
        if dense is not None:
            if row < len(dense) and dense[row] != NO_TIME:
                return int(dense[row])
        elif (own := self._sparse.get(name, {}).get(row)) is not None:
            return own
        return int(self._of_nodes[row])

    def set(self, row: int, names: Collection[str], num_new: int, others: Iterator[str], timestamp_ms: int) -> None:
        """Set the time of some attributes of a node.

        Args:
            row: The node.
            names: The attributes.
            num_new: How many of them the node did not have before.
            others: The node's other attributes; read only if needed.
            timestamp_ms: Milliseconds since the Unix epoch.
        """
        self._of_nodes = with_room(self._of_nodes, row + 1, NO_TIME)
        self._num_held = with_room(self._num_held, row + 1, 0)
        of_node, num_held = int(self._of_nodes[row]), int(self._num_held[row])
        num_others = num_held + num_new - len(names)
        self._num_held[row] = num_held + num_new
        if timestamp_ms != of_node:
            if len(names) <= num_others:
                for name in names:
                    self._set_own(name, row, timestamp_ms)
                return
            for name in others if num_others else ():
                if self.of(name, row) == of_node:
                    self._set_own(name, row, of_node)
            self._of_nodes[row] = timestamp_ms
        for name in names:
            self._drop_own(name, row)

    def drop(self, row: int, names: Sequence[str]) -> None:
        """Drop the times of attributes that the node had, and has no longer."""
        if not names:
            return
        for name in names:
            self._drop_own(name, row)
        self._num_held[row] -= len(names)
        if not self._num_held[row]:
            self._of_nodes[row] = NO_TIME

    def forget_attribute(self, name: str) -> None:
        """Forget an attribute that no node has any more."""
        self._sparse.pop(name, None)
        self._dense.pop(name, None)

    @property
    def of_nodes(self) -> npt.NDArray[np.int64]:
        """The time of most attributes of each node, as ``TimesSnapshot`` has it, with spare capacity; not a copy."""
        return self._of_nodes

    @property
    def dense(self) -> dict[str, npt.NDArray[np.int64]]:
        """The times of attributes that often have their own, by name and row, ``NO_TIME`` for none; not a copy."""
        return self._dense

    @property
    def sparse(self) -> dict[str, dict[int, int]]:
        """The times of attributes that seldom have their own, by name and row; not a copy."""
        return self._sparse

    def restore(self, saved: TimesSnapshot, num_held: npt.NDArray[np.int32]) -> None:
        """Restore times; nodes of which none is known have the time 0.

        Args:
            saved: The times.
            num_held: int32 ``[num_nodes]``, attributes that each node has, cleared ones included.
        """
        self._num_held = num_held.copy()
        self._of_nodes = fitted(saved.of_nodes, len(num_held), NO_TIME).copy()
        self._of_nodes[(self._of_nodes == NO_TIME) & (num_held > 0)] = 0
        self._sparse, self._dense = {}, {}
        for name, (rows, times) in saved.own.items():
            if len(rows) <= self._most_sparse:
                self._sparse[name] = dict(zip(rows.tolist(), times.tolist(), strict=True))
            else:  # At once: the first change after a restart must not have to wait for it.
                self._dense[name] = np.full(len(num_held), NO_TIME, np.int64)
                self._dense[name][rows] = times

    @property
    def _most_sparse(self) -> int:
        """How many own times of an attribute are kept as a dictionary."""
        return 64 + len(self._num_held) // _MANY

    def _set_own(self, name: str, row: int, timestamp_ms: int) -> None:
        dense = self._dense.get(name)
        if dense is None:
            sparse = self._sparse.setdefault(name, {})
            sparse[row] = timestamp_ms
            if len(sparse) <= self._most_sparse:
                return
            rows, times = list(sparse), list(sparse.values())
            dense = np.full(len(self._num_held), NO_TIME, np.int64)
            dense[rows] = times
            del self._sparse[name]
        dense = with_room(dense, row + 1, NO_TIME)
        dense[row] = timestamp_ms
        self._dense[name] = dense

    def _drop_own(self, name: str, row: int) -> None:
        if (sparse := self._sparse.get(name)) is not None:
            sparse.pop(row, None)
        elif (dense := self._dense.get(name)) is not None and row < len(dense):
            dense[row] = NO_TIME
