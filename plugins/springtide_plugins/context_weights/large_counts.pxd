"""Counts that are too large for a byte, by the key of what is counted: an open-addressing hash table."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free


cdef extern from *:
    """
    #define MULTIPLIER 0x9E3779B97F4A7C15ULL  /* 2^64 over the golden ratio (Knuth 1973, multiplicative hashing). */
    """
    const uint64_t MULTIPLIER


cdef enum:
    FIRST_SLOTS = 16


cdef struct Large:
    uint64_t* keys  # 0 where a slot is free.
    uint64_t* counts  # 0 where a count is no longer large.
    uint64_t num_slots, num_keys  # A power of 2; and how many slots are not free.


cdef inline uint64_t large_slot(const Large* large, uint64_t key) noexcept nogil:
    """Return the slot of a key, or the free one where it belongs; there are slots."""
    cdef uint64_t slot = (key * MULTIPLIER >> 32) & (large.num_slots - 1)
    while large.keys[slot] != 0 and large.keys[slot] != key:
        slot = (slot + 1) & (large.num_slots - 1)
    return slot


cdef inline int large_put(Large* large, uint64_t key, uint64_t count) noexcept nogil:
    """Set a count that is large; room that is of no use any more is given back when the table must grow."""
    cdef Large new
    cdef uint64_t slot, to, living = 0
    if 2 * (large.num_keys + 1) > large.num_slots:
        for slot in range(large.num_slots):
            living += large.counts[slot] > 0
        new.num_slots, new.num_keys = FIRST_SLOTS, living
        while new.num_slots < 4 * (living + 1):
            new.num_slots *= 2
        new.keys = <uint64_t*> calloc(new.num_slots, sizeof(uint64_t))
        new.counts = <uint64_t*> calloc(new.num_slots, sizeof(uint64_t))
        if new.keys == NULL or new.counts == NULL:
            free(new.keys)
            free(new.counts)
            return -1
        for slot in range(large.num_slots):
            if large.counts[slot] > 0:
                to = large_slot(&new, large.keys[slot])
                new.keys[to], new.counts[to] = large.keys[slot], large.counts[slot]
        free(large.keys)
        free(large.counts)
        large[0] = new
    slot = large_slot(large, key)
    large.num_keys += large.keys[slot] == 0
    large.keys[slot], large.counts[slot] = key, count
    return 0
