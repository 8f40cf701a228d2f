"""The compiled loop of item-item weights: one pass over the weights of a history's items, as a request makes it."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free

import numpy as np

from springtide.arrays cimport float32s, int32s, int64s, out_float32s, out_int32s


def sums_of(sources, pointers, targets, values):
    """Return the items that any source has a weight for, int32 ``[m]``, ascending; and the sums of these, float32.

    Args:
        sources: int32 ``[k]``, rows of a sparse matrix ``[n, n]``, added in their order.
        pointers: int64 ``[n + 1]``, where the weights of each row begin; those of the last one end.
        targets: int32 ``[nnz]``, the column of each weight.
        values: float32 ``[nnz]``, the weights, above 0.
    """
    cdef Py_ssize_t num_sources = len(sources), num_items = len(pointers) - 1, num_values = len(values)
    cdef const int32_t* rows = int32s(sources)
    cdef const int64_t* starts = int64s(pointers)
    cdef const int32_t* columns = int32s(targets)
    cdef const float* weights = float32s(values)
    cdef Py_ssize_t each, found = 0
    cdef int64_t at
    cdef float* sums
    cdef int32_t* out_rows
    cdef float* out_sums
    if len(targets) != num_values or num_items < 0 or starts[num_items] != num_values:
        raise ValueError(f"wanted {num_values} columns and pointers to them, got {len(targets)}")
    sums = <float*> calloc(max(num_items, 1), sizeof(float))
    if sums == NULL:
        raise MemoryError
    try:
        for each in range(num_sources):
            if rows[each] < 0 or rows[each] >= num_items:
                raise ValueError(f"wanted rows from 0 to {num_items - 1}, got {rows[each]}")
            if starts[rows[each]] < 0 or starts[rows[each] + 1] > num_values:
                raise ValueError(f"wanted pointers from 0 to {num_values}")
            for at in range(starts[rows[each]], starts[rows[each] + 1]):
                if columns[at] < 0 or columns[at] >= num_items:
                    raise ValueError(f"wanted columns from 0 to {num_items - 1}, got {columns[at]}")
                sums[columns[at]] += weights[at]
        for each in range(num_items):
            found += sums[each] > 0
        of_items, of_sums = np.empty(found, np.int32), np.empty(found, np.float32)
        out_rows, out_sums = out_int32s(of_items), out_float32s(of_sums)
        found = 0
        for each in range(num_items):
            if sums[each] > 0:
                out_rows[found], out_sums[found] = <int32_t> each, sums[each]
                found += 1
    finally:
        free(sums)
    return of_items, of_sums
