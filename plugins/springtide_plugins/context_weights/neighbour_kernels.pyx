"""The compiled loop of item-item weights: one pass over the weights of a history's items, as a request makes it."""

from libc.stdint cimport int8_t, int16_t, int32_t
from libc.stdlib cimport calloc, free

import numpy as np

from springtide.arrays cimport float32s, int8s, int32s, out_float32s

cdef enum:
    AT_ONCE = 4  # Rows that are read together: the sums are then read and written a quarter as often.
    UNTIL_FULL = 256  # Rows of numbers from -127 to 127 of which the sum is in 16 bits in any case.


cdef extern from *:
    """
    /* Twice as many numbers at once fit in a register in 16 bits as in 32. */
    static inline void springtide_add_4(
        int16_t* sums, const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, Py_ssize_t count
    ) {
        for (Py_ssize_t at = 0; at < count; at++)
            sums[at] = (int16_t)(sums[at] + (int16_t)((int16_t)(a[at] + b[at]) + (int16_t)(c[at] + d[at])));
    }

    static inline void springtide_add_1(int16_t* sums, const int8_t* a, Py_ssize_t count) {
        for (Py_ssize_t at = 0; at < count; at++) sums[at] = (int16_t)(sums[at] + a[at]);
    }

    static inline void springtide_flush(int32_t* totals, int16_t* sums, Py_ssize_t count) {
        for (Py_ssize_t at = 0; at < count; at++) {
            totals[at] += sums[at];
            sums[at] = 0;
        }
    }
    """
    void add_4 "springtide_add_4"(
        int16_t* sums, const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, Py_ssize_t count
    ) noexcept nogil
    void add_1 "springtide_add_1"(int16_t* sums, const int8_t* a, Py_ssize_t count) noexcept nogil
    void flush "springtide_flush"(int32_t* totals, int16_t* sums, Py_ssize_t count) noexcept nogil


def sums_of(sources, weights, scales):
    """Return the sum of some rows of a matrix, each column times its scale, float32 ``[n]``.

    The rows are added as whole numbers: the sum is the same to the last bit in any order.

    Args:
        sources: int32 ``[k]``, at most 16 million rows of the matrix.
        weights: int8 ``[n, n]``, the matrix, from -127 to 127.
        scales: float32 ``[n]``, what one is worth in each column.
    """
    cdef Py_ssize_t num_sources = len(sources), count = len(scales), each, at, since = 0
    cdef const int32_t* rows = int32s(sources)
    cdef const float* worth = float32s(scales)
    cdef const int8_t* matrix
    cdef int16_t* sums
    cdef int32_t* totals
    cdef float* out
    if weights.shape != (count, count) or num_sources > 1 << 24:
        raise ValueError(f"wanted weights [{count}, {count}] and at most 2^24 rows, got {weights.shape}, {num_sources}")
    matrix = int8s(weights)
    for each in range(num_sources):
        if rows[each] < 0 or rows[each] >= count:
            raise ValueError(f"wanted rows from 0 to {count - 1}, got {rows[each]}")
    of_items = np.empty(count, np.float32)
    out = out_float32s(of_items)
    sums = <int16_t*> calloc(max(count, 1), sizeof(int16_t))
    totals = <int32_t*> calloc(max(count, 1), sizeof(int32_t))
    try:
        if sums == NULL or totals == NULL:
            raise MemoryError
        with nogil:
            each = 0
            while each + AT_ONCE <= num_sources:
                add_4(
                    sums,
                    matrix + rows[each] * count,
                    matrix + rows[each + 1] * count,
                    matrix + rows[each + 2] * count,
                    matrix + rows[each + 3] * count,
                    count,
                )
                each += AT_ONCE
                since += AT_ONCE
                if since == UNTIL_FULL:
                    flush(totals, sums, count)
                    since = 0
            while each < num_sources:  # Fewer than four: they are in 16 bits, as four more would be.
                add_1(sums, matrix + rows[each] * count, count)
                each += 1
            flush(totals, sums, count)
            for at in range(count):
                out[at] = totals[at] * worth[at]
    finally:
        free(sums)
        free(totals)
    return of_items
