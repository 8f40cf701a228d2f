"""Types of the compiled loops of baselines, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

def nearest_items(
    users_from: Int64s,
    users: Int32s,
    items_from: Int64s,
    items: Int32s,
    lengths: Float32s,
    places: Int64s,
    num_common: Int32s,
    counts: npt.NDArray[np.int16],
    touched: Int32s,
    keys: npt.NDArray[np.uint64],
    bars: Float32s,
    num_found: Int32s,
    found: Int32s,
    cosines: Float32s,
) -> None: ...
def add_weighted_rows(
    rows: Int64s,
    weights: Float32s,
    starts: Int64s,
    stops: Int64s,
    indices: Int32s,
    values: Float32s,
    sums: Float32s,
) -> None: ...
