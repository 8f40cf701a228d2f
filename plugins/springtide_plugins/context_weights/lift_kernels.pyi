"""Types of the compiled loops of lifts, whose meaning is told in ``lift_kernels.pyx``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

def shrunk_lifts(
    observed: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
    prior: float,
    path_of: npt.NDArray[np.int32],
    codes: Sequence[npt.NDArray[np.int32]],
    sizes: Sequence[int],
    lifts: npt.NDArray[np.float32],
) -> None: ...
def shrunk_to_lifts(
    observed: npt.NDArray[np.float64],
    usual: npt.NDArray[np.float64],
    share: float,
    prior: float,
    means: npt.NDArray[np.float32],
    lifts: npt.NDArray[np.float32],
) -> None: ...
def add_faded(
    nearness: float,
    logs: npt.NDArray[np.float32],
    next_logs: npt.NDArray[np.float32],
    faded: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None: ...
