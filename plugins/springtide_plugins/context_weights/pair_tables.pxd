"""Tables of pairs of user and item rows with a count each, as ``pair_kernels.pyx`` keeps them.

A table has parts, chosen by a hash of the pair, each of which grows on its own, so that growth never takes long. A part
has buckets of 64 bytes, one line of memory: words, then counts of a byte, then how many slots are in use. The bucket
that a pair belongs to tells what is left of its user row, mixed, when it is divided by the number of buckets; it is
moved by a hash of the item row. Where it is full, a pair lies in the first one that is not, some steps further on; how
long a step is depends on the item. So a word holds the quotient, the item row, and the number of steps: mostly 32 bits.
Where rows are many and buckets few, a part has words of 64 bits, and 7 slots in a bucket in place of 12.

A bucket that pairs were moved on from has a mark for each of them, one of 24 (of 4 beside wide words). So the search for
a pair that is not there mostly ends at its first bucket, though a third of the buckets are full.
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
    IN_USE = 63  # Where a bucket says how many of its slots are in use, in 4 bits; above them are the wide ones' marks.
    IN_USE_BITS = 15
    MARKS = 60  # Where the marks of narrow ones begin.
    NARROW_MARKS = 24
    NARROW = 12  # Slots of a bucket with words of 32 bits.
    WIDE = 7  # The same, with words of 64 bits.
    NARROW_COUNTS = 48  # Where their counts begin.
    WIDE_COUNTS = 56
    REACH = 16  # Buckets in which a pair may lie, ...
    REACH_BITS = 4  # ... which take so many bits.
    NARROW_BITS = 28  # Of a word, without these.
    LEAST_BUCKETS = 8  # So that a wide word holds any row.
    LEAST_USER_BITS = 6
    MOST_PARTS = 1_024
    LARGE = 255  # A count that stands for one in ``Large``.
    FAILED = -1  # There is no memory.

cdef enum Outcome:
    FOUND, ABSENT, NO_PLACE


cdef struct Part:
    uint8_t* memory
    uint8_t* buckets
    uint64_t num_buckets
    uint64_t reciprocal  # 2^64 over the number of buckets, rounded up.
    uint64_t longest_step  # In buckets.
    int64_t num_keys, room  # Slots in use, those of pairs with count 0 included; and how many there may be.
    int item_bits  # Of a word; 32 where words are wide.
    int user_bits  # Of rows that are mixed with each other, a permutation.
    bint has_gone  # Whether pairs were taken back, and perhaps counted again.
    int64_t num_steps  # That searches took from a bucket to another.


cdef struct Table:
    Part* parts
    int num_parts, shift
    int64_t num_keys, num_bytes, most  # Of all parts; and the most pairs that a part is given room for in advance.
    int64_t num_copied, most_copied
    int32_t greatest_user, greatest_item
    Large large


cdef struct Sought:
    Part* part
    uint64_t home, step  # In buckets.
    uint64_t value  # Its word, if no steps are taken; 0 if it does not fit.
    int32_t user_row, item_row


cdef struct Place:
    uint8_t* bucket
    uint64_t number  # Of the bucket.
    int slot, steps


cdef class PairTable:
    cdef Table table


# Defined in the ``.pyx``.

cdef int allocate(Part* part) noexcept nogil

cdef int put(Table* table, Sought* sought, Outcome outcome, Place* place) noexcept nogil


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
    """Return how many buckets a step is for pairs of an item: few enough that all steps lead to others, if many are."""
    return 1 + ((<uint64_t> <uint32_t> hash_ * part.longest_step) >> 32)


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


cdef inline void seek(
    const Table* table, int32_t user_row, int32_t item_row, uint64_t hash_, Sought* sought
) noexcept nogil:
    """Find out where a pair belongs, given the hash of its item, and fetch that from memory."""
    cdef Part* part = part_of(table, user_row, item_row)
    cdef uint64_t quotient = set_home(part, mixed(part, <uint64_t> user_row), <uint64_t> item_row, hash_, sought)
    sought.part, sought.user_row, sought.item_row = part, user_row, item_row
    if user_row >> part.user_bits or (
        part.item_bits < 32
        and (item_row >> part.item_bits or (quotient + 1) >> (NARROW_BITS - part.item_bits))
    ):
        sought.value = 0


cdef inline uint64_t set_home(
    Part* part, uint64_t row, uint64_t item_row, uint64_t hash_, Sought* sought
) noexcept nogil:
    """Set where in a part a pair belongs, given its user row, mixed, and the hash of its item; return the quotient."""
    cdef uint64_t quotient = HIGH(part.reciprocal, row)
    cdef uint64_t home = row + moved_by(part, hash_) - quotient * part.num_buckets
    sought.home = home - part.num_buckets if home >= part.num_buckets else home
    sought.step = step_of(part, hash_)
    sought.value = ((quotient << part.item_bits | item_row) << REACH_BITS) + 1  # A word is never 0.
    FETCH(part.buckets + sought.home * LINE)
    return quotient


cdef inline int num_in_use(const uint8_t* bucket) noexcept nogil:
    return bucket[IN_USE] & IN_USE_BITS


cdef inline void fetch_next(const Sought* sought) noexcept nogil:
    """Fetch the bucket after the pair's own, if the search for a free slot goes on there."""
    cdef const Part* part = sought.part
    if num_in_use(part.buckets + sought.home * LINE) == (WIDE if part.item_bits == 32 else NARROW):
        FETCH(part.buckets + next_bucket(sought, sought.home) * LINE)


cdef inline Outcome find(const Sought* sought, Place* place) noexcept nogil:
    """Find the slot of a pair, or where the search for it ended; no place if its rows do not fit into a word."""
    cdef const Part* part = sought.part
    cdef bint is_wide = part.item_bits == 32
    if sought.value == 0:
        return NO_PLACE
    place.number = sought.home
    for place.steps in range(REACH):
        place.bucket = part.buckets + place.number * LINE
        if is_wide:
            place.slot = find_wide(place.bucket, sought.value + place.steps)
        else:
            place.slot = find_narrow(place.bucket, <uint32_t> (sought.value + place.steps))
        if place.slot >= 0:
            return FOUND
        if not has_mark(sought, place.bucket, is_wide):
            return ABSENT
        place.number = next_bucket(sought, place.number)
        sought.part.num_steps += 1
    return NO_PLACE


cdef inline bint claim(const Sought* sought, Place* place) noexcept nogil:
    """Give a pair that is not there a free slot, from the bucket on where the search ended; false if all are taken."""
    cdef Part* part = sought.part
    cdef bint is_wide = part.item_bits == 32
    cdef int slots = WIDE if is_wide else NARROW
    while num_in_use(place.bucket) == slots:
        set_mark(sought, place.bucket, is_wide)
        place.steps += 1
        if place.steps == REACH:
            return False
        place.number = next_bucket(sought, place.number)
        place.bucket = part.buckets + place.number * LINE
    place.slot = num_in_use(place.bucket)
    if is_wide:
        (<uint64_t*> place.bucket)[place.slot] = sought.value + place.steps
    else:
        (<uint32_t*> place.bucket)[place.slot] = <uint32_t> (sought.value + place.steps)
    place.bucket[IN_USE] += 1
    part.num_keys += 1
    return True


cdef inline uint64_t next_bucket(const Sought* sought, uint64_t number) noexcept nogil:
    number += sought.step
    return number - sought.part.num_buckets if number >= sought.part.num_buckets else number


cdef inline uint32_t mark_of(const Sought* sought, uint32_t num_marks) noexcept nogil:
    return <uint32_t> ((sought.value * MULTIPLIER >> 32) * num_marks >> 32)


cdef inline bint has_mark(const Sought* sought, const uint8_t* bucket, bint is_wide) noexcept nogil:
    """Return whether the pair may have been moved on from a bucket."""
    cdef uint32_t mark
    if is_wide:
        return bucket[IN_USE] >> (4 + mark_of(sought, 4)) & 1
    mark = mark_of(sought, NARROW_MARKS)
    return bucket[MARKS + mark // 8] >> mark % 8 & 1


cdef inline void set_mark(const Sought* sought, uint8_t* bucket, bint is_wide) noexcept nogil:
    cdef uint32_t mark
    if is_wide:
        bucket[IN_USE] |= <uint8_t> (16 << mark_of(sought, 4))
    else:
        mark = mark_of(sought, NARROW_MARKS)
        bucket[MARKS + mark // 8] |= <uint8_t> (1 << mark % 8)


cdef inline uint8_t* count_at(const Part* part, uint8_t* bucket, int slot) noexcept nogil:
    return bucket + (WIDE_COUNTS if part.item_bits == 32 else NARROW_COUNTS) + slot


cdef inline uint64_t word_at(const Part* part, const uint8_t* bucket, int slot) noexcept nogil:
    return (<const uint64_t*> bucket)[slot] if part.item_bits == 32 else (<const uint32_t*> bucket)[slot]


cdef inline uint64_t row_at(
    const Part* part, uint64_t number, uint64_t word, uint64_t* item_row, uint64_t* hash_
) noexcept nogil:
    """Return the user row, mixed, of a word in a bucket; and write its item row, and the hash of that."""
    cdef uint64_t home, steps
    word -= 1
    item_row[0] = (word >> REACH_BITS) & ((<uint64_t> 1 << part.item_bits) - 1)
    hash_[0] = hash_of(item_row[0])
    home = number + part.num_buckets - moved_by(part, hash_[0])
    if home >= part.num_buckets:
        home -= part.num_buckets
    steps = word & (REACH - 1)
    if steps:
        home += part.num_buckets * REACH - steps * step_of(part, hash_[0])
        home %= part.num_buckets
    return (word >> (REACH_BITS + part.item_bits)) * part.num_buckets + home


cdef inline uint64_t key_at(const Part* part, uint64_t number, int slot) noexcept nogil:
    """Return the key of the pair in a slot of a bucket."""
    cdef uint64_t item_row, hash_
    cdef uint64_t word = word_at(part, part.buckets + number * LINE, slot)
    cdef uint64_t row = row_at(part, number, word, &item_row, &hash_)
    return (unmixed(part, row) << 32) + item_row + 1


cdef inline uint64_t count_of(const Table* table, const Sought* sought, const Place* place) noexcept nogil:
    """Return how often the pair in a slot occurred."""
    cdef uint64_t count = count_at(sought.part, place.bucket, place.slot)[0]
    if count < LARGE:
        return count
    return table.large.counts[large_slot(&table.large, key_of(sought.user_row, sought.item_row))]


cdef inline int set_count(Table* table, uint8_t* small, uint64_t key, uint64_t count) noexcept nogil:
    """Set how often the pair in a slot occurred, given where its count is."""
    if count >= LARGE and large_put(&table.large, key, count) != 0:
        return FAILED
    if count < LARGE and small[0] == LARGE:
        table.large.counts[large_slot(&table.large, key)] = 0
    small[0] = <uint8_t> min(count, <uint64_t> LARGE)
    return 0
