"""Types of the loops that link many edges at once."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

def link_bulk(
    start: int,
    stop: int,
    rows: Int32s,
    times: Int64s,
    newest_ms: int,
    head: Int32s,
    prev: Int32s,
    degree: Int32s,
    late: Int32s,
) -> int: ...
