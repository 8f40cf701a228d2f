"""Types of the compiled loop of tallies, whose meaning is told in ``tally_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

def add_to_tally(
    tally: npt.NDArray[np.int32], rows: npt.NDArray[np.int32], is_repeat: npt.NDArray[np.bool_], step: int
) -> None: ...
def read_tally(
    tally: npt.NDArray[np.int32], counts: npt.NDArray[np.float64], repeats: npt.NDArray[np.float64]
) -> tuple[int, int]: ...
