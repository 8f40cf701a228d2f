"""Tables of pairs of user and item rows with a count each, as ``pair_kernels.pyx`` keeps them.

A table has parts, chosen by a hash of the pair, each of which grows on its own, so that growth never takes long. A part
has buckets of 64 bytes, one line of memory: words, then counts of a byte, then how many slots are in use. The bucket
that a pair belongs to tells what is left of its user row, mixed, when it is divided by the number of buckets; it is
moved by a hash of the item row. Where it is full, a pair lies in the first one that is not, some steps further on; how
long a step is depends on the item. So a word holds the quotient, the item row, and the number of steps: mostly 32 bits.
Where rows are many and buckets few, a part has words of 64 bits, and 7 slots in a bucket in place of 12.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from springtide_plugins.context_weights.large_counts cimport MULTIPLIER, Large, large_put, large_slot


cdef extern from *:
    """
    #include <stdint.h>
    #define FIRST_FACTOR 0xD6E8FEB86659FD93ULL  /* Odd, so that it has an inverse by powers of 2. */
    #define SECOND_FACTOR 0x9E3779B97F4A7C15ULL
    #define FIRST_INVERSE 0xCFEE444D8B59A89BULL
    #define SECOND_INVERSE 0xF1DE83E19937733DULL
    /* Without the empty statement, gcc leaves out calls of functions that do nothing else. */
    #define FETCH(address) do { __builtin_prefetch(address); __asm__ volatile(""); } while (0)
    #define HIGH(a, b) ((uint64_t) (((unsigned __int128) (a) * (b)) >> 64))
    #ifdef __SSE2__
    #include <emmintrin.h>
    static inline int find_narrow(const uint8_t *bucket, uint32_t wanted) {
        const __m128i *words = (const __m128i *) bucket, four = _mm_set1_epi32((int) wanted);
        __m128i some = _mm_packs_epi32(_mm_cmpeq_epi32(words[0], four), _mm_cmpeq_epi32(words[1], four));
        __m128i rest = _mm_packs_epi32(_mm_cmpeq_epi32(words[2], four), _mm_setzero_si128());
        int found = _mm_movemask_epi8(_mm_packs_epi16(some, rest));
        return found ? __builtin_ctz(found) : -1;
    }
    #else
    static inline int find_narrow(const uint8_t *bucket, uint32_t wanted) {
        const uint32_t *words = (const uint32_t *) bucket;
        for (int slot = 0; slot < 12; slot++)
            if (words[slot] == wanted)
                return slot;
        return -1;
    }
    #endif
    static inline int find_wide(const uint8_t *bucket, uint64_t wanted) {
        const uint64_t *words = (const uint64_t *) bucket;
        for (int slot = 0; slot < 7; slot++)
            if (words[slot] == wanted)
                return slot;
        return -1;
    }
    """
    const uint64_t FIRST_FACTOR, SECOND_FACTOR, FIRST_INVERSE, SECOND_INVERSE
    uint64_t HIGH(uint64_t a, uint64_t b) noexcept nogil
    int find_narrow(const uint8_t* bucket, uint32_t wanted) noexcept nogil
    int find_wide(const uint8_t* bucket, uint64_t wanted) noexcept nogil
    void FETCH(const void* address) noexcept nogil


cdef enum:
    LINE = 64  # Bytes of a bucket.
    IN_USE = 63  # Where a bucket says how many of its slots are in use.
    NARROW = 12  # Slots of a bucket with words of 32 bits.
    WIDE = 7  # The same, with words of 64 bits.
    NARROW_COUNTS = 48  # Where their counts begin.
    WIDE_COUNTS = 56
    REACH = 16  # Buckets in which a pair may lie, ...
    REACH_BITS = 4  # ... which take so many bits.
    NARROW_BITS = 28  # Of a word, without these.
    LEAST_BUCKETS = 8  # So that a wide word holds any row.
    LARGE = 255  # A count that stands for one in ``Large``.
    FAILED = -1  # There is no memory.

cdef enum Outcome:
    FOUND, FREE, NO_PLACE


cdef struct Part:
    uint8_t* memory
    uint8_t* buckets
    uint64_t num_buckets
    uint64_t reciprocal  # 2^64 over the number of buckets, rounded up.
    int64_t num_keys, room  # Slots in use, those of pairs with count 0 included; and how many there may be.
    int item_bits  # Of a word; 32 where words are wide.
    int user_bits  # Of rows that are mixed with each other, a permutation.


cdef struct Table:
    Part* parts
    int num_parts, shift
    int64_t num_keys, num_bytes, most  # Of all parts; and the most pairs that a part is given room for in advance.
    int64_t num_copied, most_copied
    int32_t greatest_user, greatest_item
    Large large


cdef struct Place:
    uint8_t* bucket
    int slot
    uint64_t word


cdef class PairTable:
    cdef Table table


# Defined in the ``.pyx``.

cdef int put(
    Table* table, Part* part, Outcome outcome, int32_t user_row, int32_t item_row, Place* place
) noexcept nogil


cdef inline uint64_t key_of(int32_t user_row, int32_t item_row) noexcept nogil:
    return (<uint64_t> user_row << 32) + <uint64_t> item_row + 1


cdef inline Part* part_of(const Table* table, int32_t user_row, int32_t item_row) noexcept nogil:
    return table.parts + ((key_of(user_row, item_row) * MULTIPLIER) >> table.shift)


cdef inline uint64_t hash_of(uint64_t item_row) noexcept nogil:
    """Return a hash of an item that has nothing to do with what chooses the parts of its pairs."""
    item_row = (item_row + 1) * FIRST_FACTOR
    return (item_row ^ item_row >> 32) * SECOND_FACTOR


cdef inline uint64_t moved_by(const Part* part, uint64_t hash_) noexcept nogil:
    """Return by how many buckets pairs of an item are moved."""
    return ((hash_ >> 32) * part.num_buckets) >> 32


cdef inline uint64_t step_of(const Part* part, uint64_t hash_) noexcept nogil:
    """Return how many buckets a step is for pairs of an item: so few that all steps lead to others, if these are many."""
    return 1 + ((<uint64_t> <uint32_t> hash_ * (part.num_buckets // (REACH + 1))) >> 32)


cdef inline uint64_t mixed(const Part* part, uint64_t user_row) noexcept nogil:
    """Return the row in another order of all rows of as many bits, in which neighbours lie apart."""
    cdef uint64_t mask = (<uint64_t> 1 << part.user_bits) - 1
    user_row = user_row * FIRST_FACTOR & mask
    user_row ^= user_row >> (part.user_bits + 1) // 2
    return user_row * SECOND_FACTOR & mask


cdef inline uint64_t unmixed(const Part* part, uint64_t row) noexcept nogil:
    """Return the row that was mixed."""
    cdef uint64_t mask = (<uint64_t> 1 << part.user_bits) - 1
    row = row * SECOND_INVERSE & mask
    row ^= row >> (part.user_bits + 1) // 2
    return row * FIRST_INVERSE & mask


cdef inline uint64_t home_of(const Part* part, int32_t user_row, uint64_t hash_, uint64_t* quotient) noexcept nogil:
    """Return the bucket that a pair belongs to, given the hash of its item."""
    cdef uint64_t home = mixed(part, <uint64_t> user_row)
    quotient[0] = HIGH(part.reciprocal, home)
    home += moved_by(part, hash_) - quotient[0] * part.num_buckets
    return home - part.num_buckets if home >= part.num_buckets else home


cdef inline void prefetch(const Table* table, int32_t user_row, int32_t item_row) noexcept nogil:
    cdef const Part* part = part_of(table, user_row, item_row)
    cdef uint64_t quotient
    FETCH(part.buckets + home_of(part, user_row, hash_of(<uint64_t> item_row), &quotient) * LINE)


cdef inline Outcome find(const Part* part, int32_t user_row, int32_t item_row, Place* place) noexcept nogil:
    """Find the slot of a pair, or a free one for it; no place if all are taken, or its rows do not fit into a word."""
    cdef uint64_t quotient, value, hash_ = hash_of(<uint64_t> item_row)
    cdef uint64_t number = home_of(part, user_row, hash_, &quotient), step = step_of(part, hash_)
    cdef int slots = WIDE if part.item_bits == 32 else NARROW, steps
    if user_row >> part.user_bits:
        return NO_PLACE
    if slots == NARROW and (item_row >> part.item_bits or (quotient + 1) >> (NARROW_BITS - part.item_bits)):
        return NO_PLACE
    value = ((quotient << part.item_bits | <uint64_t> item_row) << REACH_BITS) + 1  # A word is never 0.
    for steps in range(REACH):
        place.bucket = part.buckets + number * LINE
        place.word = value + steps
        if slots == NARROW:
            place.slot = find_narrow(place.bucket, <uint32_t> place.word)
        else:
            place.slot = find_wide(place.bucket, place.word)
        if place.slot >= 0:
            return FOUND
        if place.bucket[IN_USE] < slots:
            place.slot = place.bucket[IN_USE]
            return FREE
        number += step
        if number >= part.num_buckets:
            number -= part.num_buckets
    return NO_PLACE


cdef inline bint place_for(
    const Part* part, uint64_t number, uint64_t hash_, uint64_t value, Place* place
) noexcept nogil:
    """Find a free slot for a pair that the part does not have, given its bucket; false if all are taken."""
    cdef int slots = WIDE if part.item_bits == 32 else NARROW, steps
    for steps in range(REACH):
        place.bucket = part.buckets + number * LINE
        if place.bucket[IN_USE] < slots:
            place.slot, place.word = place.bucket[IN_USE], value + steps
            return True
        number += step_of(part, hash_)
        if number >= part.num_buckets:
            number -= part.num_buckets
    return False


cdef inline uint8_t* count_at(const Part* part, uint8_t* bucket, int slot) noexcept nogil:
    return bucket + (WIDE_COUNTS if part.item_bits == 32 else NARROW_COUNTS) + slot


cdef inline void take(Part* part, const Place* place) noexcept nogil:
    """Let a pair have its free slot."""
    if part.item_bits == 32:
        (<uint64_t*> place.bucket)[place.slot] = place.word
    else:
        (<uint32_t*> place.bucket)[place.slot] = <uint32_t> place.word
    place.bucket[IN_USE] += 1
    part.num_keys += 1


cdef inline uint64_t key_at(const Part* part, uint64_t number, int slot) noexcept nogil:
    """Return the key of the pair in a slot of a bucket."""
    cdef const uint8_t* bucket = part.buckets + number * LINE
    cdef uint64_t value = (<const uint64_t*> bucket)[slot] if part.item_bits == 32 else (<const uint32_t*> bucket)[slot]
    cdef uint64_t item_row, hash_
    cdef int64_t home
    value -= 1
    item_row = (value >> REACH_BITS) & ((<uint64_t> 1 << part.item_bits) - 1)
    hash_ = hash_of(item_row)
    home = <int64_t> (number - (value & (REACH - 1)) * step_of(part, hash_) - moved_by(part, hash_))
    while home < 0:
        home += part.num_buckets
    value >>= REACH_BITS + part.item_bits
    return (unmixed(part, value * part.num_buckets + <uint64_t> home) << 32) + item_row + 1


cdef inline uint64_t count_of(
    const Table* table, const Part* part, const Place* place, int32_t user_row, int32_t item_row
) noexcept nogil:
    """Return how often the pair in a slot occurred."""
    cdef uint64_t count = count_at(part, place.bucket, place.slot)[0]
    if count < LARGE:
        return count
    return table.large.counts[large_slot(&table.large, key_of(user_row, item_row))]


cdef inline int set_count(
    Table* table, const Part* part, const Place* place, int32_t user_row, int32_t item_row, uint64_t count
) noexcept nogil:
    """Set how often the pair in a slot occurred."""
    cdef uint8_t* small = count_at(part, place.bucket, place.slot)
    cdef uint64_t key = key_of(user_row, item_row)
    if count >= LARGE and large_put(&table.large, key, count) != 0:
        return FAILED
    if count < LARGE and small[0] == LARGE:
        table.large.counts[large_slot(&table.large, key)] = 0
    small[0] = <uint8_t> min(count, <uint64_t> LARGE)
    return 0
