"""The compiled loop that brings together what is scored beside an index's answer, each row once."""

cimport numpy as cnp
from libc.stdint cimport int32_t

import numpy as np

from springtide.arrays cimport float32s, int32s, out_float32s, out_int32s
from springtide.ranking.dot_products cimport dot, prefetch

cnp.import_array()


cdef enum:
    AHEAD = 6  # Rows whose vectors are fetched before they are needed.


cdef bint _is_ascending(const int32_t* rows, int count, int num_items) noexcept nogil:
    """Return whether rows ascend, each once, and lie below ``num_items``."""
    cdef int at
    if count and (rows[0] < 0 or rows[count - 1] >= num_items):
        return False
    for at in range(1, count):
        if rows[at] <= rows[at - 1]:
            return False
    return True


def with_candidates(user, double factor, vectors, values, nearest, changed, apart_rows, apart_scores):
    """Return the rows of all three kinds, each once, and their scores: int32 ``[n]``, ascending, and float32 ``[n]``.

    A row apart keeps its score. That of any other is ``factor`` times its cosine with the user, plus its value: to the
    last bit as ``kernels.best_rows`` has it.

    Args:
        user: float32 ``[d]``.
        factor: What cosines are multiplied by.
        vectors: float32 ``[m, d]``.
        values: float32 ``[num_items]``, at most ``m``.
        nearest: int32 ``[a]``, ascending, each once, below ``num_items``.
        changed: int32 ``[b]``, likewise.
        apart_rows: int32 ``[c]``, likewise.
        apart_scores: float32 ``[c]``.

    Raises:
        ValueError: If rows do not ascend, or lie beyond the items.
    """
    cdef int width = len(user), num_items = len(values), at, num = 0, of_kind
    cdef const float* of_user = float32s(user)
    cdef const float* of_items = float32s(vectors)
    cdef const float* of_moment = float32s(values)
    cdef const float* of_apart = float32s(apart_scores)
    cdef const int32_t* kinds[3]
    cdef int lengths[3]
    cdef int position[3]
    cdef float times = factor, score
    cdef int32_t row
    cdef bint is_right = True
    if vectors.shape[1] != width or len(vectors) < num_items or len(apart_scores) != len(apart_rows):
        raise ValueError(f"wanted {num_items} vectors of {width} numbers, got {vectors.shape}")
    for of_kind, rows in enumerate((apart_rows, nearest, changed)):
        kinds[of_kind], lengths[of_kind], position[of_kind] = int32s(rows), len(rows), 0
        is_right &= _is_ascending(kinds[of_kind], lengths[of_kind], num_items)
    if not is_right:
        raise ValueError(f"wanted rows below {num_items}, ascending, each once")
    found = np.empty(lengths[0] + lengths[1] + lengths[2], np.int32)
    scores = np.empty(len(found), np.float32)
    cdef int32_t* out = out_int32s(found)
    cdef float* out_scores = out_float32s(scores)
    with nogil:
        while True:
            row = num_items
            for of_kind in range(3):
                if position[of_kind] < lengths[of_kind] and kinds[of_kind][position[of_kind]] < row:
                    row = kinds[of_kind][position[of_kind]]
            if row == num_items:
                break
            for of_kind in range(1, 3):
                at = position[of_kind] + AHEAD
                if at < lengths[of_kind]:
                    prefetch(of_items + <Py_ssize_t> kinds[of_kind][at] * width, width)
            if position[0] < lengths[0] and kinds[0][position[0]] == row:
                score = of_apart[position[0]]
            else:
                score = of_moment[row]
                score = times * dot(of_user, of_items + <Py_ssize_t> row * width, width) + score
            out[num], out_scores[num] = row, score
            num += 1
            for of_kind in range(3):
                position[of_kind] += position[of_kind] < lengths[of_kind] and kinds[of_kind][position[of_kind]] == row
    return found[:num], scores[:num]
