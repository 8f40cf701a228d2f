"""The compiled loop that counts each item's first times and repeats."""

cimport numpy as cnp
from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t, uint8_t

from springtide.arrays cimport bools, int32s, out_float64s, out_int32s


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


def read_tally(tally, counts, repeats):
    """Write how often each item was chosen, and how often again; return the sums of both, exactly.

    Args:
        tally: int32 ``[num_rows, 2]``: first times, and repeats.
        counts: Output, float64 ``[num_items]``, both together, at least 0; the rows of the tally from there on are left out.
        repeats: Output, float64 ``[num_items]``, at least 0.
    """
    cdef Py_ssize_t num_items = len(counts), num = min(<Py_ssize_t> len(tally), num_items), row
    cdef const int32_t* tally_ = int32s(tally)
    cdef double* counts_ = out_float64s(counts)
    cdef double* repeats_ = out_float64s(repeats)
    cdef int64_t first, second, total = 0, total_repeats = 0
    if len(repeats) != num_items or tally.ndim != 2 or tally.shape[1] != 2:
        raise ValueError(f"wanted two counts for each row, and columns of one length, got {len(counts)}, {len(repeats)}")
    with nogil:
        for row in range(num):
            first, second = tally_[2 * row], tally_[2 * row + 1]
            total += first + second
            total_repeats += second
            counts_[row], repeats_[row] = <double> max(first + second, <int64_t> 0), <double> max(second, <int64_t> 0)
        for row in range(num, num_items):
            counts_[row] = repeats_[row] = 0
    return total, total_repeats
