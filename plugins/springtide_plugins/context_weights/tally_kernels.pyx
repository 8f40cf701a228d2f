"""The compiled loop that counts each item's first times and repeats."""

cimport numpy as cnp
from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t, uint8_t

from springtide.arrays cimport bools, int32s, out_int32s


cdef extern from *:
    """
    #define PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
    """
    void PREFETCH_TO_WRITE(const void* address) noexcept nogil


cdef enum:
    AHEAD = 16  # Events whose counts are on their way from memory while others are added.


cnp.import_array()


def add_to_tally(tally, rows, is_repeat, int step):
    """Add ``step`` to the count of each event; counts stay within 32 bits.

    Args:
        tally: int32 ``[num_rows, 2]``: first times, and repeats.
        rows: int32 ``[n]``.
        is_repeat: bool ``[n]``.
        step: 1, or -1 to take events back.

    Raises:
        ValueError: If a row is not in the tally; then nothing is added.
    """
    cdef cnp.ndarray rows_ = <cnp.ndarray> cnp.PyArray_FROMANY(rows, cnp.NPY_INT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)
    cdef Py_ssize_t num = rows_.shape[0], num_rows = len(tally), event
    cdef const int32_t* at = int32s(rows_)
    cdef const uint8_t* second = bools(is_repeat)
    cdef int32_t* counts = out_int32s(tally)
    cdef int32_t* count
    cdef bint fit = True
    if num != len(is_repeat) or tally.ndim != 2 or tally.shape[1] != 2:
        raise ValueError(f"wanted two counts for each row, and columns of one length, got {num} and {len(is_repeat)}")
    with nogil:
        for event in range(num):
            fit &= 0 <= at[event] < num_rows
        if fit:
            for event in range(num):
                if event + AHEAD < num:
                    PREFETCH_TO_WRITE(counts + 2 * <Py_ssize_t> at[event + AHEAD])
                count = counts + 2 * <Py_ssize_t> at[event] + (second[event] != 0)
                count[0] = <int32_t> max(min(<int64_t> count[0] + step, <int64_t> INT32_MAX), <int64_t> INT32_MIN)
    if not fit:
        raise ValueError(f"wanted rows from 0 to {num_rows - 1}, got one from {rows.min()} to {rows.max()}")
