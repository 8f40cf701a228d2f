"""Columns as they are now, copied later by another thread while the one that writes goes on."""

import time
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)
V = TypeVar("V")

_ROWS_AT_ONCE = 16_384  # Of a dictionary, copied within 2 ms, in which no other Python thread runs.
_PAUSE_S = 1e-4  # Another thread that waits for the lock of the interpreter has it by then.


class LateColumn(Generic[T]):
    """A column as it is when this is made, of which a copy is made later, by another thread.

    The thread that writes tells which entries it is about to change. It costs as much as it changes.

    Args:
        column: The entries that are wanted, ``[n]``; not a copy. Another array may take its place meanwhile.
    """

    __slots__ = ("_column", "_kept")

    def __init__(self, column: npt.NDArray[T]) -> None:
        self._column: npt.NDArray[T] | None = column
        self._kept: list[tuple[npt.NDArray[np.integer], npt.NDArray[T]]] = []  # Rows, and what they had.

    def keep(self, rows: npt.NDArray[np.integer]) -> None:
        """Keep the entries of some rows, 0 or more, that are about to be changed; called by the thread that writes."""
        column = self._column
        if column is None or not len(column):
            return
        inside = rows[rows < len(column)]
        if len(inside):
            self._kept.append((inside, column[inside]))

    def copied(self) -> npt.NDArray[T]:
        """Return the copy; called once."""
        assert self._column is not None, "a column is copied once"
        copy = self._column.copy()
        # Asked for after the copy: whatever has changed meanwhile is among these. Of one row, the first is what was.
        for rows, entries in reversed(self._kept.copy()):
            copy[rows] = entries
        self._column = None
        self._kept.clear()
        return copy


def copied_in_parts(entries: Mapping[int, V], num_rows: int) -> dict[int, V]:
    """Return a copy of what is held by row, for rows below ``num_rows``; other threads run between its parts.

    One that changes while this runs is copied as it is before or after the change.
    """
    if len(entries) <= _ROWS_AT_ONCE:
        return {row: entry for row, entry in dict(entries).items() if row < num_rows}
    copy: dict[int, V] = {}
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        rows = range(start, min(start + _ROWS_AT_ONCE, num_rows))
        copy |= {row: entry for row in rows if (entry := entries.get(row)) is not None}
        let_others_run()
    return copy


def let_others_run() -> None:
    """Let a thread have the lock of the interpreter that waits for it: one that merely gives it up takes it again."""
    time.sleep(_PAUSE_S)
