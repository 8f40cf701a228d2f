"""Types of the compiled loops that count pairs, whose meaning is told in ``pair_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights.pair_tables import PairTable

Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

def add_pairs(
    young: PairTable, old: PairTable, user_rows: Int32s, item_rows: Int32s, start: int, room: int, occurred: Bools
) -> int: ...
def remove_pairs(young: PairTable, old: PairTable, user_rows: Int32s, item_rows: Int32s, is_left: Bools) -> None: ...
