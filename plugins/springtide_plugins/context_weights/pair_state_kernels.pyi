"""Types of the loops that store tables of pairs, whose meaning is told in ``pair_state_kernels.pyx``."""

from typing import Any

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights.pair_tables import PairTable

def stored(table: PairTable) -> dict[str, npt.NDArray[Any]]: ...
def restored(
    most_pairs: int,
    about: npt.NDArray[np.int64],
    parts: npt.NDArray[np.int64],
    buckets: npt.NDArray[np.uint8],
    large: npt.NDArray[np.uint64],
) -> PairTable: ...
