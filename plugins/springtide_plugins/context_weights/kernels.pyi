"""Types of the compiled loops of context weights, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Float64s = npt.NDArray[np.float64]

def add_pairs(
    young: Uint64s, young_counts: Uint32s, old: Uint64s, old_counts: Uint32s, keys: Uint64s, occurred: Bools
) -> int: ...
def remove_pairs(
    young: Uint64s, young_counts: Uint32s, old: Uint64s, old_counts: Uint32s, keys: Uint64s, is_left: Bools
) -> None: ...
def fill_pairs(table: Uint64s, table_counts: Uint32s, keys: Uint64s, counts: Uint32s) -> None: ...
def add_to_bins(sums: Int32s, bins: Int64s, rows: Int32s, quanta: Int64s, start: int) -> int: ...
def accumulate_bin(low: Int32s, high: Int32s, bin_index: int, weight: float, counts: Float64s) -> int: ...
