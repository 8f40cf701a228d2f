"""Types of the compiled loops of counts, whose meaning is told in ``count_kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

def add_decayed(
    lows: Sequence[Int32s],
    highs: Sequence[Int32s],
    rows: Int32s,
    timestamps_ms: Int64s,
    weights: Float32s,
    start: int,
    origin_ms: int,
    length_ms: int,
    oldest: int,
    per_half_life: float,
    quanta: float,
) -> int: ...
def add_column(low: Int32s, high: Int32s, factor: float, counts: Float64s) -> int: ...
def quantise(
    timestamps_ms: Int64s,
    weights: Float32s,
    of_epoch: Uint8s,
    quanta: Int64s,
    origin_ms: int,
    length_ms: int,
    oldest: int,
    per_half_life: float,
    quanta_of_one: float,
) -> None: ...
def bins_of_times(local_ms: Int64s, bins: Int64s, days_per_part: int) -> None: ...
