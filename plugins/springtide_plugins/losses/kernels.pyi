"""Types of the compiled loop of the cross entropy, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

def cross_entropies(
    cosines: Float32s,
    is_one: Bools,
    first: int,
    stop: int,
    temperature: float,
    of_one: float,
    of_zero: Float32s,
    gradients: Float32s,
    entropies: Float64s,
) -> None: ...
