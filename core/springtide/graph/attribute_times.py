"""When each attribute of each node was set: one time per node, and the times of attributes that differ from it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.columns import fitted, with_room
from springtide.graph.row_columns import RowColumn
from springtide.graph.row_entries import RowNumbers

NO_TIME = np.iinfo(np.int64).min  # No time: the node has no attributes, or the attribute has no time of its own.


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

    __slots__ = ("_num_held", "_of_nodes", "_own")

    def __init__(self) -> None:
        self._of_nodes = np.empty(0, np.int64)
        self._num_held = np.empty(0, np.int32)  # Attributes that each node has, cleared ones included.
        self._own: dict[str, RowColumn[np.int64]] = {}

    def num_held(self, row: int) -> int:
        """Return the number of attributes that a node has, cleared ones included."""
        return int(self._num_held[row]) if row < len(self._num_held) else 0

    def of(self, name: str, row: int) -> int:
        """Return when an attribute that the node has was set, in milliseconds since the Unix epoch."""
        own = self._own.get(name)
        time: int | None = None if own is None else own.get(row)
        return int(self._of_nodes[row]) if time is None else time

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
        self._own.pop(name, None)

    def shrink(self) -> None:
        """Take less memory where only few times differ any more."""
        for name, own in list(self._own.items()):
            own.shrink(len(self._num_held))
            if not own.num_held:
                del self._own[name]

    @property
    def of_nodes(self) -> npt.NDArray[np.int64]:
        """The time of most attributes of each node, as ``TimesSnapshot`` has it, with spare capacity; not a copy."""
        return self._of_nodes

    @property
    def own(self) -> dict[str, RowColumn[np.int64]]:
        """The times of attributes that have their own, by name; not a copy."""
        return self._own

    def restore(self, saved: TimesSnapshot, num_held: npt.NDArray[np.int32]) -> None:
        """Restore times; nodes of which none is known have the time 0.

        Args:
            saved: The times.
            num_held: int32 ``[num_nodes]``, attributes that each node has, cleared ones included.
        """
        self._num_held = num_held.copy()
        self._of_nodes = fitted(saved.of_nodes, len(num_held), NO_TIME).copy()
        self._of_nodes[(self._of_nodes == NO_TIME) & (num_held > 0)] = 0
        self._own = {
            name: RowColumn.of(RowNumbers(rows, times), np.int64, NO_TIME, len(num_held))
            for name, (rows, times) in saved.own.items()
        }

    def _set_own(self, name: str, row: int, timestamp_ms: int) -> None:
        if name not in self._own:
            self._own[name] = RowColumn(np.int64, NO_TIME)
        self._own[name].set(row, timestamp_ms, self._num_held)

    def _drop_own(self, name: str, row: int) -> None:
        own = self._own.get(name)
        if own is not None:
            own.unset(row)
