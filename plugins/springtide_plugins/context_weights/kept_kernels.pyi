"""Types of the compiled loop over rows that have changed, whose meaning is told in ``kept_kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights.cell_pages import SparseCells

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

def weights_of_codes(cells: SparseCells, weights: Int64s) -> Int32s: ...
def next_look(cells: SparseCells) -> int: ...
def accumulate_kept(
    cells: SparseCells,
    weights: Sequence[Int64s],
    of_codes: Sequence[Int32s],
    sums: Sequence[Int64s],
    known: Sequence[Int64s],
    since: Sequence[int],
    unit: float,
    counts: npt.NDArray[np.float64],
) -> tuple[list[float], list[int]]: ...
