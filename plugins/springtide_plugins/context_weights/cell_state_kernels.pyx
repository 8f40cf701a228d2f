"""Sums by row and bin (``cell_pages``) as arrays, and back."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from springtide.arrays cimport int32s, int64s, out_int32s, out_int64s, out_uint8s, uint8s
from springtide_plugins.context_weights.cell_pages cimport (
    DENSE, FAILED, MOST_ENTRIES, ROWS, WIDE, Page, SparseCells, add_to, cells_of, codes_of, entries_of, lock_page,
    page_of, sums_of, unlock_page,
)

from springtide_plugins.context_weights.cell_kernels import accumulate

cnp.import_array()


def state_of(SparseCells cells not None):
    """Return copies of all sums, for ``fill``.

    Returns:
        kinds: uint8 ``[num_rows]``, for each row the number of its entries, 254 for one of ``dense``, 255 of
            ``wide``; without rows of none at the end.
        codes: uint16 ``[num_entries]``.
        sums: int32 ``[num_entries]``.
        dense: int32 ``[num_dense, num_bins]``.
        wide: int64 ``[num_wide, num_bins]``.
    """
    cdef int64_t sizes[4]
    cdef int64_t written[4]
    while True:  # Once, unless somebody writes meanwhile.
        if _copy(cells, sizes, NULL, NULL, NULL, NULL, NULL) != 0:
            raise MemoryError
        kinds = np.zeros(sizes[3], np.uint8)
        codes, sums = np.empty(sizes[0], np.uint16), np.empty(sizes[0], np.int32)
        dense, wide = np.empty((sizes[1], cells.num_bins), np.int32), np.empty((sizes[2], cells.num_bins), np.int64)
        written[0], written[1], written[2], written[3] = sizes[0], sizes[1], sizes[2], sizes[3]
        if _copy(
            cells, written, out_uint8s(kinds), <uint16_t*> cnp.PyArray_DATA(codes), out_int32s(sums), out_int32s(dense),
            out_int64s(wide),
        ) != 0:
            raise MemoryError
        if all([written[index] == sizes[index] for index in range(4)]):
            return kinds, codes, sums, dense, wide


cdef int _copy(
    SparseCells cells, int64_t* sizes, uint8_t* kinds, uint16_t* codes, int32_t* sums, int32_t* dense, int64_t* wide
) noexcept:
    """Count entries, dense and wide rows, and rows; write them if there is a place for them, ``sizes`` of each."""
    cdef int64_t num_entries = 0, num_dense = 0, num_wide = 0, num_rows = 0, first
    cdef Py_ssize_t index
    cdef Py_ssize_t row, at, num
    cdef uint8_t kind
    cdef bint writes = kinds != NULL
    cdef Page* page
    with nogil:
        for index in range(cells.num_rows // ROWS):
            first = index * ROWS
            page = page_of(cells, first)
            if page == NULL:
                continue
            lock_page(&page.lock)
            if cells.settle(page) != 0:
                unlock_page(&page.lock)
                return FAILED
            at = 0
            for row in range(ROWS if page.data != NULL else 0):
                kind = (<uint8_t*> page.data)[row]
                num = kind if kind < DENSE else 0
                if kind != 0:
                    num_rows = first + row + 1
                if writes and (
                    num_entries + num > sizes[0] or num_dense + (kind == DENSE) > sizes[1]
                    or num_wide + (kind == WIDE) > sizes[2] or num_rows > sizes[3]
                ):
                    sizes[0] = -1  # There is more than a moment before.
                    break
                if writes and kind != 0:
                    kinds[first + row] = kind
                    memcpy(sums + num_entries, sums_of(page) + at, 4 * num)
                    memcpy(codes + num_entries, codes_of(page) + at, 2 * num)
                    if kind == DENSE:
                        memcpy(dense + num_dense * cells.num_bins, cells_of(page, at), 4 * cells.num_bins)
                    elif kind == WIDE:
                        memcpy(wide + num_wide * cells.num_bins, cells_of(page, at), 8 * cells.num_bins)
                num_entries += num
                num_dense += kind == DENSE
                num_wide += kind == WIDE
                at += entries_of(kind)
            unlock_page(&page.lock)
            if writes and sizes[0] < 0:
                break
    if not (writes and sizes[0] < 0):
        sizes[0], sizes[1], sizes[2], sizes[3] = num_entries, num_dense, num_wide, num_rows
    return 0


def fill(SparseCells cells not None, kinds, codes, sums, dense, wide):
    """Take what ``state`` returned, where there is nothing yet.

    Raises:
        ValueError: If the arrays do not fit each other.
    """
    kinds, sums = np.ascontiguousarray(kinds, np.uint8), np.ascontiguousarray(sums, np.int32)
    codes = np.ascontiguousarray(codes, np.uint16)
    dense, wide = np.ascontiguousarray(dense, np.int32), np.ascontiguousarray(wide, np.int64)
    num_listed = int(kinds[kinds < DENSE].sum())
    listed = kinds[kinds < DENSE]
    if (
        not num_listed == len(codes) == len(sums)
        or (len(codes) and codes.max() >= cells.num_codes)
        or (len(listed) and listed.max() > MOST_ENTRIES)
        or dense.shape != (int((kinds == DENSE).sum()), cells.num_bins)
        or wide.shape != (int((kinds == WIDE).sum()), cells.num_bins)
    ):
        raise ValueError(f"sums by bin: wanted entries and arrays of {cells.num_bins} bins that fit their rows")
    cdef Py_ssize_t failed
    cdef Py_ssize_t num_rows = len(kinds)
    cdef const uint8_t* kinds_ = uint8s(kinds)
    cdef const uint16_t* codes_ = <const uint16_t*> cnp.PyArray_DATA(codes)
    cdef const int32_t* sums_ = int32s(sums)
    cdef const int32_t* dense_ = int32s(dense)
    cdef const int64_t* wide_ = int64s(wide)
    with nogil:
        failed = _fill_rows(cells, num_rows, kinds_, codes_, sums_, dense_, wide_)
    if failed:
        raise MemoryError


cdef int _fill_rows(
    SparseCells cells, Py_ssize_t num_rows, const uint8_t* kinds, const uint16_t* codes, const int32_t* sums,
    const int32_t* dense, const int64_t* wide,
) noexcept nogil:
    cdef Py_ssize_t index, first, row, used, at, num, num_bytes
    cdef Page* page
    cdef void* array
    for index in range((num_rows + ROWS - 1) // ROWS):
        first, used = index * ROWS, 0
        for row in range(first, min(first + ROWS, num_rows)):
            used += entries_of(kinds[row])
        if used == 0:
            continue
        page = cells.make(first)
        if page == NULL or cells.resize(page, used + used // 16) != 0:
            return FAILED
        at = 0
        for row in range(first, min(first + ROWS, num_rows)):
            num = entries_of(kinds[row])
            if kinds[row] < DENSE:
                memcpy(sums_of(page) + at, sums, 4 * num)
                memcpy(codes_of(page) + at, codes, 2 * num)
                sums += num
                codes += num
            else:
                num_bytes = cells.num_bins * (4 if kinds[row] == DENSE else 8)
                array = malloc(num_bytes)
                if array == NULL:
                    return FAILED
                memcpy(array, dense if kinds[row] == DENSE else <const void*> wide, num_bytes)
                memcpy(sums_of(page) + at, &array, sizeof(void*))
                add_to(&cells.nbytes, num_bytes)
                if kinds[row] == DENSE:
                    dense += cells.num_bins
                else:
                    wide += cells.num_bins
            (<uint8_t*> page.data)[row - first] = kinds[row]
            at += num
            page.used = <uint16_t> at
    return 0


def fill_bins(SparseCells cells not None, Py_ssize_t part, Py_ssize_t first_row, cnp.ndarray sums):
    """Add sums by bin and row, which are not said to belong to those of other parts.

    Args:
        cells: The cells.
        part: The part.
        first_row: Row of the first sums.
        sums: int64 ``[num_bins, num_rows]``.
    """
    if not 0 <= part < cells.num_parts or len(sums) != cells.sizes[part] or first_row < 0:
        raise ValueError(f"wanted sums of one of {cells.num_parts} parts, got {len(sums)} bins of part {part}")
    cdef const int64_t* given = int64s(sums)
    cdef Py_ssize_t num_rows = sums.shape[1], row, bin_
    cdef Py_ssize_t code = cells.first_bin[part] + (cells.num_joint if cells.num_parts > 1 else 0)
    cdef int failed = 0
    with nogil:
        for row in range(num_rows):
            for bin_ in range(cells.sizes[part]):
                if given[bin_ * num_rows + row] != 0 and not failed:
                    failed = cells.add(first_row + row, code + bin_, given[bin_ * num_rows + row])
    if failed:
        raise MemoryError


def copy_bin(SparseCells source not None, Py_ssize_t from_bin, SparseCells target not None, Py_ssize_t to_bin):
    """Add the sums of a bin to another bin of other cells, both of one part."""
    if source.num_parts != 1 or target.num_parts != 1:
        raise ValueError("wanted cells of one part")
    if not 0 <= from_bin < source.num_bins or not 0 <= to_bin < target.num_bins:
        raise ValueError(f"wanted bins below {source.num_bins} and {target.num_bins}, got {from_bin} and {to_bin}")
    weights, counts = np.zeros((1, source.num_bins), np.int64), np.zeros((1, source.num_rows))
    weights[0, from_bin] = 1
    accumulate(source, weights, 1.0, counts)
    cdef Py_ssize_t row
    cdef const double* sums = <const double*> cnp.PyArray_DATA(<cnp.ndarray> counts)  # Below 2^53, so exact.
    for row in range(source.num_rows):
        if sums[row] != 0 and target.add(row, to_bin, <int64_t> sums[row]) != 0:
            raise MemoryError
