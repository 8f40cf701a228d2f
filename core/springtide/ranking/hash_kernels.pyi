"""Types of the hashes, whose meaning is told in ``hash_kernels.pyx``."""

import numpy as np
import numpy.typing as npt

def hashes_of(texts: list[str]) -> npt.NDArray[np.uint64]: ...
def hash_of(content: bytes) -> int: ...
