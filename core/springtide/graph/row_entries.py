"""What some rows have and most may not, as arrays: numbers, texts, vectors, and codes of several values."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from springtide.packed_texts import PackedTexts, joined, pack, unpack

T = TypeVar("T", bound=np.generic)

Int64s = npt.NDArray[np.int64]


class RowNumbers(NamedTuple, Generic[T]):
    """A number for each of some rows, or of all.

    Attributes:
        rows: int32 ``[n]``, ascending; None for all rows from 0 on, of which some may have what stands for none.
        numbers: ``[n]``.
    """

    rows: npt.NDArray[np.int32] | None
    numbers: npt.NDArray[T]

    def held(self, fill: float) -> tuple[npt.NDArray[np.int32], npt.NDArray[T]]:
        """Return the rows that have a number, int32 ``[n]``, and their numbers, ``[n]``.

        Args:
            fill: What stands for no number; it may be NaN.
        """
        if self.rows is not None:
            return self.rows, self.numbers
        rows = np.flatnonzero(self.are_held(fill)).astype(np.int32)
        return rows, self.numbers[rows]

    def are_held(self, fill: float) -> npt.NDArray[np.bool_]:
        """Return which of the numbers are numbers, bool ``[n]``: not what stands for none."""
        numbers: npt.NDArray[Any] = self.numbers
        are_held: npt.NDArray[np.bool_] = numbers != fill
        if numbers.dtype.kind == "f":
            are_held &= ~np.isnan(numbers)
        return are_held

    def dense(self, num_rows: int, fill: float) -> npt.NDArray[T]:
        """Return the numbers of ``num_rows`` rows, ``fill`` where there is none; a copy.

        Args:
            num_rows: Number of rows, of which no later one has a number.
            fill: What stands for no number.
        """
        numbers = np.full(num_rows, fill, self.numbers.dtype)
        if self.rows is None:
            numbers[: len(self.numbers)] = self.numbers
        else:
            numbers[self.rows] = self.numbers
        return numbers

    def taken(self, rows: npt.NDArray[np.int32]) -> "RowNumbers[T]":
        """Return the numbers of some rows, int32 ``[m]``, ascending, which are numbered from 0 on."""
        if self.rows is None:
            return RowNumbers(None, self.numbers[rows])
        is_kept = np.isin(self.rows, rows)
        return RowNumbers(np.searchsorted(rows, self.rows[is_kept]).astype(np.int32), self.numbers[is_kept])


class RowTexts(NamedTuple):
    """A text for each of some rows.

    Attributes:
        rows: int64 ``[n]``.
        texts: The texts of these rows.
    """

    rows: Int64s
    texts: PackedTexts

    @classmethod
    def of(cls, rows: Sequence[int], texts: Iterable[str]) -> "RowTexts":
        """Return the texts of rows."""
        return cls(np.array(rows, np.int64), pack(texts))

    @classmethod
    def joined(cls, parts: Sequence["RowTexts"]) -> "RowTexts":
        """Return what all parts have."""
        return cls(_joined([part.rows for part in parts]), joined([part.texts for part in parts]))

    def as_dict(self) -> dict[int, str]:
        """Return the texts by row."""
        return dict(zip(self.rows.tolist(), unpack(*self.texts), strict=True))


class RowVectors(NamedTuple):
    """A vector for each of some rows.

    Attributes:
        rows: int64 ``[n]``.
        vectors: float32 ``[n, length]``.
    """

    rows: Int64s
    vectors: npt.NDArray[np.float32]

    def taken(self, rows: npt.NDArray[np.int32]) -> "RowVectors":
        """Return the vectors of some rows, int32 ``[m]``, ascending, which are numbered from 0 on."""
        is_kept = np.isin(self.rows, rows)
        return RowVectors(np.searchsorted(rows, self.rows[is_kept]), self.vectors[is_kept])


class RowCodes(NamedTuple):
    """Several codes for each of some rows.

    Attributes:
        rows: int64 ``[n]``.
        counts: int64 ``[n]``, number of codes of each row.
        codes: int32 ``[num_codes]``, the codes of all rows, one row after another.
    """

    rows: Int64s
    counts: Int64s
    codes: npt.NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[int], codes: Sequence[Sequence[int]]) -> "RowCodes":
        """Return the codes of rows."""
        counts = np.fromiter(map(len, codes), np.int64, len(codes))
        all_codes = np.fromiter(itertools.chain.from_iterable(codes), np.int32, int(counts.sum()))
        return cls(np.array(rows, np.int64), counts, all_codes)

    @classmethod
    def of_dict(cls, codes: Mapping[int, Sequence[int]]) -> "RowCodes":
        """Return codes that are given by row."""
        return cls.of(list(codes), list(codes.values()))

    @classmethod
    def joined(cls, parts: Sequence["RowCodes"]) -> "RowCodes":
        """Return what all parts have."""
        codes = np.concatenate([np.empty(0, np.int32), *(part.codes for part in parts)])
        return cls(_joined([part.rows for part in parts]), _joined([part.counts for part in parts]), codes)

    def as_dict(self) -> dict[int, tuple[int, ...]]:
        """Return the codes by row.

        Raises:
            ValueError: If the arrays do not fit each other.
        """
        codes = iter(self.codes.tolist())
        by_row = {
            row: tuple(itertools.islice(codes, count))
            for row, count in zip(self.rows.tolist(), self.counts.tolist(), strict=True)
        }
        if int(self.counts.sum()) != len(self.codes) or (len(self.counts) and self.counts.min() < 0):
            raise ValueError(f"wanted as many codes as are counted, got {len(self.codes)}")
        return by_row


def _joined(parts: Sequence[Int64s]) -> Int64s:
    return np.concatenate([np.empty(0, np.int64), *parts])
