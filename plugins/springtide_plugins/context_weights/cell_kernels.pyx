"""The compiled loops over sums by row and bin (``cell_pages``): adding events, and weighing all rows."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from springtide.arrays cimport int32s, int64s, out_float64s, out_int32s, uint8s
from springtide_plugins.context_weights.cell_pages cimport (
    DENSE, FAILED, PREFETCH_TO_WRITE, ROWS, Event, Page, SparseCells, as_double, cells_of, codes_of, entries_of,
    lock_page, page_of, start_of, sums_of, unlock_page, wide_int,
)

cnp.import_array()


cdef extern from *:
    """
    /* A function that does nothing else has no effect to a compiler, which then drops it: hence the volatile nothing. */
    #define PREFETCH(address) do { __builtin_prefetch(address); __asm__ volatile(""); } while (0)
    """
    void PREFETCH(const void* address) noexcept nogil


cdef enum:
    KEPT = 3  # Epochs that are kept, as in ``epochs``.
    TOO_OLD = 255  # The epoch of an event that is before all that are kept.
    AHEAD = 8  # Events whose pages are on their way from memory while others are added.
    MOST_SETS = 8  # Of weights of bins, which are read at once.
    MANY = 8_192  # Events that it pays to put in the order of pages first.
    MOST_AT_ONCE = 131_072  # The same, at most: 4 MiB.
    MOST_LOCKED = 64  # Events that are added to a page at once, while others wait for its lock: about a microsecond.
    BUCKETS = 1_024  # Of neighbouring pages: those of one stay in the fastest memory while they are added to.


cdef struct Weights:
    Py_ssize_t num_sets
    const int64_t* of_bins  # [num_sets, num_bins]
    const int32_t* of_codes  # [num_codes, num_sets]: a set's weights of all bins of a code.


def add_to_cells(held, bins, rows, of_epoch, quanta, Py_ssize_t start):
    """Add events from ``start`` on, until one that has no place.

    Args:
        held: ``SparseCells`` of the epochs that are kept, the oldest first, three; None where there are none.
        bins: int64 ``[num_parts, n]``, the bin of each part; ``[n]`` for one part.
        rows: int32 ``[n]``.
        of_epoch: uint8 ``[n]``, as ``quantise`` writes it.
        quanta: int64 ``[n]``.
        start: Position of the first event to add.

    Returns:
        The position of the first event that was not added, or the number of events.
    """
    cdef cnp.ndarray bins_ = <cnp.ndarray> cnp.PyArray_FROMANY(bins, cnp.NPY_INT64, 1, 2, cnp.NPY_ARRAY_CARRAY_RO)
    cdef cnp.ndarray rows_ = <cnp.ndarray> cnp.PyArray_FROMANY(rows, cnp.NPY_INT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)
    cdef Py_ssize_t num = rows_.shape[0], num_parts = 1 if bins_.ndim == 1 else bins_.shape[0]
    cdef Py_ssize_t event, part, code
    cdef SparseCells each
    cdef void* cells[KEPT]
    if not bins_.shape[bins_.ndim - 1] == num == len(of_epoch) == len(quanta):
        raise ValueError(f"wanted columns of one length, got {bins_.shape[bins_.ndim - 1]} bins, {num} rows, "
                         f"{len(quanta)} weights")
    for part in range(KEPT):
        each = held[part]
        cells[part] = NULL if each is None else <void*> each
        if each is not None and each.num_parts != num_parts:
            raise ValueError(f"wanted bins of {each.num_parts} parts, got {num_parts}")
    event = _add_to_cells(
        cells, num_parts, start, num, int64s(bins_), int32s(rows_), uint8s(of_epoch), int64s(quanta)
    )
    if event < 0:
        raise MemoryError
    return event


cdef Py_ssize_t _add_to_cells(
    void** cells, Py_ssize_t num_parts, Py_ssize_t start, Py_ssize_t num, const int64_t* bins, const int32_t* rows,
    const uint8_t* of_epoch, const int64_t* quanta,
) noexcept:
    cdef Py_ssize_t event = start, stop
    with nogil:
        while num - event >= MANY:
            stop = min(num, event + MOST_AT_ONCE)
            event = _add_by_page(cells, num_parts, event, stop, num, bins, rows, of_epoch, quanta)
            if event < stop:
                return event
        return _add_in_order(cells, num_parts, event, num, bins, rows, of_epoch, quanta)


cdef Py_ssize_t _add_in_order(
    void** cells, Py_ssize_t num_parts, Py_ssize_t start, Py_ssize_t num, const int64_t* bins, const int32_t* rows,
    const uint8_t* of_epoch, const int64_t* quanta,
) noexcept nogil:
    cdef Py_ssize_t event, code
    cdef Page* later
    for event in range(start, num):
        if event + 4 * AHEAD < num:
            later = _later(cells, of_epoch[event + 4 * AHEAD], rows[event + 4 * AHEAD])
            if later != NULL:
                PREFETCH_TO_WRITE(later)
        if event + 2 * AHEAD < num:
            later = _later(cells, of_epoch[event + 2 * AHEAD], rows[event + 2 * AHEAD])
            if later != NULL and later.data != NULL:
                PREFETCH_TO_WRITE(later.data)
                PREFETCH_TO_WRITE(sums_of(later) + later.used + later.late)
                PREFETCH_TO_WRITE(codes_of(later) + later.used + later.late)
        if event + AHEAD < num:
            _prefetch_pointer(_later(cells, of_epoch[event + AHEAD], rows[event + AHEAD]), rows[event + AHEAD] % ROWS)
        if event + AHEAD // 2 < num:
            _prefetch_cells(cells, num_parts, num, bins, rows, of_epoch, event + AHEAD // 2)
        if of_epoch[event] == TOO_OLD:
            continue
        code = _code_at(cells, num_parts, num, bins + event, rows[event], of_epoch[event])
        if code < 0:
            return event
        if (<SparseCells> cells[of_epoch[event]]).add(rows[event], code, quanta[event]) != 0:
            return FAILED
    return num


cdef Py_ssize_t _add_by_page(
    void** cells, Py_ssize_t num_parts, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t num, const int64_t* bins,
    const int32_t* rows, const uint8_t* of_epoch, const int64_t* quanta,
) noexcept nogil:
    """Add events up to ``stop`` or one that has no place, those of neighbouring pages together: sums have no order."""
    cdef Py_ssize_t event, code, bucket, run_stop, num_kept = 0, next_start = 0, shift = 3
    cdef int32_t most = 0
    cdef int32_t starts[BUCKETS]
    cdef Event* given = <Event*> malloc(2 * (stop - start) * sizeof(Event))
    cdef Event* ordered = given + (stop - start)
    cdef bint is_ordered = True
    if given == NULL:
        return FAILED
    for event in range(start, stop):
        if of_epoch[event] == TOO_OLD:
            continue
        code = _code_at(cells, num_parts, num, bins + event, rows[event], of_epoch[event])
        if code < 0:
            stop = event
            break
        given[num_kept].quanta, given[num_kept].row = quanta[event], rows[event]
        given[num_kept].code, given[num_kept].epoch = <uint16_t> code, of_epoch[event]
        most = max(most, rows[event])
        num_kept += 1
    while most >> shift >= BUCKETS:
        shift += 1
    memset(starts, 0, sizeof(starts))
    for event in range(num_kept):
        is_ordered &= given[event].row >> shift >= next_start
        next_start = given[event].row >> shift
        starts[next_start] += 1
    next_start = 0
    for bucket in range(BUCKETS):
        starts[bucket], next_start = <int32_t> next_start, next_start + starts[bucket]
    if is_ordered:  # As ``Observed.by_items`` gives them.
        ordered = given
    for event in range(0 if is_ordered else num_kept):
        bucket = given[event].row >> shift
        ordered[starts[bucket]] = given[event]
        starts[bucket] += 1
    event = 0
    while event < num_kept:
        run_stop = event
        while run_stop < min(num_kept, event + MOST_LOCKED) and _are_of_one_page(ordered + event, ordered + run_stop):
            _fetch_ahead(cells, ordered, run_stop, num_kept)
            run_stop += 1
        if (<SparseCells> cells[ordered[event].epoch]).add_run(ordered + event, run_stop - event) != 0:
            stop = FAILED
            break
        event = run_stop
    free(given)
    return stop


cdef inline bint _are_of_one_page(const Event* event, const Event* other) noexcept nogil:
    return event.row // ROWS == other.row // ROWS and event.epoch == other.epoch


cdef inline void _fetch_ahead(void** cells, const Event* events, Py_ssize_t event, Py_ssize_t num) noexcept nogil:
    """Fetch what later events are added to, step by step: each step finds where the next one is."""
    cdef const Event* later = events + event + 4 * AHEAD
    if event + 4 * AHEAD < num and not _are_of_one_page(later, later - 1):
        PREFETCH_TO_WRITE(_page_of_event(cells, later))
    later = events + event + 2 * AHEAD
    if event + 2 * AHEAD < num and not _are_of_one_page(later, later - 1):
        _prefetch_late(_page_of_event(cells, later))
    later = events + event + AHEAD
    if event + AHEAD < num and later.row != (later - 1).row:
        _prefetch_pointer(_page_of_event(cells, later), later.row % ROWS)
    later = events + event + AHEAD // 2
    if event + AHEAD // 2 < num:
        _prefetch_bins(<SparseCells> cells[later.epoch], later)


cdef inline Page* _later(void** cells, uint8_t epoch, int32_t row) noexcept nogil:
    if epoch >= KEPT or cells[epoch] == NULL or row < 0:
        return NULL
    return page_of(<SparseCells> cells[epoch], row)


cdef inline void _prefetch_late(const Page* page) noexcept nogil:
    """Fetch where an entry of a page would wait."""
    if page != NULL and page.data != NULL:
        PREFETCH_TO_WRITE(page.data)
        PREFETCH_TO_WRITE(sums_of(page) + page.used + page.late)
        PREFETCH_TO_WRITE(codes_of(page) + page.used + page.late)


cdef inline Page* _page_of_event(void** cells, const Event* event) noexcept nogil:
    return page_of(<SparseCells> cells[event.epoch], event.row)


cdef inline void _prefetch_bins(SparseCells held, const Event* event) noexcept nogil:
    """Fetch the cells of an event whose row has an array of 4 bytes for each."""
    cdef const Page* page = page_of(held, event.row)
    cdef const int32_t* array
    cdef const int16_t* bins
    cdef Py_ssize_t part
    if page != NULL and page.data != NULL and (<uint8_t*> page.data)[event.row % ROWS] == DENSE:
        array = <const int32_t*> cells_of(page, start_of(page, event.row % ROWS))
        bins = held.bins_of + event.code * held.num_parts
        for part in range(held.num_parts):
            PREFETCH_TO_WRITE(array + bins[part])


cdef inline void _prefetch_pointer(const Page* page, Py_ssize_t row) noexcept nogil:
    """Fetch where the pointer is, if the row has one."""
    if page != NULL and page.data != NULL and (<uint8_t*> page.data)[row] >= DENSE:
        PREFETCH(sums_of(page) + start_of(page, row))


cdef inline void _prefetch_cells(
    void** cells, Py_ssize_t num_parts, Py_ssize_t num, const int64_t* bins, const int32_t* rows,
    const uint8_t* of_epoch, Py_ssize_t event,
) noexcept nogil:
    """Fetch the cells of an event whose row has an array of 4 bytes for each."""
    cdef Py_ssize_t part
    cdef const int32_t* array
    cdef const Page* page = _later(cells, of_epoch[event], rows[event])
    if page != NULL and page.data != NULL and (<uint8_t*> page.data)[rows[event] % ROWS] == DENSE:
        array = <const int32_t*> cells_of(page, start_of(page, rows[event] % ROWS))
        for part in range(num_parts):
            PREFETCH_TO_WRITE(array + (<SparseCells> cells[of_epoch[event]]).first_bin[part] + bins[part * num + event])


cdef inline Py_ssize_t _code_at(
    void** held, Py_ssize_t num_parts, Py_ssize_t num, const int64_t* bins, int32_t row, uint8_t epoch
) noexcept nogil:
    """Return the code of an event, from a column of bins for each part; -1 if it has no place."""
    cdef Py_ssize_t part, code = 0
    cdef int64_t bin_
    if epoch >= KEPT or held[epoch] == NULL or row < 0:
        return -1
    for part in range(num_parts):
        bin_ = bins[part * num]
        if bin_ < 0 or bin_ >= (<SparseCells> held[epoch]).sizes[part]:
            return -1
        code = code * (<SparseCells> held[epoch]).sizes[part] + bin_
    return code


def accumulate(SparseCells cells not None, cnp.ndarray weights, double unit, cnp.ndarray counts):
    """Add weighted sums to counts, for some sets of weights at once.

    The order in which events came makes no difference, to the last bit: sums of whole numbers are exact.

    Args:
        cells: The cells.
        weights: int64 ``[num_sets, num_bins]``, weights of the bins; all of a set are below 2^32 in sum, and each below
            2^25, so that sums of int32 weighted by them fit into int64.
        unit: What a sum weighted by 1 counts.
        counts: float64 ``[num_sets, num_rows]``.

    Returns:
        For each set, the sum of what was added.
    """
    cdef Py_ssize_t num_sets = len(weights), num_rows = counts.shape[1], number, code, part, bin_
    cdef wide_int totals[MOST_SETS]
    cdef Weights taken
    if not 0 < num_sets <= MOST_SETS or weights.shape[1] != cells.num_bins or len(counts) != num_sets:
        raise ValueError(f"wanted weights of {cells.num_bins} bins in 1 to {MOST_SETS} sets, got {weights.shape[1]}")
    sizes = np.abs(weights)
    if sizes.max() >= 2**25 or sizes.sum(axis=1).max() >= 2**32:
        raise ValueError(f"wanted weights below 2^25, and below 2^32 in sum, got one of {sizes.max()}")
    cdef cnp.ndarray of_codes = np.zeros((cells.num_codes, num_sets), np.int32)
    cdef int32_t* of_code = out_int32s(of_codes)
    taken.num_sets, taken.of_bins, taken.of_codes = num_sets, int64s(weights), of_code
    cdef double* out = out_float64s(counts)
    cdef int failed
    with nogil:
        for code in range(cells.num_codes):
            for part in range(cells.num_parts):
                bin_ = cells.bins_of[code * cells.num_parts + part]
                if bin_ >= 0:
                    for number in range(num_sets):
                        of_code[number] += <int32_t> taken.of_bins[number * cells.num_bins + bin_]
            of_code += num_sets
        for number in range(num_sets):
            totals[number] = 0
        # The same loop, compiled for the numbers that there are most.
        if num_sets == 1:
            failed = _accumulate_rows(cells, &taken, 1, unit, num_rows, out, totals)
        elif num_sets == 4:
            failed = _accumulate_rows(cells, &taken, 4, unit, num_rows, out, totals)
        else:
            failed = _accumulate_rows(cells, &taken, num_sets, unit, num_rows, out, totals)
    if failed:
        raise MemoryError
    return [unit * as_double(totals[number]) for number in range(num_sets)]


cdef inline int _accumulate_rows(
    SparseCells cells, const Weights* taken, Py_ssize_t num_sets, double unit, Py_ssize_t num_rows, double* counts,
    wide_int* totals,
) noexcept nogil:
    cdef wide_int wide[MOST_SETS]
    cdef int64_t sums[MOST_SETS]
    cdef Py_ssize_t index, first, row, at, number, entry
    cdef const int32_t* weights
    cdef int64_t cell
    cdef uint8_t kind
    cdef Page* page
    for index in range((num_rows + ROWS - 1) // ROWS):
        first = index * ROWS
        _prefetch(page_of(cells, first + 4 * ROWS))
        page = page_of(cells, first)
        if page == NULL:
            continue
        lock_page(&page.lock)
        if cells.settle(page) != 0:
            unlock_page(&page.lock)
            return FAILED
        at = 0
        for row in range(min(<Py_ssize_t> ROWS, num_rows - first) if page.data != NULL else 0):
            kind = (<uint8_t*> page.data)[row]
            if kind == 0:
                continue
            if kind >= DENSE:
                _weigh_array(cells, taken, kind, cells_of(page, at), wide)
                for number in range(num_sets):
                    totals[number] += wide[number]
                    counts[number * num_rows + first + row] += unit * as_double(wide[number])
                at += entries_of(kind)
                continue
            for number in range(num_sets):
                sums[number] = 0
            for entry in range(at, at + kind):
                cell, weights = sums_of(page)[entry], taken.of_codes + codes_of(page)[entry] * num_sets
                for number in range(num_sets):
                    sums[number] += cell * weights[number]
            for number in range(num_sets):
                totals[number] += sums[number]
                counts[number * num_rows + first + row] += unit * <double> sums[number]
            at += kind
        unlock_page(&page.lock)
    return 0


cdef inline void _prefetch(Page* page) noexcept nogil:
    if page != NULL and page.data != NULL:
        PREFETCH(page.data)
        PREFETCH(page.data + 64)


cdef void _weigh_array(
    SparseCells cells, const Weights* taken, uint8_t kind, const void* array, wide_int* sums
) noexcept nogil:
    """Sum the weighted cells of a row that has one for each bin."""
    cdef Py_ssize_t number, bin_
    cdef const int64_t* weights = taken.of_bins
    cdef int64_t sum_
    for number in range(taken.num_sets):
        if kind == DENSE:
            sum_ = 0
            for bin_ in range(cells.num_bins):
                sum_ += (<const int32_t*> array)[bin_] * weights[bin_]
            sums[number] = sum_
        else:
            sums[number] = 0
            for bin_ in range(cells.num_bins):
                sums[number] += <wide_int> (<const int64_t*> array)[bin_] * weights[bin_]
        weights += cells.num_bins
