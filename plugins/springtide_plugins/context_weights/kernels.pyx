"""The compiled loops of context weights: a counting set of pairs, and sums by item and bin."""

from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t

from springtide.arrays cimport int32s, int64s, out_bools, out_float64s, out_int32s, out_uint32s, out_uint64s, uint32s, uint64s


cdef extern from *:
    """
    #define MULTIPLIER 0x9E3779B97F4A7C15ULL  /* 2^64 over the golden ratio (Knuth 1973, multiplicative hashing). */
    """
    const uint64_t MULTIPLIER


# A table of pairs has a power of two of slots, ``mask + 1``; a slot without a pair has key 0.

cdef inline uint64_t _slot(const uint64_t* table, uint64_t mask, uint64_t key) noexcept nogil:
    """Return the slot of a key, or the empty slot where it belongs; tables are never full."""
    cdef uint64_t slot = ((key * MULTIPLIER) >> 32) & mask
    while table[slot] != 0 and table[slot] != key:
        slot = (slot + 1) & mask
    return slot


def add_pairs(young, young_counts, old, old_counts, keys, occurred):
    """Count keys in the young table, from the old one's count on, and mark those that occurred before.

    Args:
        young: uint64 ``[num_young_slots]``.
        young_counts: uint32 ``[num_young_slots]``.
        old: uint64 ``[num_old_slots]``.
        old_counts: uint32 ``[num_old_slots]``.
        keys: uint64 ``[n]``.
        occurred: Output, bool ``[n]``.

    Returns:
        Number of keys that the young table did not have.
    """
    return _add_pairs(
        len(keys), len(young) - 1, out_uint64s(young), out_uint32s(young_counts),
        len(old) - 1, uint64s(old), uint32s(old_counts), uint64s(keys), out_bools(occurred),
    )


cdef int64_t _add_pairs(
    Py_ssize_t n, uint64_t young_mask, uint64_t* young, uint32_t* young_counts,
    uint64_t old_mask, const uint64_t* old, const uint32_t* old_counts, const uint64_t* keys, uint8_t* occurred,
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot, old_slot, key
    cdef int64_t num_added = 0
    with nogil:
        for number in range(n):
            key = keys[number]
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


def remove_pairs(young, young_counts, old, old_counts, keys, is_left):
    """Take each key back once, from the table that counts it, and mark whether it is left.

    Args:
        young: uint64 ``[num_young_slots]``.
        young_counts: uint32 ``[num_young_slots]``.
        old: uint64 ``[num_old_slots]``.
        old_counts: uint32 ``[num_old_slots]``.
        keys: uint64 ``[n]``.
        is_left: Output, bool ``[n]``, filled with true before.
    """
    _remove_pairs(
        len(keys), len(young) - 1, uint64s(young), out_uint32s(young_counts),
        len(old) - 1, uint64s(old), out_uint32s(old_counts), uint64s(keys), out_bools(is_left),
    )


cdef void _remove_pairs(
    Py_ssize_t n, uint64_t young_mask, const uint64_t* young, uint32_t* young_counts,
    uint64_t old_mask, const uint64_t* old, uint32_t* old_counts, const uint64_t* keys, uint8_t* is_left,
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot, old_slot, key
    with nogil:
        for number in range(n):
            key = keys[number]
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


def add_to_bins(sums, bins, rows, quanta, int64_t start):
    """Add events from ``start`` on, until one whose sum would be too large.

    Args:
        sums: int32 ``[num_bins, capacity]``.
        bins: int64 ``[n]``, each below ``num_bins``.
        rows: int32 ``[n]``, each below ``capacity``.
        quanta: int64 ``[n]``.
        start: Position of the first event to add.

    Returns:
        The position of the first event whose sum would be too large, or the number of events.
    """
    return _add_to_bins(
        start, len(rows), sums.shape[1], out_int32s(sums), int64s(bins), int32s(rows), int64s(quanta)
    )


cdef int64_t _add_to_bins(
    int64_t start, int64_t n, int64_t capacity, int32_t* sums, const int64_t* bins, const int32_t* rows,
    const int64_t* quanta,
) noexcept:
    cdef int64_t event, total
    cdef int32_t* cell
    with nogil:
        for event in range(start, n):
            cell = sums + bins[event] * capacity + rows[event]
            total = cell[0] + quanta[event]
            if total > INT32_MAX or total < INT32_MIN:
                return event
            cell[0] = <int32_t> total
    return n


def accumulate_bin(low, high, int64_t bin_index, double weight, counts):
    """Add a bin's sums, times a weight, to the counts.

    Args:
        low: int32 ``[num_bins, capacity]``.
        high: int32 ``[num_bins, capacity]``, multiples of 2^30 to add; ``[0, 0]`` if there are none.
        bin_index: The bin.
        weight: What its sums are multiplied by.
        counts: float64 ``[num_rows]``.

    Returns:
        The sum of the bin over these rows, exactly.
    """
    capacity = low.shape[1]
    return _accumulate_bin(
        min(len(counts), capacity), int32s(low), int32s(high), len(high) > 0, bin_index * capacity, weight,
        out_float64s(counts),
    )


cdef int64_t _accumulate_bin(
    int64_t num_rows, const int32_t* low, const int32_t* high, bint has_high, int64_t offset, double weight,
    double* counts,
) noexcept:
    cdef int64_t row, quanta, total = 0
    with nogil:
        low += offset
        if has_high:
            high += offset
            for row in range(num_rows):
                quanta = low[row] + (<int64_t> high[row] << 30)
                total += quanta
                counts[row] += weight * quanta
        else:
            for row in range(num_rows):
                total += low[row]
                counts[row] += weight * low[row]
    return total
