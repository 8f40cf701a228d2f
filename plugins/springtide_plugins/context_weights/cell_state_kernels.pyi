"""Types of sums by row and bin as arrays, whose meaning is told in ``cell_state_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights.cell_pages import SparseCells

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]
Uint16s = npt.NDArray[np.uint16]

def state_of(cells: SparseCells) -> tuple[Uint8s, Uint16s, Int32s, Int32s, Int64s]: ...
def fill(cells: SparseCells, kinds: Uint8s, codes: Uint16s, sums: Int32s, dense: Int32s, wide: Int64s) -> None: ...
def fill_bins(cells: SparseCells, part: int, first_row: int, sums: Int64s) -> None: ...
def copy_bin(source: SparseCells, from_bin: int, target: SparseCells, to_bin: int) -> None: ...
