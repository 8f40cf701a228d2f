"""The compiled loops of counts: weights in whole quanta, sums by item, and the bins of times.

An event's quanta are those of ``epochs``: its weight, grown with its time within its epoch, rounded to a whole number.
Powers of 2 are NumPy's own (``_exp2``), since the C library's may differ in the last bit, and so may a count.
"""

import numpy as np

cimport numpy as cnp
from libc.math cimport rint
from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t, uint8_t

from springtide.arrays cimport float32s, int32s, int64s, out_float64s, out_int32s, out_int64s, out_uint8s

cdef extern from *:
    """
    #define LOAD(address) __atomic_load_n(address, __ATOMIC_ACQUIRE)
    #define STORE(address, value) __atomic_store_n(address, value, __ATOMIC_SEQ_CST)
    """
    int32_t LOAD(const int32_t* address) noexcept nogil
    void STORE(int32_t* address, int32_t value) noexcept nogil


cdef enum:
    KEPT = 3  # Epochs that are kept, as in ``epochs``.
    BLOCK = 256  # Events whose powers of 2 are found together.
    TOO_OLD = 255  # The epoch of an event that is before all that are kept.
    DAY_MS = 86_400_000
    HOUR_MS = 3_600_000
    HIGH_BITS = 30  # A sum is ``low + (high << 30)``.
    MOVING = -2_147_483_648  # In place of ``high`` while a sum is moved: who reads it waits.


cdef struct Epochs:
    int64_t origin_ms
    int64_t length_ms  # 0 if there is one epoch alone.
    int64_t oldest
    double per_half_life
    double quanta


ctypedef void (*Loop)(char**, cnp.npy_intp*, cnp.npy_intp*, void*) noexcept nogil

cdef Loop _loop = NULL
cdef void* _loop_data = NULL

cnp.import_array()


cdef inline cnp.ndarray _ready(object array, int type_number):
    """Return the array as loops take it: itself, or a copy where it is of strides; a fraction of NumPy's own call."""
    return <cnp.ndarray> cnp.PyArray_FROMANY(array, type_number, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)


cdef int _find_loop() except -1:
    """Find NumPy's own loop for powers of 2 of float64, the one that it has chosen for this processor."""
    global _loop, _loop_data
    cdef cnp.ufunc power = np.exp2
    cdef int index
    for index in range(power.ntypes):
        if power.types[2 * index] == cnp.NPY_DOUBLE and power.types[2 * index + 1] == cnp.NPY_DOUBLE:
            _loop = <Loop> power.functions[index]
            _loop_data = power.data[index] if power.data != NULL else NULL
            return 0
    raise ImportError("wanted NumPy's exp2 of float64, got none")


_find_loop()


cdef inline void _exp2(double* values, cnp.npy_intp n) noexcept nogil:
    """Replace values by their powers of 2, to the last bit as ``np.exp2`` does."""
    cdef char* pointers[2]
    cdef cnp.npy_intp steps[2]
    pointers[0] = pointers[1] = <char*> values
    steps[0] = steps[1] = sizeof(double)
    _loop(pointers, &n, steps, _loop_data)


cdef inline int64_t _floor_div(int64_t a, int64_t b) noexcept nogil:
    cdef int64_t quotient = a / b
    return quotient - (a % b != 0 and (a < 0) != (b < 0))


cdef void _quantise(
    const Epochs* epochs, Py_ssize_t n, const int64_t* times, const float* weights, uint8_t* of_epoch, double* quanta,
) noexcept nogil:
    """Write the epoch of each event, counted from the oldest that is kept, and its quanta; n is at most ``BLOCK``."""
    cdef Py_ssize_t event
    cdef int64_t epoch
    # Most batches lie in one epoch: then no event needs a division.
    cdef int64_t begin_ms = 0, end_ms = 0, number = 0
    cdef double powers[BLOCK]
    if epochs.length_ms == 0:
        for event in range(n):
            of_epoch[event] = <uint8_t> -epochs.oldest  # The only epoch is number 0.
            quanta[event] = rint(<double> weights[event] * epochs.quanta)
        return
    for event in range(n):
        if times[event] < begin_ms or times[event] >= end_ms:
            epoch = _floor_div(times[event] - epochs.origin_ms, epochs.length_ms)
            begin_ms = epochs.origin_ms + epoch * epochs.length_ms
            end_ms = begin_ms + epochs.length_ms
            number = epoch - epochs.oldest
        of_epoch[event] = <uint8_t> number if 0 <= number < KEPT else (TOO_OLD if number < 0 else KEPT)
        powers[event] = <double> (times[event] - begin_ms) * epochs.per_half_life
    _exp2(powers, n)
    for event in range(n):
        quanta[event] = rint(<double> weights[event] * epochs.quanta * powers[event])


def add_decayed(
    lows, highs, rows, timestamps_ms, weights, Py_ssize_t start,
    int64_t origin_ms, int64_t length_ms, int64_t oldest, double per_half_life, double quanta,
):
    """Add events from ``start`` on to their rows, until one whose row, epoch or sum has no place.

    Args:
        lows: Sums by row of the epochs that are kept, the oldest first: three of int32 ``[num_rows]``.
        highs: Multiples of 2^30 to add to these, int32 of the same lengths; or of length 0, if all are 0.
        rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``; of epochs before the oldest, events are left out.
        weights: float32 ``[n]``.
        start: Position of the first event to add.
        origin_ms: When epoch 0 begins.
        length_ms: Length of an epoch; 0 if there is one alone, number 0.
        oldest: Number of the oldest epoch that is kept.
        per_half_life: 1 over the half-life, in milliseconds.
        quanta: Quanta of an event of weight 1 at the beginning of an epoch.

    Returns:
        The position of the first event that has no place, or the number of events.
    """
    cdef int32_t* low[KEPT]
    cdef int32_t* high[KEPT]
    cdef Py_ssize_t lengths[KEPT]
    cdef Epochs epochs
    cdef Py_ssize_t number
    epochs.origin_ms, epochs.length_ms, epochs.oldest = origin_ms, length_ms, oldest
    epochs.per_half_life, epochs.quanta = per_half_life, quanta
    for number in range(KEPT):
        low[number], lengths[number] = out_int32s(lows[number]), len(lows[number])
        high[number] = out_int32s(highs[number]) if len(highs[number]) == lengths[number] else NULL
    rows, timestamps_ms = _ready(rows, cnp.NPY_INT32), _ready(timestamps_ms, cnp.NPY_INT64)
    weights = _ready(weights, cnp.NPY_FLOAT32)
    if not len(rows) == len(timestamps_ms) == len(weights):
        raise ValueError(f"wanted columns of one length, got {len(rows)}, {len(timestamps_ms)}, {len(weights)}")
    return _add_decayed(
        &epochs, low, high, lengths, start, len(rows), int32s(rows), int64s(timestamps_ms), float32s(weights)
    )


cdef Py_ssize_t _add_decayed(
    const Epochs* epochs, int32_t** lows, int32_t** highs, const Py_ssize_t* lengths, Py_ssize_t start, Py_ssize_t n,
    const int32_t* rows, const int64_t* times, const float* weights,
) noexcept:
    cdef Py_ssize_t first, event, count
    cdef uint8_t of_epoch[BLOCK]
    cdef double quanta[BLOCK]
    cdef uint8_t epoch
    cdef int64_t total
    with nogil:
        first = start
        while first < n:
            count = min(<Py_ssize_t> BLOCK, n - first)
            _quantise(epochs, count, times + first, weights + first, of_epoch, quanta)
            for event in range(count):
                epoch = of_epoch[event]
                if epoch == TOO_OLD:
                    continue
                if epoch >= KEPT or rows[first + event] < 0 or rows[first + event] >= lengths[epoch]:
                    return first + event
                total = lows[epoch][rows[first + event]] + _whole(quanta[event])
                if INT32_MIN <= total <= INT32_MAX:
                    lows[epoch][rows[first + event]] = <int32_t> total
                elif highs[epoch] == NULL:
                    return first + event
                else:
                    _carry(lows[epoch] + rows[first + event], highs[epoch] + rows[first + event], total)
            first += count
    return n


cdef inline int64_t _whole(double quanta) noexcept nogil:
    """Return quanta as a whole number, as far as the two columns reach."""
    return <int64_t> max(min(quanta, <double> (<int64_t> 1 << 59)), -<double> (<int64_t> 1 << 59))


cdef void _carry(int32_t* low, int32_t* high, int64_t total) noexcept nogil:
    """Move what is too large for the first column to the second one."""
    cdef int64_t more = high[0] + (total >> HIGH_BITS)
    STORE(high, MOVING)
    STORE(low, <int32_t> (total & ((<int64_t> 1 << HIGH_BITS) - 1)))
    STORE(high, <int32_t> max(min(more, <int64_t> INT32_MAX), -<int64_t> INT32_MAX))


cdef inline int64_t _sum_of(const int32_t* low, const int32_t* high) noexcept nogil:
    """Return a row's sum; never half of what it is moved to."""
    cdef int32_t before, found
    while True:
        before = LOAD(high)
        found = LOAD(low)
        if before != MOVING and LOAD(high) == before:
            return found + (<int64_t> before << HIGH_BITS)


def add_column(low, high, double factor, counts):
    """Add the sums of an epoch, times a factor, to the counts.

    Args:
        low: int32 ``[num_rows]``, as for ``add_decayed``.
        high: The same, or of length 0.
        factor: What a quantum counts.
        counts: float64 ``[num_counts]``; rows from there on are left out.

    Returns:
        The sum of these rows, in quanta, exactly.
    """
    cdef Py_ssize_t num = min(len(low), len(counts))
    cdef const int32_t* high_ = NULL
    if len(high):
        if len(high) != len(low):
            raise ValueError(f"wanted columns of one length, got {len(low)} and {len(high)}")
        high_ = int32s(high)
    return _add_column(num, int32s(low), high_, factor, out_float64s(counts))


cdef int64_t _add_column(Py_ssize_t num, const int32_t* low, const int32_t* high, double factor, double* counts) noexcept:
    cdef Py_ssize_t row
    cdef int64_t found, total = 0
    with nogil:
        if high == NULL:
            for row in range(num):
                total += low[row]
                counts[row] += factor * low[row]
        else:
            for row in range(num):
                found = _sum_of(low + row, high + row)
                total += found
                counts[row] += factor * <double> found
    return total


def quantise(
    timestamps_ms, weights, of_epoch, quanta,
    int64_t origin_ms, int64_t length_ms, int64_t oldest, double per_half_life, double quanta_of_one,
):
    """Write the epoch and the quanta of events; for the arguments see ``add_decayed``.

    Args:
        timestamps_ms: int64 ``[n]``.
        weights: float32 ``[n]``.
        of_epoch: Output, uint8 ``[n]``, counted from the oldest epoch that is kept; 255 for an event before it.
        quanta: Output, int64 ``[n]``.
    """
    cdef Epochs epochs
    epochs.origin_ms, epochs.length_ms, epochs.oldest = origin_ms, length_ms, oldest
    epochs.per_half_life, epochs.quanta = per_half_life, quanta_of_one
    timestamps_ms, weights = _ready(timestamps_ms, cnp.NPY_INT64), _ready(weights, cnp.NPY_FLOAT32)
    if not len(timestamps_ms) == len(weights) == len(of_epoch) == len(quanta):
        raise ValueError(f"wanted columns of one length, got {len(timestamps_ms)} times, {len(weights)} weights")
    _quantise_all(
        &epochs, len(weights), int64s(timestamps_ms), float32s(weights), out_uint8s(of_epoch), out_int64s(quanta)
    )


cdef void _quantise_all(
    const Epochs* epochs, Py_ssize_t n, const int64_t* times, const float* weights, uint8_t* of_epoch, int64_t* quanta,
) noexcept:
    cdef Py_ssize_t first, event, count
    cdef double found[BLOCK]
    with nogil:
        first = 0
        while first < n:
            count = min(<Py_ssize_t> BLOCK, n - first)
            _quantise(epochs, count, times + first, weights + first, of_epoch + first, found)
            for event in range(count):
                quanta[first + event] = <int64_t> found[event]
            first += count


def bins_of_times(local_ms, bins, int64_t days_per_part):
    """Write hour, weekday, part of the year, and year of local times.

    Args:
        local_ms: int64 ``[n]``, milliseconds since the Unix epoch.
        bins: Output, int64 ``[4, n]``: hours from 0 to 23; weekdays, 0 for Monday; parts of the year, of which the last
            one has the 366th day of a leap year, too; and years, such as 2024.
        days_per_part: Days in each part of the year.
    """
    cdef Py_ssize_t n = len(local_ms)
    cdef int64_t* hours = out_int64s(bins)
    if len(bins) != 4 or bins.shape[1] != n:
        raise ValueError(f"wanted bins [4, {n}], got {list(bins.shape)}")
    local_ms = _ready(local_ms, cnp.NPY_INT64)
    _bins_of_times(n, int64s(local_ms), hours, hours + n, hours + 2 * n, hours + 3 * n, days_per_part)


cdef void _bins_of_times(
    Py_ssize_t n, const int64_t* local_ms, int64_t* hours, int64_t* weekdays, int64_t* parts, int64_t* years,
    int64_t days_per_part,
) noexcept:
    cdef Py_ssize_t event
    cdef int64_t day, begin_ms = 0, end_ms = 0, weekday = 0, part = 0, year = 0
    with nogil:
        for event in range(n):
            if local_ms[event] < begin_ms or local_ms[event] >= end_ms:  # Most events are of the day of the last one.
                day = _floor_div(local_ms[event], DAY_MS)
                begin_ms, end_ms = day * DAY_MS, (day + 1) * DAY_MS
                weekday = (day + 3) - 7 * _floor_div(day + 3, 7)  # 1970-01-01 was a Thursday; Monday is 0.
                part = min(_day_of_year(day, &year), <int64_t> 364) / days_per_part
            hours[event] = (local_ms[event] - begin_ms) / HOUR_MS
            weekdays[event] = weekday
            parts[event] = part
            years[event] = year


cdef inline int64_t _day_of_year(int64_t day, int64_t* year) noexcept nogil:
    """Return the day of the year, from 0 on, of a day since the Unix epoch, and write the year (Hinnant, civil dates)."""
    cdef int64_t era, of_era, of_march, of_year
    day += 719_468  # Since 0000-03-01: years that begin in March end with the leap day.
    era = _floor_div(day, 146_097)
    of_era = day - 146_097 * era
    of_march = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365
    of_year = of_era - (365 * of_march + of_march / 4 - of_march / 100)
    year[0] = 400 * era + of_march + (of_year >= 306)
    if of_year >= 306:  # January and February.
        return of_year - 306
    return of_year + 59 + (of_march % 4 == 0 and (of_march % 100 != 0 or of_march % 400 == 0))
