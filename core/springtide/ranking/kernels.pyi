"""Types of the ranking's compiled loops, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]
Coarse = tuple[npt.NDArray[np.int8], Float32s, Float32s]

def best_rows(
    count: int,
    num_items: int,
    user: Float32s | None,
    factor: float,
    vectors: Float32s | None,
    longest: float,
    values: Float32s | None,
    order: Int32s | None,
    highest: float,
    allowed: npt.NDArray[np.bool_] | None,
    masked: Int32s,
    excluded: Int32s,
    apart_rows: Int32s,
    apart_scores: Float32s,
    coarse: Coarse | None,
    related_rows: Int32s | None = None,
    related_totals: Float32s | None = None,
) -> tuple[Int32s, Float32s, Float32s, bool, int]: ...
def logs_of(of_weights: Float32s, rows: Int32s, num_logs: int) -> Float32s: ...
def cosines_of(user: Float32s, vectors: Float32s, rows: Int32s) -> Float32s: ...
def scored_rows(
    rows: Int32s,
    num_items: int,
    user: Float32s | None,
    factor: float,
    vectors: Float32s | None,
    values: Float32s,
    allowed: npt.NDArray[np.bool_] | None,
    masked: Int32s,
    excluded: Int32s,
    apart_rows: Int32s,
    apart_scores: Float32s,
) -> tuple[Int32s, Float32s, Float32s]: ...
def quantise(vectors: Float32s) -> Coarse: ...
