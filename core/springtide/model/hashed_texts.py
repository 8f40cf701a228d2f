"""Texts as vectors without a model: hashed words and n-grams of letters."""

import functools
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LENGTH = 256
_SIZES = (3, 4, 5)  # Letters of the n-grams, as in Bojanowski et al. 2017, "fastText", without the longest.
_MOST = 1_000  # Characters of a text that are read: a long one would keep a server busy for milliseconds.
_SIGN = 1 << 31


def hashed_texts(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return unit vectors of texts, float32 ``[n, 256]``; zeros for a text without words.

    Each word, and each run of 3 to 5 letters of one, adds or takes 1 where its hash says (Weinberger et al. 2009,
    "Feature hashing"): texts that share words, or parts of them, have vectors that are near each other.
    """
    vectors = np.zeros((len(texts), LENGTH), np.float32)
    for row, text in enumerate(texts):
        vectors[row] = np.frombuffer(_hashed(text[:_MOST]), np.float32)
    return vectors


@functools.lru_cache(maxsize=4_096)
def _hashed(text: str) -> bytes:
    vector = np.zeros(LENGTH, np.float32)
    for word in text.lower().split():
        marked = f"<{word}>"
        grams = [marked[at : at + size] for size in _SIZES for at in range(len(marked) - size + 1)]
        for gram in (word, *grams):
            hashed = zlib.crc32(gram.encode(errors="replace"))
            vector[hashed % LENGTH] += 1.0 if hashed & _SIGN else -1.0
    length = np.linalg.norm(vector)
    return (vector / length if length else vector).astype(np.float32).tobytes()
