"""Types of the compiled loop that counts items above one, whose meaning is told in ``rank_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]

def count_above(
    score: float,
    num_items: int,
    user: Float32s | None,
    factor: float,
    vectors: Float32s | None,
    longest: float,
    values: Float32s,
    skipped: npt.NDArray[np.int32],
    most: int,
) -> tuple[int, int, int]: ...
