"""Types of the compiled loop of item-item weights, whose meaning is told in ``neighbour_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

def sums_of(
    sources: npt.NDArray[np.int32], weights: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]: ...
