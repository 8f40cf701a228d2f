"""The compiled loops of the counting set of pairs."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t

from springtide.arrays cimport int32s, out_bools, out_uint64s, uint64s


cdef extern from *:
    """
    #define MULTIPLIER 0x9E3779B97F4A7C15ULL  /* 2^64 over the golden ratio (Knuth 1973, multiplicative hashing). */
    """
    const uint64_t MULTIPLIER
    void __builtin_prefetch(const void* address) noexcept nogil


cdef enum:
    AHEAD = 8  # Pairs whose slots are on their way from memory while others are counted.
    GROUP = 8  # Slots whose keys are one line of memory: a search begins at the first of them.
    MOST = 65_535  # A count that stands for one that is kept elsewhere.


# A table of pairs has a multiple of ``GROUP`` slots, some of them empty; a slot without a pair has key 0. Slots are in the
# order of the keys' hashes, so that a larger table is filled from front to back.

cnp.import_array()


cdef inline cnp.ndarray _rows(object array):
    """Return rows as loops take them: the array itself, or a copy where it is of strides."""
    return <cnp.ndarray> cnp.PyArray_FROMANY(array, cnp.NPY_INT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)


cdef inline uint16_t* _counts(cnp.ndarray array) except? NULL:
    if cnp.PyArray_TYPE(array) != cnp.NPY_UINT16 or not cnp.PyArray_ISCARRAY(array):
        raise TypeError(f"wanted a contiguous array of uint16, got {array.dtype}")
    return <uint16_t*> cnp.PyArray_DATA(array)


cdef inline uint64_t _key(int32_t user_row, int32_t item_row) noexcept nogil:
    return (<uint64_t> user_row << 32) + <uint64_t> item_row + 1


cdef inline uint64_t _home(uint64_t num_slots, uint64_t key) noexcept nogil:
    """Return where the search for a key begins: hashes are spread over the groups by their upper 32 bits."""
    return (((key * MULTIPLIER) >> 32) * (num_slots // GROUP) >> 32) * GROUP


cdef inline void _prefetch(const uint64_t* table, const uint16_t* counts, uint64_t num_slots, uint64_t key) noexcept nogil:
    cdef uint64_t slot = _home(num_slots, key)
    __builtin_prefetch(table + slot)
    __builtin_prefetch(counts + slot)


cdef inline uint64_t _slot(const uint64_t* table, uint64_t num_slots, uint64_t key) noexcept nogil:
    """Return the slot of a key, or the empty slot where it belongs; tables are never full."""
    cdef uint64_t slot = _home(num_slots, key)
    while table[slot] != 0 and table[slot] != key:
        slot += 1
        if slot == num_slots:
            slot = 0
    return slot


def slot_of(table, uint64_t key):
    """Return the slot of a key in a table, uint64 ``[num_slots]``, or the empty slot where it belongs."""
    return _slot(uint64s(table), len(table), key)


def add_pairs(young, young_counts, old, old_counts, user_rows, item_rows, Py_ssize_t start, int64_t room, occurred):
    """Count pairs in the young table, from the old one's count on, and mark those that occurred before.

    Args:
        young: uint64 ``[num_young_slots]``.
        young_counts: uint16 ``[num_young_slots]``.
        old: uint64 ``[num_old_slots]``.
        old_counts: uint16 ``[num_old_slots]``.
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        start: Position of the first pair to count.
        room: How many pairs may be added to the young table, at least 1; after the last of them the loop ends.
        occurred: Output, bool ``[n]``.

    Returns:
        The position of the first pair that was not counted, n if there is none; and how many pairs the young table did
        not have. If these are fewer than ``room``, the count of the pair that was not counted is kept elsewhere, or
        would be.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(occurred) or start < 0 or room < 1:
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    cdef int64_t num_added = 0
    cdef Py_ssize_t stop = _add_pairs(
        start, len(occurred), room, len(young), out_uint64s(young), _counts(young_counts),
        len(old), uint64s(old), _counts(old_counts), int32s(user_rows), int32s(item_rows), out_bools(occurred),
        &num_added,
    )
    return stop, num_added


cdef Py_ssize_t _add_pairs(
    Py_ssize_t start, Py_ssize_t n, int64_t room, uint64_t num_young, uint64_t* young, uint16_t* young_counts,
    uint64_t num_old, const uint64_t* old, const uint16_t* old_counts, const int32_t* user_rows,
    const int32_t* item_rows, uint8_t* occurred, int64_t* num_added,
) noexcept:
    cdef Py_ssize_t number
    cdef uint16_t count
    cdef uint64_t slot, old_slot, key, later
    with nogil:
        for number in range(start, n):
            if number + AHEAD < n:
                later = _key(user_rows[number + AHEAD], item_rows[number + AHEAD])
                _prefetch(young, young_counts, num_young, later)
                _prefetch(old, old_counts, num_old, later)
            key = _key(user_rows[number], item_rows[number])
            slot = _slot(young, num_young, key)
            count = young_counts[slot]
            if young[slot] != key:
                old_slot = _slot(old, num_old, key)
                count = old_counts[old_slot] if old[old_slot] == key else 0
            if count >= MOST - 1:
                return number
            occurred[number], young_counts[slot] = count > 0, count + 1
            if young[slot] != key:
                young[slot] = key
                num_added[0] += 1
                if num_added[0] == room:
                    return number + 1
    return n


def remove_pairs(young, young_counts, old, old_counts, user_rows, item_rows, Py_ssize_t start, is_left):
    """Take each pair back once, from the table that counts it, and mark whether it is left.

    Args:
        young: uint64 ``[num_young_slots]``.
        young_counts: uint16 ``[num_young_slots]``.
        old: uint64 ``[num_old_slots]``.
        old_counts: uint16 ``[num_old_slots]``.
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        start: Position of the first pair to take back.
        is_left: Output, bool ``[n]``, filled with true before.

    Returns:
        The position of the first pair that was not taken back, since its count is kept elsewhere; n if there is none.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(is_left) or start < 0:
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    return _remove_pairs(
        start, len(is_left), len(young), uint64s(young), _counts(young_counts),
        len(old), uint64s(old), _counts(old_counts), int32s(user_rows), int32s(item_rows), out_bools(is_left),
    )


cdef Py_ssize_t _remove_pairs(
    Py_ssize_t start, Py_ssize_t n, uint64_t num_young, const uint64_t* young, uint16_t* young_counts,
    uint64_t num_old, const uint64_t* old, uint16_t* old_counts, const int32_t* user_rows, const int32_t* item_rows,
    uint8_t* is_left,
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot, old_slot, key
    with nogil:
        for number in range(start, n):
            key = _key(user_rows[number], item_rows[number])
            slot = _slot(young, num_young, key)
            old_slot = _slot(old, num_old, key)
            if young[slot] == key:
                if young_counts[slot] == MOST:
                    return number
                if young_counts[slot] > 0:
                    young_counts[slot] -= 1
                    is_left[number] = young_counts[slot] > 0
                if old[old_slot] == key:
                    old_counts[old_slot] = 0  # It was counted on in the young table.
            elif old[old_slot] == key and old_counts[old_slot] > 0:
                if old_counts[old_slot] == MOST:
                    return number
                old_counts[old_slot] -= 1
                is_left[number] = old_counts[old_slot] > 0
    return n


def fill_pairs(table, table_counts, keys, counts):
    """Put distinct keys and their counts into a table that has none of them.

    Args:
        table: uint64 ``[num_slots]``.
        table_counts: uint16 ``[num_slots]``.
        keys: uint64 ``[n]``.
        counts: uint16 ``[n]``.
    """
    if not len(keys) == len(counts) < len(table) == len(table_counts) or len(table) % GROUP:
        raise ValueError(f"wanted a table with room for {len(keys)} pairs, got {len(table)} slots")
    _fill_pairs(len(keys), len(table), out_uint64s(table), _counts(table_counts), uint64s(keys), _counts(counts))


cdef void _fill_pairs(
    Py_ssize_t n, uint64_t num_slots, uint64_t* table, uint16_t* table_counts, const uint64_t* keys,
    const uint16_t* counts,
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot
    with nogil:
        for number in range(n):
            if number + AHEAD < n:
                _prefetch(table, table_counts, num_slots, keys[number + AHEAD])
            slot = _slot(table, num_slots, keys[number])
            table[slot] = keys[number]
            table_counts[slot] = counts[number]


def move_pairs(keys, counts, table, table_counts):
    """Put the pairs of a table that were not taken back into one that has none, in one pass and without copies.

    Args:
        keys: uint64 ``[num_slots]``.
        counts: uint16 ``[num_slots]``.
        table: uint64 ``[num_table_slots]``, with room for all those with a count, and one empty slot more.
        table_counts: uint16 ``[num_table_slots]``.

    Returns:
        The number of pairs that were put.
    """
    if len(keys) != len(counts) or len(table) != len(table_counts) or len(table) % GROUP or not len(table):
        raise ValueError(f"wanted tables with a count for each slot, got {len(keys)} and {len(table)} slots")
    cdef Py_ssize_t num = _move_pairs(
        len(keys), uint64s(keys), _counts(counts), len(table), out_uint64s(table), _counts(table_counts)
    )
    if num < 0:
        raise ValueError(f"wanted a table with room for all pairs, got {len(table)} slots")
    return num


cdef Py_ssize_t _move_pairs(
    Py_ssize_t n, const uint64_t* keys, const uint16_t* counts, uint64_t num_slots, uint64_t* table,
    uint16_t* table_counts,
) noexcept:
    """Return how many were put; -1 if they do not all fit."""
    cdef Py_ssize_t number, num = 0
    cdef uint64_t slot
    with nogil:
        for number in range(n):  # Both tables are in the order of hashes: they are passed from front to back.
            if counts[number] == 0:
                continue
            num += 1
            if <uint64_t> num >= num_slots:
                return -1
            slot = _slot(table, num_slots, keys[number])
            table[slot] = keys[number]
            table_counts[slot] = counts[number]
    return num
