"""Types of the compiled loops of the counting set of pairs, whose meaning is told in ``pair_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

def add_pairs(
    young: Uint64s,
    young_counts: Uint32s,
    old: Uint64s,
    old_counts: Uint32s,
    user_rows: Int32s,
    item_rows: Int32s,
    start: int,
    stop: int,
    occurred: Bools,
) -> int: ...
def remove_pairs(
    young: Uint64s,
    young_counts: Uint32s,
    old: Uint64s,
    old_counts: Uint32s,
    user_rows: Int32s,
    item_rows: Int32s,
    is_left: Bools,
) -> None: ...
def fill_pairs(table: Uint64s, table_counts: Uint32s, keys: Uint64s, counts: Uint32s) -> None: ...
