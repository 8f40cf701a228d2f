"""The compiled loop of the sums over years (``years``)."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t

from springtide.arrays cimport int32s, int64s, out_int64s, uint8s

cdef extern from *:
    """
    /* A function that does nothing else has no effect to a compiler, which then drops it: hence the volatile nothing. */
    #define PREFETCH_TO_WRITE(address) do { __builtin_prefetch(address, 1); __asm__ volatile(""); } while (0)
    """
    void PREFETCH_TO_WRITE(const void* address) noexcept nogil


cnp.import_array()


cdef enum:
    KEPT = 3  # Epochs that are kept, as in ``epochs``.
    TOO_OLD = 255  # The epoch of an event that is before all that are kept.
    AHEAD = 16  # Events whose sums are on their way from memory while others are added.


def add_years(
    moments, tables, rows, bins, of_epoch, quanta, int64_t first_year, int64_t num_years, Py_ssize_t start
):
    """Add events from ``start`` on, until one whose row or epoch has no place.

    Args:
        moments: Of each of the three epochs that are kept, the oldest first: int64 ``[num_rows]``, for each row the sum
            of its events' quanta times their years, counted from ``first_year``; without entries where there is none.
        tables: The same: int64 ``[num_years, num_parts]``, quanta of all events by year and part of the year.
        rows: int32 ``[n]``.
        bins: int64 ``[4, n]``, as ``count_kernels.bins_of_times`` writes them; years before the first and behind the last
            count as these.
        of_epoch: uint8 ``[n]``, as ``count_kernels.quantise`` writes it.
        quanta: int64 ``[n]``.
        first_year: The first year.
        num_years: Number of years.
        start: Position of the first event to add.

    Returns:
        The position of the first event that was not added, or the number of events.

    Raises:
        ValueError: If lengths differ, or a part is none.
    """
    cdef int64_t* moments_[KEPT]
    cdef int64_t* tables_[KEPT]
    cdef Py_ssize_t lengths[KEPT]
    cdef Py_ssize_t number, event, n = len(rows)
    cdef int64_t num_parts = 0
    for number in range(KEPT):
        moments_[number], tables_[number] = out_int64s(moments[number]), out_int64s(tables[number])
        lengths[number] = len(moments[number])
        if lengths[number]:
            num_parts = tables[number].shape[1]
            if len(tables[number]) != num_years:
                raise ValueError(f"wanted tables of {num_years} years, got {len(tables[number])}")
    if bins.shape != (4, n) or not n == len(of_epoch) == len(quanta):
        raise ValueError(f"wanted columns of one length, got {n} rows, bins {bins.shape}, {len(quanta)} weights")
    cdef cnp.ndarray rows_ = <cnp.ndarray> cnp.PyArray_FROMANY(rows, cnp.NPY_INT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)
    cdef const int64_t* parts = int64s(bins) + 2 * n
    event = _add_years(
        moments_, tables_, lengths, start, n, int32s(rows_), parts, parts + n, uint8s(of_epoch), int64s(quanta),
        first_year, num_years, num_parts,
    )
    if event < 0:
        raise ValueError(f"wanted parts of the year from 0 to {num_parts - 1}, got {parts[-1 - event]}")
    return event


cdef Py_ssize_t _add_years(
    int64_t** moments, int64_t** tables, const Py_ssize_t* lengths, Py_ssize_t start, Py_ssize_t n,
    const int32_t* rows, const int64_t* parts, const int64_t* years, const uint8_t* of_epoch, const int64_t* quanta,
    int64_t first_year, int64_t num_years, int64_t num_parts,
) noexcept:
    cdef Py_ssize_t event
    cdef int64_t year
    cdef uint8_t epoch
    with nogil:
        for event in range(start, n):
            if event + AHEAD < n and of_epoch[event + AHEAD] < KEPT:
                PREFETCH_TO_WRITE(moments[of_epoch[event + AHEAD]] + rows[event + AHEAD])
            epoch = of_epoch[event]
            if epoch == TOO_OLD:
                continue
            if epoch >= KEPT or rows[event] < 0 or rows[event] >= lengths[epoch]:
                return event
            if not 0 <= parts[event] < num_parts:
                return -1 - event
            year = min(max(years[event] - first_year, <int64_t> 0), num_years - 1)
            moments[epoch][rows[event]] += quanta[event] * year
            tables[epoch][year * num_parts + parts[event]] += quanta[event]
    return n
