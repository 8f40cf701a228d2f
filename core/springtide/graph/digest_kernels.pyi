"""Types of the compiled loops of tombstones, whose meaning is told in ``digest_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]

def add_times(
    new_halves: Uint64s, new_ms: Int64s, halves: Uint64s, times_ms: Int64s, slots: Uint32s, num: int
) -> int: ...
def index_digests(halves: Uint64s, slots: Uint32s, num: int) -> None: ...
def look_up_times(wanted: Uint64s, halves: Uint64s, times_ms: Int64s, slots: Uint32s, out_ms: Int64s) -> None: ...
def look_up_places(wanted: Uint64s, halves: Uint64s, slots: Uint32s, out: Int64s) -> None: ...
