"""Types of the compiled loops of paths, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

def note_holders(
    edge: int,
    length: int,
    prev: Int32s,
    sources: Int32s,
    times: Int64s,
    dead_since: Int32s,
    generation: int,
    before_ms: int,
    max_steps: int,
    left_out: int,
    item: int,
    num_notes: int,
    head: Int32s,
    older: Int32s,
    items: Int32s,
    latest_ms: Int64s,
    people: Int32s,
) -> tuple[int, int]: ...
def pairs_with_own(
    people: Int32s,
    first: int,
    length: int,
    head: Int32s,
    prev: Int32s,
    targets: Int32s,
    times: Int64s,
    dead_since: Int32s,
    generation: int,
    before_ms: int,
    max_steps: int,
    own_of: Int32s,
    marks: Int32s,
    out_people: Int32s,
    out_own: Int32s,
) -> tuple[int, int, bool]: ...
def count_pairs(
    people: Int32s,
    pair_people: Int32s,
    pair_own: Int32s,
    head: Int32s,
    older: Int32s,
    items: Int32s,
    latest_ms: Int64s,
    recent_ms: int,
    num_shared: Int32s,
    num_recent: Int32s,
    last_ms: Int64s,
) -> None: ...
def count_shared(
    edge: int,
    length: int,
    prev: Int32s,
    sources: Int32s,
    times: Int64s,
    dead_since: Int32s,
    generation: int,
    before_ms: int,
    max_steps: int,
    left_out: int,
    mark: int,
    marks: Int32s,
    head: Int32s,
    older: Int32s,
    items: Int32s,
    latest_ms: Int64s,
    recent_ms: int,
    num_shared: Int32s,
    num_recent: Int32s,
    last_ms: Int64s,
) -> int: ...
