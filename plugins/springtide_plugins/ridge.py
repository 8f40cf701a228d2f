"""The inverse that EASE takes its item-item weights from (Steck 2019, Embarrassingly Shallow Autoencoders)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError


def upper_inverse(gram: npt.NDArray[np.float32], l2: float, name: str) -> npt.NDArray[Any]:
    """Return the inverse of ``gram + l2 · I``, float32 ``[n, n]``: its upper half; the lower half means nothing.

    Args:
        gram: float32 ``[n, n]``, symmetric: the numbers of common users. It may be overwritten.
        l2: L2 penalty, above 0, in users.
        name: The part that asks, for the error.

    Raises:
        TrainingError: If the penalty is too small for single precision.
    """
    from scipy.linalg import lapack  # Serving a fitted weight does not need it.

    gram[np.diag_indices_from(gram)] += l2
    # Symmetric, so the transpose is column-major without a copy. Single precision is enough: l2 bounds the condition.
    factor, failed = lapack.spotrf(gram.T, overwrite_a=True)
    if failed == 0:
        inverse, failed = lapack.spotri(factor, overwrite_c=True)
    if failed != 0:
        raise TrainingError(f"wanted a greater l2 of {name!r}, got {l2}: its matrix cannot be inverted")
    return np.asarray(inverse)
