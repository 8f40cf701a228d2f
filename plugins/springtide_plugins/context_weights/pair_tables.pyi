"""Types of the tables of pairs, whose meaning is told in ``pair_tables.pyx``."""

import numpy as np
import numpy.typing as npt

Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

class PairTable:
    num_parts: int
    num_keys: int
    nbytes: int
    num_copied: int
    most_copied: int
    num_living: int
    num_steps: int

    def __init__(self, most_pairs: int, num_parts: int = 0) -> None: ...
    def pairs(self) -> tuple[Uint64s, Uint32s]: ...
    def fill(self, keys: Uint64s, counts: Uint32s) -> None: ...
    def forget(self, is_user_gone: Bools, is_item_gone: Bools) -> None: ...
    def drop_taken_back(self) -> None: ...
