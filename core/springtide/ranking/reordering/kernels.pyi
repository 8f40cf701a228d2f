"""Types of the compiled loop of reordering, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float32]
_Ints = npt.NDArray[np.int32]

def greedy(
    count: int,
    order: _Ints,
    scores: _Floats,
    diversity: float,
    vectors: _Floats | None,
    rows: _Ints,
    values: tuple[_Ints, _Ints, int] | None,
    caps: tuple[_Ints, _Ints, _Ints, int] | None,
    fixed: _Ints,
) -> _Ints: ...
