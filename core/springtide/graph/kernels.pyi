"""Types of the graph's compiled loops, whose meaning is told in ``kernels.pyx``."""

from typing import Any

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

def relink(
    rows: Int32s, head: Int32s, prev: Int32s, moved: Int32s, new_head: Int32s, new_prev: Int32s, new_degree: Int32s
) -> None: ...
def collect_recent(
    rows: Int32s,
    before: Int64s,
    length: int,
    head: Int32s,
    prev: Int32s,
    neighbours: Int32s,
    times: Int64s,
    weights: Float32s,
    dead_since: Int32s,
    generation: int,
    out_rows: Int32s,
    out_times: Int64s,
    out_weights: Float32s,
) -> None: ...
def count_linked(row: int, length: int, head: Int32s, prev: Int32s) -> int: ...
def collect_edges(
    row: int, length: int, head: Int32s, prev: Int32s, dead_since: Int32s, generation: int, out_edges: Int32s
) -> int: ...
def mark_dead(
    deleted_rows: Int32s,
    until_ms: Int64s,
    head: Int32s,
    prev: Int32s,
    times: Int64s,
    sources: Int32s,
    targets: Int32s,
    generation: int,
    dead_since: Int32s,
    source_last_death: Int32s,
    target_last_death: Int32s,
    out: Int32s,
) -> int: ...
def contains(
    source_rows: Int32s,
    target_rows: Int32s,
    length: int,
    sources: Int32s,
    source_head: Int32s,
    source_prev: Int32s,
    source_degree: Int32s,
    targets: Int32s,
    target_head: Int32s,
    target_prev: Int32s,
    target_degree: Int32s,
    dead_since: Int32s,
    generation: int,
    out: Bools,
) -> None: ...
def note_times(newest_ms: Int64s, first_ms: Int64s, rows: Int32s, timestamps_ms: Int64s) -> None: ...
def least_and_greatest(column: npt.NDArray[Any]) -> tuple[int, int] | None: ...
def touch(column: np.ndarray[Any, Any], start: int, stop: int) -> None: ...
