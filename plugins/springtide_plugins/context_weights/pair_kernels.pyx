"""The compiled loops that count pairs in tables (``pair_tables``)."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from springtide.arrays cimport int32s, out_bools
from springtide_plugins.context_weights.pair_tables cimport (
    FAILED, FOUND, Outcome, PairTable, Part, Place, Table, count_of, find, part_of, prefetch, put, set_count,
)

cdef enum:
    AHEAD = 16  # Pairs whose buckets are on their way from memory while others are counted.

cnp.import_array()


cdef inline cnp.ndarray _rows(object array):
    """Return rows as loops take them: the array itself, or a copy where it is of strides."""
    return <cnp.ndarray> cnp.PyArray_FROMANY(array, cnp.NPY_INT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)


def add_pairs(PairTable young, PairTable old, user_rows, item_rows, Py_ssize_t start, int64_t room, occurred):
    """Count pairs in the young table, from the old one's count on, and mark those that occurred before.

    Args:
        young: The table that pairs are put into.
        old: Another one, with as many parts.
        user_rows: int32 ``[n]``, 0 or more.
        item_rows: int32 ``[n]``, 0 or more.
        start: Position of the first pair to count.
        room: How many pairs may be added to the young table, at least 1; after the last of them the loop ends.
        occurred: Output, bool ``[n]``.

    Returns:
        The position of the first pair that was not counted, n if there is none.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(occurred) or start < 0 or room < 1:
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    if young is old or young.table.num_parts != old.table.num_parts:
        raise ValueError("wanted two tables with as many parts")
    cdef Py_ssize_t stop = add(
        &young.table, &old.table, start, len(occurred), room, int32s(user_rows), int32s(item_rows), out_bools(occurred)
    )
    if stop == FAILED:
        raise MemoryError
    if stop < FAILED:
        raise ValueError(f"wanted rows of 0 or more, got user {user_rows[-2 - stop]} and item {item_rows[-2 - stop]}")
    return stop


cdef Py_ssize_t add(
    Table* young, Table* old, Py_ssize_t start, Py_ssize_t n, int64_t room, const int32_t* user_rows,
    const int32_t* item_rows, uint8_t* occurred,
) noexcept:
    cdef Py_ssize_t number
    cdef int32_t user_row, item_row
    cdef uint64_t count
    cdef Part* part
    cdef Part* other
    cdef Place place, former
    cdef Outcome outcome
    with nogil:
        for number in range(start, n):
            if number + AHEAD < n and user_rows[number + AHEAD] >= 0 and item_rows[number + AHEAD] >= 0:
                prefetch(young, user_rows[number + AHEAD], item_rows[number + AHEAD])
                if old.num_keys:
                    prefetch(old, user_rows[number + AHEAD], item_rows[number + AHEAD])
            user_row, item_row = user_rows[number], item_rows[number]
            if user_row < 0 or item_row < 0:
                return -2 - number
            part = part_of(young, user_row, item_row)
            outcome = find(part, user_row, item_row, &place)
            if outcome == FOUND:
                count = count_of(young, part, &place, user_row, item_row)
            else:
                if put(young, part, outcome, user_row, item_row, &place) != 0:
                    return FAILED
                other, count = part_of(old, user_row, item_row), 0
                if old.num_keys and find(other, user_row, item_row, &former) == FOUND:
                    count = count_of(old, other, &former, user_row, item_row)
                room -= 1
            occurred[number] = count > 0
            if set_count(young, part, &place, user_row, item_row, count + 1) != 0:
                return FAILED
            if room == 0:
                return number + 1
    return n


def remove_pairs(PairTable young, PairTable old, user_rows, item_rows, is_left):
    """Take each pair back once, from the table that counts it, and mark whether it is left.

    Args:
        young: The table that counts pairs.
        old: The table that counts those that the young one does not have.
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        is_left: Output, bool ``[n]``, filled with true before.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(is_left):
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    if remove(&young.table, &old.table, len(is_left), int32s(user_rows), int32s(item_rows), out_bools(is_left)) != 0:
        raise MemoryError


cdef int remove(
    Table* young, Table* old, Py_ssize_t n, const int32_t* user_rows, const int32_t* item_rows, uint8_t* is_left
) noexcept:
    cdef Py_ssize_t number
    cdef int32_t user_row, item_row
    cdef uint64_t count
    cdef Table* table
    cdef Part* part
    cdef Place place
    with nogil:
        for number in range(n):
            user_row, item_row = user_rows[number], item_rows[number]
            if user_row < 0 or item_row < 0:
                continue
            table = old
            part = part_of(old, user_row, item_row)
            if find(part_of(young, user_row, item_row), user_row, item_row, &place) == FOUND:
                if find(part, user_row, item_row, &place) == FOUND:  # It was counted on in the young table.
                    if set_count(old, part, &place, user_row, item_row, 0) != 0:
                        return FAILED
                table, part = young, part_of(young, user_row, item_row)
            if find(part, user_row, item_row, &place) != FOUND:
                continue
            count = count_of(table, part, &place, user_row, item_row)
            if count == 0:
                continue
            if set_count(table, part, &place, user_row, item_row, count - 1) != 0:
                return FAILED
            is_left[number] = count > 1
    return 0
