"""The compiled loop that weighs all rows again of which only a part has changed since (``kept_sums``)."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t

from springtide.arrays cimport int32s, int64s, out_float64s, out_int32s, out_int64s
from springtide_plugins.context_weights.cell_pages cimport (
    DENSE, FAILED, ROWS, Page, SparseCells, as_double, cells_of, codes_of, entries_of, lock_page, page_of, sums_of,
    unlock_page, wide_int,
)

cnp.import_array()


cdef enum:
    MOST_SETS = 8  # Of weights of bins, which are read at once.
    LAST_LOOK = 65_000


cdef struct Kept:
    const int64_t* of_bins  # [num_bins]
    const int32_t* of_codes  # [num_codes]
    int64_t* sums  # [length]; INT64_MIN for a sum of more bits.
    Py_ssize_t length
    int64_t since  # The look that they are of; pages with an older stamp have not changed.
    wide_int total


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


def accumulate_kept(SparseCells cells not None, weights, of_codes, sums, since, double unit, cnp.ndarray counts):
    """Add weighted sums to counts as ``cell_kernels.accumulate`` does, weighing only pages that have changed.

    Args:
        cells: The cells; ``next_look`` was called just before.
        weights: For each set, int64 ``[num_bins]``.
        of_codes: For each set, what ``weights_of_codes`` returns for it.
        sums: For each set, int64 ``[length]``, the sums of the look before, brought up to date here; each length is a
            multiple of 8, and no less than the number of rows.
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
        kept[number].sums, kept[number].since, kept[number].total = out_int64s(sums[number]), since[number], 0
        num_weighed[number] = 0
    cdef double* out = out_float64s(counts)
    cdef int failed
    with nogil:
        failed = _accumulate(cells, kept, num_sets, length, num_rows, unit, out, num_weighed)
    if failed:
        raise MemoryError
    totals = [unit * as_double(kept[number].total) for number in range(num_sets)]
    return totals, [num_weighed[number] for number in range(num_sets)]


cdef int _accumulate(
    SparseCells cells, Kept* kept, Py_ssize_t num_sets, Py_ssize_t length, Py_ssize_t num_rows, double unit,
    double* counts, int64_t* num_weighed,
) noexcept nogil:
    cdef Py_ssize_t index, first, row, number, stop
    cdef Page* page
    cdef bint is_wide
    cdef wide_int wide[ROWS]
    cdef int64_t* sums
    cdef double* out
    for index in range(length // ROWS):
        first = index * ROWS
        stop = min(first + ROWS, num_rows)
        page = page_of(cells, first)
        if page == NULL:
            continue  # Its sums are 0: a page that is there once stays.
        lock_page(&page.lock)
        for number in range(num_sets):
            if first >= kept[number].length:
                continue
            sums, out = kept[number].sums + first, counts + number * num_rows
            is_wide = False
            for row in range(ROWS):
                is_wide |= sums[row] == INT64_MIN
            if page.stamp < kept[number].since and not is_wide:
                for row in range(first, stop):
                    kept[number].total += sums[row - first]
                    out[row] += unit * <double> sums[row - first]
                continue
            if cells.settle(page) != 0:
                unlock_page(&page.lock)
                return FAILED
            _weigh_page(cells, page, &kept[number], wide)
            num_weighed[number] += 1
            for row in range(ROWS):
                sums[row] = <int64_t> wide[row] if -INT64_MAX <= wide[row] <= INT64_MAX else INT64_MIN
            for row in range(first, stop):
                kept[number].total += wide[row - first]
                out[row] += unit * as_double(wide[row - first])
        unlock_page(&page.lock)
    return 0


cdef void _weigh_page(SparseCells cells, const Page* page, const Kept* kept, wide_int* wide) noexcept nogil:
    cdef Py_ssize_t row, at = 0, entry, bin_
    cdef int64_t sum_
    cdef uint8_t kind
    cdef const void* array
    for row in range(ROWS):
        kind = (<uint8_t*> page.data)[row] if page.data != NULL else 0
        wide[row] = 0
        sum_ = 0
        if kind >= DENSE:
            array = cells_of(page, at)
            for bin_ in range(cells.num_bins if kind == DENSE else 0):
                sum_ += (<const int32_t*> array)[bin_] * kept.of_bins[bin_]
            wide[row] = sum_
            for bin_ in range(0 if kind == DENSE else cells.num_bins):
                wide[row] += <wide_int> (<const int64_t*> array)[bin_] * kept.of_bins[bin_]
        elif kind:
            for entry in range(at, at + kind):
                sum_ += <int64_t> sums_of(page)[entry] * kept.of_codes[codes_of(page)[entry]]
            wide[row] = sum_
        at += entries_of(kind)
