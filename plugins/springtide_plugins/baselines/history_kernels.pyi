"""Types of the compiled loops over histories, whose meaning is told in ``history_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

def newest_first(user_rows: Int32s, num_users: int, bounds: Int64s) -> Int64s: ...
def add_up(
    bounds: Int64s,
    item_rows: Int32s,
    weights: Float64s | None,
    num_items: int,
    starts: Int64s,
    indices: Int32s,
    values: Float32s,
) -> int: ...
def mean_baskets(
    bounds: Int64s,
    item_rows: Int32s,
    timestamps_ms: Int64s,
    half_life_days: float,
    num_items: int,
    starts: Int64s,
    indices: Int32s,
    values: Float32s,
) -> int: ...
