"""Types of the compiled loop of habits, whose meaning is told in ``habit_kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

def habits(
    item_of: Int64s, timestamps_ms: Int64s, num_items: int, now_ms: int, half_lives_ms: Sequence[float], floor: float
) -> npt.NDArray[np.float32]: ...
