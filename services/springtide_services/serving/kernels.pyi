"""Types of serving's compiled loops, whose meaning is told in ``kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]

def plain_request(
    data: bytes, default_count: int, max_count: int, max_words: int, max_word_bytes: int
) -> tuple[str, int, tuple[str, ...], int] | None: ...
def ranked_items(
    ids: Sequence[str],
    scores: Float32s,
    cosines: Float32s | None,
    weights: Float32s | None,
    rest: bytes,
    as_of_ms: int = 0,
    tails: list[bytes] | None = None,
) -> bytes: ...
