"""Types of the compiled loop of the sums over years, whose meaning is told in ``year_kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

def add_years(
    moments: Sequence[Int64s],
    tables: Sequence[Int64s],
    rows: npt.NDArray[np.int32],
    bins: Int64s,
    of_epoch: npt.NDArray[np.uint8],
    quanta: Int64s,
    first_year: int,
    num_years: int,
    start: int,
) -> int: ...
