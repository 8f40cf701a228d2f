"""The compiled loop that weighs all rows again of which only a part has changed since (``kept_sums``)."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from springtide.arrays cimport int32s, int64s, out_float64s, out_int32s, out_int64s
from springtide_plugins.context_weights.cell_pages cimport (
    DENSE, FAILED, ROWS, Page, SparseCells, as_double, cells_of, codes_of, entries_of, lock_page, page_of,
    stamps_of, sums_of, unlock_page, wide_int,
)

cdef extern from *:
    """
    #define PREFETCH(address) __builtin_prefetch(address)
    """
    void PREFETCH(const void* address) noexcept nogil


cnp.import_array()


cdef enum:
    MOST_SETS = 8  # Of weights of bins, which are read at once.
    LAST_LOOK = 65_000
    IN_SUM = 4  # Numbers of what is known of the sums of a set: see ``_change``.
    NUM_WIDE = 2
    AHEAD = 6  # Pages that have changed are on their way from memory while others are weighed.


cdef struct Kept:
    const int64_t* of_bins  # [num_bins]
    const int32_t* of_codes  # [num_codes]
    int64_t* sums  # [length]; INT64_MIN for a sum of more bits.
    Py_ssize_t length
    int64_t since  # The look that they are of; pages with an older stamp have not changed.
    int64_t* known  # [IN_SUM]; sets that are given twice have one.
    wide_int wide  # The total of the wide ones, without those of later rows: they are weighed at each look.


def weights_of_codes(SparseCells cells not None, cnp.ndarray weights):
    """Return the weights of all bins of each code, int32 ``[num_codes]``.

    Args:
        cells: The cells.
        weights: int64 ``[num_bins]``; below 2^32 in sum, and each below 2^25, so that weighted sums fit into int64.
    """
    cdef Py_ssize_t code, part
    cdef const int64_t* of_bins = int64s(weights)
    sizes = np.abs(weights)
    if len(weights) != cells.num_bins or sizes.max() >= 2**25 or sizes.sum() >= 2**32:
        raise ValueError(f"wanted weights below 2^25, and below 2^32 in sum, of {cells.num_bins} bins, got {weights}")
    of_codes = np.zeros(cells.num_codes, np.int32)
    cdef int32_t* of_code = out_int32s(of_codes)
    for code in range(cells.num_codes):
        for part in range(cells.num_parts):
            if cells.bins_of[code * cells.num_parts + part] >= 0:
                of_code[code] += <int32_t> of_bins[cells.bins_of[code * cells.num_parts + part]]
    return of_codes


def next_look(SparseCells cells not None):
    """Return the number of the look that begins, at least 1; 1 if all that was kept of former looks is void."""
    cdef int64_t row
    cdef Page* page
    cdef int64_t number
    cdef Py_ssize_t index
    if cells.look < LAST_LOOK:
        cells.look += 1
        return cells.look
    cells.look = 1
    for index in range((cells.num_rows + ROWS - 1) // ROWS):
        page = page_of(cells, index * ROWS)
        if page != NULL:
            lock_page(&page.lock)
            page.stamp = 0
            unlock_page(&page.lock)
    return 1


def accumulate_kept(
    SparseCells cells not None, weights, of_codes, sums, known, since, double unit, cnp.ndarray counts
):
    """Add weighted sums to counts as ``cell_kernels.accumulate`` does, weighing only pages that have changed.

    Args:
        cells: The cells; ``next_look`` was called just before.
        weights: For each set, int64 ``[num_bins]``.
        of_codes: For each set, what ``weights_of_codes`` returns for it.
        sums: For each set, int64 ``[length]``, the sums of the look before, brought up to date here; each length is a
            multiple of 8, and no less than the number of rows.
        known: For each set, int64 ``[4]``, what is known of its sums; brought up to date, too. Zeros at first.
        since: For each set, the number of the look that its sums are of; 0 if there was none.
        unit: What a sum weighted by 1 counts.
        counts: float64 ``[num_sets, num_rows]``.

    Returns:
        For each set, the sum of what was added; and how many pages were weighed for it.
    """
    cdef Py_ssize_t num_sets = len(sums), num_rows = counts.shape[1], number, length = 0
    cdef Kept kept[MOST_SETS]
    cdef int64_t num_weighed[MOST_SETS]
    if not 0 < num_sets <= MOST_SETS or len(counts) != num_sets:
        raise ValueError(f"wanted counts of 1 to {MOST_SETS} sets, got {num_sets} sets and {len(counts)}")
    for number in range(num_sets):
        kept[number].length = len(sums[number])
        length = max(length, kept[number].length)
        if kept[number].length % ROWS or kept[number].length < num_rows:
            raise ValueError(f"wanted sums of {num_rows} rows or more, in pages of {ROWS}, got {len(sums[number])}")
        if len(weights[number]) != cells.num_bins or len(of_codes[number]) != cells.num_codes:
            raise ValueError(f"wanted weights of {cells.num_bins} bins and {cells.num_codes} codes in each set")
        kept[number].of_bins, kept[number].of_codes = int64s(weights[number]), int32s(of_codes[number])
        if len(known[number]) != IN_SUM:
            raise ValueError(f"wanted {IN_SUM} numbers about each set, got {len(known[number])}")
        kept[number].sums, kept[number].since, kept[number].wide = out_int64s(sums[number]), since[number], 0
        kept[number].known = out_int64s(known[number])
        num_weighed[number] = 0
    cdef double* out = out_float64s(counts)
    cdef int failed
    with nogil:
        failed = _accumulate(cells, kept, num_sets, length, num_rows, unit, out, num_weighed)
    if failed:
        raise MemoryError
    totals = [unit * as_double(_total_before(&kept[number], num_rows)) for number in range(num_sets)]
    return totals, [num_weighed[number] for number in range(num_sets)]


cdef wide_int _total_before(const Kept* kept, Py_ssize_t num_rows) noexcept nogil:
    """Return the total of the rows before ``num_rows``."""
    cdef wide_int total
    cdef Py_ssize_t row
    memcpy(&total, kept.known, sizeof(wide_int))
    total += kept.wide
    for row in range(num_rows, kept.length):
        if kept.sums[row] != INT64_MIN:
            total -= kept.sums[row]
    return total


cdef int _accumulate(
    SparseCells cells, Kept* kept, Py_ssize_t num_sets, Py_ssize_t length, Py_ssize_t num_rows, double unit,
    double* counts, int64_t* num_weighed,
) noexcept nogil:
    cdef Py_ssize_t index, first, row, number, stop
    cdef Page* page
    cdef const Page* later
    cdef const int64_t* sums
    cdef double* out
    cdef int64_t since = INT64_MAX
    for number in range(num_sets):
        since = min(since, kept[number].since)
    for index in range(length // ROWS):
        later = page_of(cells, (index + AHEAD) * ROWS)
        if later != NULL and later.stamp >= since and later.data != NULL:  # Without its lock: it is only a guess.
            PREFETCH(later.data)
            PREFETCH(later.data + 64)
            PREFETCH(later.data + 128)
        first = index * ROWS
        stop = min(first + ROWS, num_rows)
        page = page_of(cells, first)
        if page == NULL:
            continue  # Its sums are 0: a page that is there once stays.
        lock_page(&page.lock)
        for number in range(num_sets):
            if first >= kept[number].length:
                continue
            sums, out = kept[number].sums + first, counts + number * num_rows + first
            if page.stamp >= kept[number].since or (kept[number].known[NUM_WIDE] and _has_wide(sums)):
                if cells.settle(page) != 0:
                    unlock_page(&page.lock)
                    return FAILED
                _weigh_page(cells, page, &kept[number], first, stop, unit, out)
                num_weighed[number] += 1
            elif stop - first == ROWS:
                for row in range(ROWS):
                    out[row] += unit * <double> sums[row]
            else:
                for row in range(stop - first):
                    out[row] += unit * <double> sums[row]
        unlock_page(&page.lock)
    return 0


cdef inline bint _has_wide(const int64_t* sums) noexcept nogil:
    cdef Py_ssize_t row
    cdef bint is_wide = False
    for row in range(ROWS):
        is_wide |= sums[row] == INT64_MIN
    return is_wide


cdef void _weigh_page(
    SparseCells cells, const Page* page, Kept* kept, Py_ssize_t first, Py_ssize_t stop, double unit, double* out
) noexcept nogil:
    """Bring the sums of the rows that have changed up to date, and add those of the rows before ``stop`` to ``out``."""
    cdef wide_int found[ROWS]
    cdef int64_t* sums = kept.sums + first
    cdef wide_int change = 0
    cdef Py_ssize_t row, at = 0
    cdef uint8_t kind
    for row in range(ROWS):
        kind = (<uint8_t*> page.data)[row] if page.data != NULL else 0
        if page.data == NULL or stamps_of(page)[row] >= kept.since or sums[row] == INT64_MIN:
            found[row] = _sum_of_row(cells, page, kind, at, kept)
        else:
            found[row] = sums[row]
        at += entries_of(kind)
    for row in range(ROWS):
        if sums[row] == INT64_MIN:
            kept.known[NUM_WIDE] -= 1
        else:
            change -= sums[row]
        if -INT64_MAX <= found[row] <= INT64_MAX:
            sums[row] = <int64_t> found[row]
            change += found[row]
        else:
            sums[row] = INT64_MIN
            kept.known[NUM_WIDE] += 1
            if first + row < stop:
                kept.wide += found[row]
    _change(kept.known, change)
    for row in range(stop - first):
        out[row] += unit * as_double(found[row])


cdef void _change(int64_t* known, wide_int change) noexcept nogil:
    """Change the total of all sums but the wide ones, those of later rows included; it is the first two numbers."""
    cdef wide_int total
    memcpy(&total, known, sizeof(wide_int))
    total += change
    memcpy(known, &total, sizeof(wide_int))


cdef wide_int _sum_of_row(
    SparseCells cells, const Page* page, uint8_t kind, Py_ssize_t at, const Kept* kept
) noexcept nogil:
    """Return the weighted sum of a row whose entries begin at ``at``."""
    cdef Py_ssize_t entry, bin_
    cdef int64_t sum_ = 0
    cdef wide_int wide = 0
    cdef const void* array
    if kind < DENSE:
        for entry in range(at, at + kind):
            sum_ += <int64_t> sums_of(page)[entry] * kept.of_codes[codes_of(page)[entry]]
        return sum_
    array = cells_of(page, at)
    if kind == DENSE:
        for bin_ in range(cells.num_bins):
            sum_ += (<const int32_t*> array)[bin_] * kept.of_bins[bin_]
        return sum_
    for bin_ in range(cells.num_bins):
        wide += <wide_int> (<const int64_t*> array)[bin_] * kept.of_bins[bin_]
    return wide
