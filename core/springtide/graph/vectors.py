"""A vector attribute: 32-bit numbers of one length for each of some nodes."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from springtide.graph.row_entries import RowVectors


class VectorColumn:
    """Vectors of one length by row. One thread writes; any thread reads, and sees the latest vectors.

    A vector is the bytes of its numbers: these never change, so that a reader or a copy may hold them, and they take
    4 bytes a number and about 150 for the entry.

    Args:
        length: Numbers of each vector, at least 1.
        of_rows: Vectors by row, as bytes of float32.
    """

    __slots__ = ("length", "of_rows")

    def __init__(self, length: int, of_rows: dict[int, bytes] | None = None) -> None:
        self.length = length
        self.of_rows = {} if of_rows is None else of_rows

    @classmethod
    def of(cls, saved: RowVectors, num_rows: int) -> "VectorColumn":
        """Return a column of vectors that were saved.

        Raises:
            ValueError: If it has vectors of other rows than the first ``num_rows``, or of length 0.
        """
        length = saved.vectors.shape[1]
        rows = saved.rows
        if not length or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < num_rows):
            raise ValueError(f"wanted vectors of rows below {num_rows}, got {len(rows)} of length {length}")
        content = np.ascontiguousarray(saved.vectors, np.float32)
        return cls(length, {row: content[at].tobytes() for at, row in enumerate(rows.tolist())})

    @property
    def num_held(self) -> int:
        """Number of rows that have a vector."""
        return len(self.of_rows)

    def get(self, row: int) -> tuple[float, ...] | None:
        """Return the vector of a row, or None if it has none."""
        found = self.of_rows.get(row)
        return None if found is None else tuple(np.frombuffer(found, np.float32).tolist())

    def set(self, row: int, vector: tuple[float, ...]) -> None:
        """Give a row a vector of the column's length."""
        assert len(vector) == self.length, f"wanted {self.length} numbers, got {len(vector)}"
        self.of_rows[row] = np.array(vector, np.float32).tobytes()

    def held(self, num_rows: int) -> RowVectors:
        """Return the vectors of the first rows, of those that have one, ascending; a copy."""
        return vectors_of({row: vector for row, vector in self.of_rows.copy().items() if row < num_rows}, self.length)

    def at(self, rows: npt.NDArray[np.int64]) -> RowVectors:
        """Return the vectors of some rows, int64 ``[n]``, of those that have one, by position in ``rows``."""
        of_rows = self.of_rows
        found = {at: of_rows.get(row) for at, row in enumerate(rows.tolist())}
        return vectors_of({at: vector for at, vector in found.items() if vector is not None}, self.length)


def vectors_of(of_rows: Mapping[int, bytes], length: int) -> RowVectors:
    """Return vectors by row, given as bytes of float32, as arrays, by ascending row."""
    rows = sorted(of_rows)
    content = np.frombuffer(b"".join([of_rows[row] for row in rows]), np.float32).reshape(len(rows), length)
    return RowVectors(np.array(rows, np.int64), content)
