"""Columns of numbers that many rows have, or few: an array in the one case, a dictionary in the other."""

from collections.abc import Sized
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from springtide.graph.columns import fitted, with_room
from springtide.graph.row_entries import RowNumbers

T = TypeVar("T", bound=np.generic)

_FEW = 64  # Rows that are never too many for a dictionary.
_ENTRY_BYTES = 128  # About what a dictionary takes for a row and its number: from there on, an array is smaller.


class RowColumn(Generic[T]):
    """A number for each of some rows. One thread writes; any thread reads, and sees the latest numbers.

    Few numbers are a dictionary, many an array over all rows. Which of the two never changes within one call, and a
    reader takes it once: the one that another has replaced stays as it was.

    Args:
        dtype: Type of the numbers.
        fill: What stands in the array for a row without a number; it may be NaN.

    Attributes:
        num_held: Number of rows that have a number.
    """

    __slots__ = ("_dtype", "_entries", "_fill", "_most", "num_held")

    def __init__(self, dtype: type[T], fill: float) -> None:
        self._dtype = np.dtype(dtype)
        self._fill = fill
        self._entries: dict[int, Any] | npt.NDArray[T] = {}
        self._most = _FEW  # Rows that a dictionary may have; more, as soon as that is asked, if there are many rows.
        self.num_held = 0

    @classmethod
    def of(cls, saved: RowNumbers[Any], dtype: type[T], fill: float, num_rows: int) -> "RowColumn[T]":
        """Return a column of numbers that were saved.

        Args:
            saved: The numbers, of at most ``num_rows`` rows.
            dtype: Type of the numbers.
            fill: What stands for no number.
            num_rows: Number of rows.

        Raises:
            ValueError: If it has numbers of other rows.
        """
        column = cls(dtype, fill)
        if saved.rows is None and len(saved.numbers) <= num_rows:
            column.num_held = int(np.count_nonzero(saved.are_held(fill)))
            if column.num_held > column._most_few(num_rows):
                column._entries = saved.dense(num_rows, fill).astype(dtype, copy=False)
                return column
        rows, numbers = saved.held(fill)
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < num_rows:
            raise ValueError(f"wanted rows below {num_rows}, got {rows.min()} to {rows.max()}")
        column.num_held = len(rows)
        if len(rows) <= column._most_few(num_rows):
            column._entries = dict(zip(rows.tolist(), numbers.tolist(), strict=True))
        else:  # At once: the first change after a restart must not have to wait for it.
            column._entries = RowNumbers(rows, numbers.astype(dtype, copy=False)).dense(num_rows, fill)
        return column

    @property
    def entries(self) -> dict[int, Any] | npt.NDArray[T]:
        """The numbers by row, or as an array with spare capacity; not a copy."""
        return self._entries

    def get(self, row: int) -> Any:
        """Return the number of a row, or None if it has none; ``row`` is at least 0."""
        entries = self._entries
        if isinstance(entries, dict):
            return entries.get(row)
        if row >= len(entries):
            return None
        number = entries.item(row)
        return None if number == self._fill or number != number else number

    def at(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[T]:
        """Return the numbers of rows, ``[n]``, with what stands for none.

        Args:
            rows: Integers ``[n]``, at least 0.
        """
        entries = self._entries
        if isinstance(entries, dict):
            fill = self._fill
            return np.array([entries.get(row, fill) for row in rows.tolist()], self._dtype)
        found = np.full(len(rows), self._fill, self._dtype)
        is_inside = rows < len(entries)
        found[is_inside] = entries[rows[is_inside]]
        return found

    def held(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[T]]:
        """Return the rows that have a number, int32 ``[n]``, ascending, and their numbers, ``[n]``; copies."""
        entries = self._entries
        if isinstance(entries, dict):
            return _sorted(entries.copy(), self._dtype)  # A copy first: the thread that writes goes on.
        return RowNumbers(None, entries).held(self._fill)

    def dense(self, num_rows: int) -> npt.NDArray[T]:
        """Return the numbers of the first rows, ``[num_rows]``, with what stands for none; perhaps no copy."""
        entries = self._entries
        if not isinstance(entries, dict):
            return fitted(entries, num_rows, self._fill)
        rows, numbers = _sorted(entries.copy(), self._dtype)
        is_inside = rows < num_rows
        return RowNumbers(rows[is_inside], numbers[is_inside]).dense(num_rows, self._fill)

    def set(self, row: int, number: float, rows: Sized) -> None:
        """Give a row a number, which is not the one that stands for none.

        Args:
            row: The row.
            number: The number.
            rows: Has as many entries as there are rows now, this one included; seldom asked.
        """
        entries = self._entries
        if isinstance(entries, dict):
            if row not in entries:
                self.num_held += 1
                if self.num_held > self._most:
                    num_rows = len(rows)
                    self._most = self._most_few(num_rows)
                    if self.num_held > self._most:
                        saved = RowNumbers(*_sorted(entries, self._dtype))
                        entries = saved.dense(max(num_rows, row + 1), self._fill)
        else:
            if row >= len(entries):
                entries = with_room(entries, row + 1, self._fill)
            former = entries.item(row)
            if former == self._fill or former != former:
                self.num_held += 1
        entries[row] = number
        self._entries = entries

    def unset(self, row: int) -> None:
        """Take the number from a row, if it has one."""
        if self.get(row) is None:
            return
        self.num_held -= 1
        entries = self._entries
        if isinstance(entries, dict):
            del entries[row]
        else:
            entries[row] = self._fill

    def shrink(self, num_rows: int) -> None:
        """Turn an array back into a dictionary if half of what a dictionary may hold is left."""
        if not isinstance(self._entries, dict) and self.num_held <= self._most_few(num_rows) // 2:
            rows, numbers = self.held()
            self._entries = dict(zip(rows.tolist(), numbers.tolist(), strict=True))

    def _most_few(self, num_rows: int) -> int:
        return _FEW + num_rows * self._dtype.itemsize // _ENTRY_BYTES


def _sorted(entries: dict[int, Any], dtype: np.dtype[T]) -> tuple[npt.NDArray[np.int32], npt.NDArray[T]]:
    rows = np.fromiter(entries, np.int32, len(entries))
    numbers = np.fromiter(entries.values(), dtype, len(entries))
    order = np.argsort(rows)
    return rows[order], numbers[order]
