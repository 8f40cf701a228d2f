"""Columns as they are now, copied later by another thread while the one that writes goes on."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)
V = TypeVar("V")

ROWS_AT_ONCE = 2_048  # Of a dictionary, copied within 0.3 ms, in which no other Python thread runs.
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


def in_parts(
    entries: Mapping[int, V], num_rows: int, kept: Mapping[int, Mapping[int, Any]], number: int
) -> Iterator[tuple[list[int], list[V]]]:
    """Yield rows below ``num_rows`` and what they had, part by part; other threads run between the parts.

    Args:
        entries: What the rows have by row, of which some may not be there.
        num_rows: Number of rows.
        kept: By row, what a row had that has changed since; a thread that changes one puts it there before.
        number: Which of the entries that are kept for a row is wanted; if there is none, the row had nothing.
    """
    if len(entries) <= ROWS_AT_ONCE:
        few: dict[int, V | None] = dict(entries)
        few |= {row: each.get(number) for row, each in dict(kept).items()}
        found = {row: entry for row, entry in sorted(few.items()) if entry is not None and row < num_rows}
        yield list(found), list(found.values())
        return
    for start in range(0, num_rows, ROWS_AT_ONCE):
        rows = range(start, min(start + ROWS_AT_ONCE, num_rows))
        part = list(map(entries.get, rows))
        # Asked for after the part was read: whatever has changed meanwhile is among these.
        if kept:
            part = [
                entry if (was := kept.get(row)) is None else was.get(number)
                for row, entry in zip(rows, part, strict=True)
            ]
        yield (
            [row for row, entry in zip(rows, part, strict=True) if entry is not None],
            [entry for entry in part if entry is not None],
        )
        let_others_run()


def let_others_run() -> None:
    """Let a thread have the lock of the interpreter that waits for it: one that merely gives it up takes it again.

    Else a thread that waits gets it after 5 ms, each time, and applying a batch takes and gives it many times.
    """
    time.sleep(_PAUSE_S)
