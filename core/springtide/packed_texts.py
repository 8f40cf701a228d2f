"""Texts as two arrays, the form in which files keep them: their UTF-8 one after another, and where each begins."""

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


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
    encoded = [text.encode() for text in texts]
    ends = itertools.accumulate(map(len, encoded), initial=0)
    offsets = np.fromiter(ends, np.int64, len(encoded) + 1)
    return PackedTexts(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def unpack(utf8: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> list[str]:
    """Return the texts that were packed.

    Raises:
        ValueError: If the arrays do not fit each other, or are no UTF-8.
    """
    content, bounds = utf8.tobytes(), offsets.tolist()
    if not bounds or bounds[0] != 0 or bounds[-1] != len(content) or any(map(int.__gt__, bounds, bounds[1:])):
        raise ValueError(f"packed texts: wanted ascending offsets from 0 to {len(content)}")
    return [content[start:stop].decode() for start, stop in itertools.pairwise(bounds)]
