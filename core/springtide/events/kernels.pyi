"""Types of the compiled loops of events, whose meaning is told in ``kernels.pyx``."""

import numpy as np
import numpy.typing as npt

Uint8s = npt.NDArray[np.uint8]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

def hash_slices(buffer: Uint8s, starts: Int64s, stops: Int64s, hashes: Uint64s) -> None: ...
def hash_texts(texts: list[bytes], hashes: Uint64s) -> None: ...
def hash_keys(utf8: Uint8s, offsets: Int64s, hashes: Uint32s) -> None: ...
def hash_contents(timestamps_ms: Int64s, values: Float32s, contexts: Uint64s, contents: Uint32s) -> None: ...
def combine_rows(kind: int | np.uint64, hashes: Uint64s, combined: Uint64s) -> None: ...
def combine(keys: Uint64s, hashes: Uint64s, combined: Uint64s) -> None: ...
def index_seen(ring_keys: Uint64s, slots: Uint64s, first: int, stop: int) -> None: ...
def add_seen(
    keys: Uint64s,
    contents: Uint32s,
    published_s: Uint32s,
    max_age_s: float,
    ring_keys: Uint64s,
    ring_contents: Uint32s,
    ring_published_s: Uint32s,
    slots: Uint64s,
    first: int,
    stop: int,
    is_first: Bools,
) -> tuple[int, int, int]: ...
