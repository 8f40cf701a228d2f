"""Types of the compiled loop beside an index's answer, whose meaning is told in ``candidate_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]

def with_candidates(
    user: Float32s,
    factor: float,
    vectors: Float32s,
    values: Float32s,
    nearest: Int32s,
    changed: Int32s,
    apart_rows: Int32s,
    apart_scores: Float32s,
) -> tuple[Int32s, Float32s]: ...
