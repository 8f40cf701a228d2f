"""Types of the compiled loop of event files, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Texts = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

def digest_interactions(
    digest: bytes,
    event_ids: Texts | None,
    users: Texts,
    items: Texts,
    types: Texts,
    timestamps_ms: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    digests: npt.NDArray[np.uint8],
) -> None: ...
