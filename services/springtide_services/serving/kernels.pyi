"""Types of serving's compiled loop, whose meaning is told in ``kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]

def ranked_items(
    ids: Sequence[str], scores: Float32s, cosines: Float32s | None, weights: Float32s | None, rest: bytes
) -> bytes: ...
