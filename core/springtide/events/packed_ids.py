"""Distinct ids as UTF-8, one after another: strings are made only for who reads them."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from springtide.packed_texts import PackedTexts, pack, unpack


class PackedIds(Sequence[str]):
    """Ids that compiled loops read without a Python object for each, and everybody else as a sequence of strings.

    Args:
        utf8: uint8 ``[num_bytes]``, the ids one after another.
        offsets: int64 ``[n + 1]``, where each id begins, and where the last one ends.
    """

    __slots__ = ("_ids", "_packed")

    def __init__(self, utf8: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self._packed = PackedTexts(utf8, offsets)
        self._ids: list[str] | None = None

    @property
    def arrays(self) -> PackedTexts:
        """UTF-8 and offsets."""
        return self._packed

    @classmethod
    def of(cls, ids: Sequence[str]) -> "PackedIds":
        """Return ids packed; those that are packed already stay as they are."""
        return ids if isinstance(ids, PackedIds) else cls(*pack(ids))

    def __len__(self) -> int:
        return len(self._packed.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._strings()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._strings())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return self._strings() == list(other)

    __hash__ = None  # type: ignore[assignment]  # As of a list.

    def __repr__(self) -> str:
        return f"PackedIds({self._strings()!r})"

    def take(self, codes: npt.NDArray[np.int64]) -> "PackedIds":
        """Return the ids at some indices, int64 ``[m]``."""
        utf8, bounds = self._packed
        starts, sizes = bounds[codes], bounds[codes + 1] - bounds[codes]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        return PackedIds(utf8[places], offsets)

    def _strings(self) -> list[str]:
        if self._ids is None:
            self._ids = unpack(*self._packed)
        return self._ids
