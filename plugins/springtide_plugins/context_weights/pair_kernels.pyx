"""The compiled loops of the counting set of pairs."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from springtide.arrays cimport int32s, out_bools, out_uint32s, out_uint64s, uint32s, uint64s


cdef extern from *:
    """
    #define MULTIPLIER 0x9E3779B97F4A7C15ULL  /* 2^64 over the golden ratio (Knuth 1973, multiplicative hashing). */
    """
    const uint64_t MULTIPLIER
    void __builtin_prefetch(const void* address) noexcept nogil


cdef enum:
    AHEAD = 8  # Pairs whose slots are on their way from memory while others are counted.


# A table of pairs has a power of two of slots, ``mask + 1``; a slot without a pair has key 0.

cnp.import_array()


cdef inline cnp.ndarray _rows(object array):
    """Return rows as loops take them: the array itself, or a copy where it is of strides."""
    return <cnp.ndarray> cnp.PyArray_FROMANY(array, cnp.NPY_INT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)


cdef inline uint64_t _key(int32_t user_row, int32_t item_row) noexcept nogil:
    return (<uint64_t> user_row << 32) + <uint64_t> item_row + 1


cdef inline void _prefetch(const uint64_t* table, const uint32_t* counts, uint64_t mask, uint64_t key) noexcept nogil:
    cdef uint64_t slot = ((key * MULTIPLIER) >> 32) & mask
    __builtin_prefetch(table + slot)
    __builtin_prefetch(counts + slot)


cdef inline uint64_t _slot(const uint64_t* table, uint64_t mask, uint64_t key) noexcept nogil:
    """Return the slot of a key, or the empty slot where it belongs; tables are never full."""
    cdef uint64_t slot = ((key * MULTIPLIER) >> 32) & mask
    while table[slot] != 0 and table[slot] != key:
        slot = (slot + 1) & mask
    return slot


def add_pairs(young, young_counts, old, old_counts, user_rows, item_rows, Py_ssize_t start, Py_ssize_t stop, occurred):
    """Count pairs in the young table, from the old one's count on, and mark those that occurred before.

    Args:
        young: uint64 ``[num_young_slots]``.
        young_counts: uint32 ``[num_young_slots]``.
        old: uint64 ``[num_old_slots]``.
        old_counts: uint32 ``[num_old_slots]``.
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        start: Position of the first pair to count.
        stop: One past that of the last.
        occurred: Output, bool ``[n]``.

    Returns:
        Number of pairs that the young table did not have.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(occurred) or not 0 <= start <= stop <= len(occurred):
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    return _add_pairs(
        start, stop, len(young) - 1, out_uint64s(young), out_uint32s(young_counts),
        len(old) - 1, uint64s(old), uint32s(old_counts), int32s(user_rows), int32s(item_rows), out_bools(occurred),
    )


cdef int64_t _add_pairs(
    Py_ssize_t start, Py_ssize_t stop, uint64_t young_mask, uint64_t* young, uint32_t* young_counts,
    uint64_t old_mask, const uint64_t* old, const uint32_t* old_counts, const int32_t* user_rows,
    const int32_t* item_rows, uint8_t* occurred,
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot, old_slot, key, later
    cdef int64_t num_added = 0
    with nogil:
        for number in range(start, stop):
            if number + AHEAD < stop:
                later = _key(user_rows[number + AHEAD], item_rows[number + AHEAD])
                _prefetch(young, young_counts, young_mask, later)
                _prefetch(old, old_counts, old_mask, later)
            key = _key(user_rows[number], item_rows[number])
            slot = _slot(young, young_mask, key)
            if young[slot] != key:
                young[slot] = key
                num_added += 1
                old_slot = _slot(old, old_mask, key)
                if old[old_slot] == key:
                    young_counts[slot] = old_counts[old_slot]
            occurred[number] = young_counts[slot] > 0
            young_counts[slot] += 1
    return num_added


def remove_pairs(young, young_counts, old, old_counts, user_rows, item_rows, is_left):
    """Take each pair back once, from the table that counts it, and mark whether it is left.

    Args:
        young: uint64 ``[num_young_slots]``.
        young_counts: uint32 ``[num_young_slots]``.
        old: uint64 ``[num_old_slots]``.
        old_counts: uint32 ``[num_old_slots]``.
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        is_left: Output, bool ``[n]``, filled with true before.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(is_left):
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    _remove_pairs(
        len(is_left), len(young) - 1, uint64s(young), out_uint32s(young_counts),
        len(old) - 1, uint64s(old), out_uint32s(old_counts), int32s(user_rows), int32s(item_rows), out_bools(is_left),
    )


cdef void _remove_pairs(
    Py_ssize_t n, uint64_t young_mask, const uint64_t* young, uint32_t* young_counts,
    uint64_t old_mask, const uint64_t* old, uint32_t* old_counts, const int32_t* user_rows, const int32_t* item_rows,
    uint8_t* is_left,
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot, old_slot, key
    with nogil:
        for number in range(n):
            key = _key(user_rows[number], item_rows[number])
            slot = _slot(young, young_mask, key)
            old_slot = _slot(old, old_mask, key)
            if young[slot] == key:
                if young_counts[slot] > 0:
                    young_counts[slot] -= 1
                    is_left[number] = young_counts[slot] > 0
                if old[old_slot] == key:
                    old_counts[old_slot] = 0  # It was counted on in the young table.
            elif old[old_slot] == key and old_counts[old_slot] > 0:
                old_counts[old_slot] -= 1
                is_left[number] = old_counts[old_slot] > 0


def fill_pairs(table, table_counts, keys, counts):
    """Put distinct keys and their counts into a table that has none of them.

    Args:
        table: uint64 ``[num_slots]``.
        table_counts: uint32 ``[num_slots]``.
        keys: uint64 ``[n]``.
        counts: uint32 ``[n]``.
    """
    _fill_pairs(
        len(keys), len(table) - 1, out_uint64s(table), out_uint32s(table_counts), uint64s(keys), uint32s(counts)
    )


cdef void _fill_pairs(
    Py_ssize_t n, uint64_t mask, uint64_t* table, uint32_t* table_counts, const uint64_t* keys, const uint32_t* counts
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot
    with nogil:
        for number in range(n):
            slot = _slot(table, mask, keys[number])
            table[slot] = keys[number]
            table_counts[slot] = counts[number]
