"""The compiled loop of habits: one pass over the interactions of a user, as a request makes it."""

from libc.math cimport exp2, log, log1p
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

import numpy as np

from springtide.arrays cimport int64s, out_float32s


def habits(item_of, timestamps_ms, int num_items, int64_t now_ms, half_lives_ms, double floor):
    """Return 1, the log of the count, and the log of 1 plus each decayed count over a floor, float32 ``[2 + h, m]``.

    Args:
        item_of: int64 ``[n]``, which of the items each interaction was with.
        timestamps_ms: int64 ``[n]``.
        num_items: Number of items, each with an interaction.
        now_ms: The moment; later interactions have decayed as little as those of now.
        half_lives_ms: Milliseconds, ``h`` of them.
        floor: What decayed counts are divided by.
    """
    cdef Py_ssize_t num = len(item_of), each
    cdef int half_life, item
    cdef const int64_t* items = int64s(item_of)
    cdef const int64_t* times = int64s(timestamps_ms)
    terms = np.empty((2 + len(half_lives_ms), num_items), np.float32)
    cdef float* out = out_float32s(terms)
    cdef double step
    cdef double* sums
    if len(timestamps_ms) != num:
        raise ValueError(f"wanted {num} times, got {len(timestamps_ms)}")
    for each in range(num):
        if items[each] < 0 or items[each] >= num_items:
            raise ValueError(f"wanted items from 0 to {num_items - 1}, got {items[each]}")
    sums = <double*> calloc(max(num_items, 1), sizeof(double))
    if sums == NULL:
        raise MemoryError
    try:
        for each in range(num):
            sums[items[each]] += 1.0
        for item in range(num_items):
            out[item] = 1.0
            out[num_items + item] = log(sums[item])
        for half_life in range(len(half_lives_ms)):
            step = 1.0 / <double> half_lives_ms[half_life]
            for item in range(num_items):
                sums[item] = 0.0
            for each in range(num):
                sums[items[each]] += exp2(-step * max(now_ms - times[each], 0))
            for item in range(num_items):
                out[(2 + half_life) * num_items + item] = log1p(sums[item] / floor)
    finally:
        free(sums)
    return terms
