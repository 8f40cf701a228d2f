"""Types of the compiled loops of the likelihood, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Uint8s = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

def add_moments(
    features: Float32s,
    is_seen: Uint8s,
    corrections: Float32s,
    stops: Int64s,
    exponents: Float32s,
    scores: Float32s,
    weighted: Float32s,
    expected: Float64s,
) -> float: ...
def add_covariances(
    features: Float32s,
    is_seen: Uint8s,
    corrections: Float32s,
    stops: Int64s,
    exponents: Float32s,
    scores: Float32s,
    second: Float64s,
    first: Float64s,
    covariance: Float64s,
) -> None: ...
