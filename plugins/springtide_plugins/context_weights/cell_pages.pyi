"""Types of the compiled pages of sums by row and bin, whose meaning is told in ``cell_pages.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

class SparseCells:
    num_bins: int
    num_parts: int
    nbytes: int
    num_rows: int

    def __init__(self, sizes: Sequence[int]) -> None: ...
    def forget(self, rows: npt.NDArray[np.int32]) -> None: ...
