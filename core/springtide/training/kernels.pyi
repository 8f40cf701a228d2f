"""Types of the compiled loops of a training step, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

def draw_positions(
    cumulative: Float64s, order: Int64s, first: Int64s, users: Int64s, shares: Float64s, drawn: Int64s
) -> None: ...
def mark_seen(
    seen_items: Int64s, first: Int64s, users: Int64s, items: Int64s, last_seen_by: Int32s, is_seen: Bools
) -> None: ...
def pair_products(users: Float32s, items: Float32s, rows: Int64s, products: Float32s) -> None: ...
def add_pair_gradients(
    users: Float32s, items: Float32s, rows: Int64s, gradients: Float32s, of_users: Float32s, of_items: Float32s
) -> None: ...
