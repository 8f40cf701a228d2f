"""Types of the compiled loops of the counting set of pairs, whose meaning is told in ``pair_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Uint16s = npt.NDArray[np.uint16]
Uint64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

def slot_of(table: Uint64s, key: int) -> int: ...
def add_pairs(
    young: Uint64s,
    young_counts: Uint16s,
    old: Uint64s,
    old_counts: Uint16s,
    user_rows: Int32s,
    item_rows: Int32s,
    start: int,
    room: int,
    occurred: Bools,
) -> tuple[int, int]: ...
def remove_pairs(
    young: Uint64s,
    young_counts: Uint16s,
    old: Uint64s,
    old_counts: Uint16s,
    user_rows: Int32s,
    item_rows: Int32s,
    start: int,
    is_left: Bools,
) -> int: ...
def fill_pairs(table: Uint64s, table_counts: Uint16s, keys: Uint64s, counts: Uint16s) -> None: ...
def move_pairs(keys: Uint64s, counts: Uint16s, table: Uint64s, table_counts: Uint16s) -> int: ...
