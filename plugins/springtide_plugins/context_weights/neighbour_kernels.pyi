"""Types of the compiled loop of item-item weights, whose meaning is told in ``neighbour_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

def sums_of(
    sources: Int32s, pointers: npt.NDArray[np.int64], targets: Int32s, values: Floats
) -> tuple[Int32s, Floats]: ...
