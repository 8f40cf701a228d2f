"""Types of the compiled loops over sums by row and bin, whose meaning is told in ``cell_kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights.cell_pages import SparseCells

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
Float64s = npt.NDArray[np.float64]

def add_to_cells(
    held: Sequence[SparseCells | None], bins: Int64s, rows: Int32s, of_epoch: Uint8s, quanta: Int64s, start: int
) -> int: ...
def accumulate(cells: SparseCells, weights: Int64s, unit: float, counts: Float64s) -> list[float]: ...
