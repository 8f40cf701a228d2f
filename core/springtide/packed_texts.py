"""Texts as two arrays, the form in which files keep them: their UTF-8 one after another, and where each begins."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from springtide.id_kernels import packed_of, unpacked_of


class PackedTexts(NamedTuple):
    """Texts in their order.

    Attributes:
        utf8: uint8 ``[num_bytes]``, the texts one after another.
        offsets: int64 ``[num_texts + 1]``, where each text begins in ``utf8``, and where the last one ends.
    """

    utf8: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]


def pack(texts: Iterable[str]) -> PackedTexts:
    """Return texts as arrays."""
    return PackedTexts(*packed_of(texts if isinstance(texts, list) else list(texts)))


def joined(parts: Sequence[PackedTexts]) -> PackedTexts:
    """Return the texts of all parts, one part after another."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.utf8) for part in parts)])
    return PackedTexts(
        np.concatenate([np.empty(0, np.uint8), *(part.utf8 for part in parts)]),
        np.concatenate([*(part.offsets[:-1] + at for part, at in zip(parts, starts, strict=False)), starts[-1:]]),
    )


class Texts(Sequence[str]):
    """Packed texts as a sequence, each made anew when it is asked for. It equals a list of the same texts.

    Args:
        packed: The texts.

    Attributes:
        packed: The texts.

    Raises:
        ValueError: If the arrays do not fit each other.
    """

    __slots__ = ("packed",)
    __hash__ = None  # type: ignore[assignment]  # As a list has none.

    def __init__(self, packed: PackedTexts) -> None:
        _check(*packed)
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        start, stop = self.packed.offsets[position : position + 2].tolist()
        return self.packed.utf8[start:stop].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return iter(unpack(*self.packed))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Texts of {len(self)}"


def unpack(utf8: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> list[str]:
    """Return the texts that were packed.

    Raises:
        ValueError: If the arrays do not fit each other, or are no UTF-8.
    """
    _check(utf8, offsets)
    return unpacked_of(utf8, offsets)


def _check(utf8: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> None:
    """Raise ValueError unless offsets ascend from 0 to the number of bytes."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(utf8) or bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError(f"packed texts: wanted ascending offsets from 0 to {len(utf8)}")
