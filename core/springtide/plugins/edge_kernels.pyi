"""Types of the compiled loops over edges, whose meaning is told in ``edge_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

def add_up_neighbours(
    pointers: Int64s, source: Int64s, weight: Float32s, values: Float32s, first: int, stop: int, sums: Float32s
) -> None: ...
def multiply_ends(
    pointers: Int64s,
    source: Int64s,
    of_targets: Float32s,
    of_sources: Float32s,
    first: int,
    stop: int,
    products: Float32s,
) -> None: ...
