"""Types of the linking of edges, whose meaning is told in ``link_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

class ChainLinker:
    @property
    def nbytes(self) -> int: ...
    def link(
        self, start: int, stop: int, rows: Int32s, times: Int64s, head: Int32s, prev: Int32s, degree: Int32s
    ) -> int: ...
    def link_late(self, late: Int32s, rows: Int32s, times: Int64s, head: Int32s, prev: Int32s) -> int: ...
