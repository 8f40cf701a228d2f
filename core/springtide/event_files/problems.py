"""What cannot be read in a file: collected with row and column, and said in a few lines."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from springtide.errors import DatasetError

_NUM_SHOWN = 5


class EventFileError(DatasetError):
    """Raised when a file of events cannot be read: the message names the file, and the row and the column."""


class Bad(NamedTuple):
    """A value of a chunk that cannot be read.

    Attributes:
        at: Index of its row in the chunk.
        words: What was wanted, and what came.
    """

    at: int
    words: str


class Problems:
    """The rows of a file that cannot be read: the number of them, and the first ones in words.

    Attributes:
        num_rows: Number of rows that cannot be read.
        num_read: Number of all rows that were looked at.
    """

    def __init__(self) -> None:
        self.num_rows = 0
        self.num_read = 0
        self._shown: list[tuple[int, str, str]] = []

    def add(self, rows: npt.NDArray[np.int64], by_column: Iterable[tuple[str, Bad]]) -> npt.NDArray[np.bool_]:
        """Add what is bad in a chunk, and return which of its rows are good, bool ``[n]``.

        Args:
            rows: int64 ``[n]``, numbers of the chunk's rows in the file.
            by_column: Name of the column, empty for the whole row, and what is bad in it.
        """
        is_good = np.ones(len(rows), bool)
        for column, bad in sorted(by_column, key=lambda found: found[1].at):
            if is_good[bad.at] and self.num_rows + len(rows) - int(is_good.sum()) < _NUM_SHOWN:
                self._shown.append((int(rows[bad.at]), column, bad.words))
            is_good[bad.at] = False
        self.num_rows += len(rows) - int(is_good.sum())
        return is_good

    def add_row(self, row: int, column: str, words: str) -> None:
        """Add a row that cannot be read."""
        self.num_rows += 1
        if len(self._shown) < _NUM_SHOWN:
            self._shown.append((row, column, words))

    def in_words(self, places_of: Callable[[Iterable[int]], dict[int, str]]) -> str:
        """Return the problems: one in a line, several as a list.

        Args:
            places_of: Gives the place of each row, such as ``row 2 (line 3)``.
        """
        places = places_of([row for row, _, _ in self._shown])
        lines = [
            f"{places[row]}{f', column {column!r}' if column else ''}: {words}" for row, column, words in self._shown
        ]
        if self.num_rows == 1:
            return lines[0]
        more = [f"and {self.num_rows - len(lines):,} more"] if self.num_rows > len(lines) else []
        return "\n  ".join([f"{self.num_rows:,} of {self.num_read:,} rows cannot be read:", *lines, *more])
