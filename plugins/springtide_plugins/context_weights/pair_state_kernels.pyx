"""Tables of pairs (``pair_tables``) as they stand, for a checkpoint: given and taken as arrays, without a look at pairs."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from springtide.arrays cimport int64s, out_int64s, out_uint8s, uint8s, uint64s
from springtide_plugins.context_weights.large_counts cimport large_put, large_slot
from springtide_plugins.context_weights.pair_tables cimport (
    FAILED, IN_USE_BITS, LARGE, LEAST_BUCKETS, LEAST_USER_BITS, LINE, MOST_PARTS, NARROW, NARROW_BITS, WIDE, PairTable,
    Part, Table, allocate, count_at, key_at, num_in_use,
)

cdef enum:
    LAYOUT = 1  # Of a bucket, and of what leads to it: another one where a pair would be sought elsewhere.
    NUMBERS = 4  # That say how a part is laid out.
    WRONG = FAILED - 1

cnp.import_array()


def stored(PairTable table):
    """Return a table as it stands, but for the pairs that were taken back, of which nothing is left.

    Returns:
        By name, ``about``, int64 ``[3]``: the layout, and the greatest user and item row; ``parts``, int64
        ``[num_parts, 4]``: number of buckets, room, and bits of items and users of each; ``buckets``, uint8
        ``[num_buckets, 64]``, those of all parts, little-endian; ``large``, uint64 ``[n, 2]``, keys and counts of pairs
        whose count is too large for a byte.
    """
    cdef int number
    cdef uint64_t num_buckets = 0, slot
    cdef const Part* part
    parts = np.empty((table.table.num_parts, NUMBERS), np.int64)
    cdef int64_t* numbers = out_int64s(parts)
    for number in range(table.table.num_parts):
        part = table.table.parts + number
        numbers[0], numbers[1] = <int64_t> part.num_buckets, part.room
        numbers[2], numbers[3] = part.item_bits, part.user_bits
        numbers += NUMBERS
        num_buckets += part.num_buckets
    buckets = np.empty((num_buckets, LINE), np.uint8)
    cdef uint8_t* to = out_uint8s(buckets)
    with nogil:
        for number in range(table.table.num_parts):
            to = copy_buckets(table.table.parts + number, to)
    large = [
        (table.table.large.keys[slot], table.table.large.counts[slot])
        for slot in range(table.table.large.num_slots)
        if table.table.large.counts[slot]
    ]
    return {
        "about": np.array([LAYOUT, table.table.greatest_user, table.table.greatest_item], np.int64),
        "parts": parts,
        "buckets": buckets,
        "large": np.array(large, np.uint64).reshape(-1, 2),
    }


def restored(int64_t most_pairs, about, parts, buckets, large):
    """Return the table that ``stored`` returned the arrays of.

    Args:
        most_pairs: How many pairs there will be at most, about.
        about: See ``stored``, as for the others.
        parts: The parts.
        buckets: Their buckets.
        large: The large counts.

    Raises:
        ValueError: If the layout is another one, or the arrays do not fit each other.
    """
    cdef int number, num_parts = len(parts), failed = 0
    cdef uint64_t num_large = len(large), index
    cdef int64_t num_buckets = 0
    cdef const int64_t* numbers = int64s(parts)
    cdef const uint64_t* entries = uint64s(large)
    cdef const uint8_t* source = uint8s(buckets)
    if about.shape != (3,) or about[0] != LAYOUT or about[1:].min() < 0 or about[1:].max() >= 2**31:
        raise ValueError(f"wanted pairs in layout {LAYOUT}, got {about.tolist()}")
    if not 0 < num_parts <= MOST_PARTS or parts.shape != (num_parts, NUMBERS) or large.shape != (num_large, 2):
        raise ValueError(f"wanted 1 to {MOST_PARTS} parts, got {parts.shape}")
    for number in range(num_parts):
        if not is_possible(numbers + NUMBERS * number, len(buckets)):
            raise ValueError(f"wanted the numbers of a part, got {parts[number].tolist()}")
        num_buckets += numbers[NUMBERS * number]
    if buckets.shape != (num_buckets, LINE):
        raise ValueError(f"wanted {num_buckets} buckets, got {buckets.shape}")
    cdef PairTable table = PairTable(most_pairs, num_parts)
    table.table.greatest_user, table.table.greatest_item = about[1:].tolist()
    for index in range(num_large):
        if entries[2 * index] == 0:
            raise ValueError("wanted keys of pairs, got 0")
        if large_put(&table.table.large, entries[2 * index], entries[2 * index + 1]) != 0:
            raise MemoryError
    with nogil:
        for number in range(num_parts):
            if failed == 0:
                failed = restore_part(&table.table, table.table.parts + number, numbers, source)
                source += numbers[0] * LINE
                numbers += NUMBERS
    if failed == FAILED:
        raise MemoryError
    if failed:
        raise ValueError("wanted buckets of pairs, got others")
    return table


cdef bint is_possible(const int64_t* numbers, int64_t most_buckets) noexcept:
    cdef int64_t item_bits = numbers[2]
    return (
        LEAST_BUCKETS <= numbers[0] <= most_buckets and numbers[1] >= 0 and LEAST_USER_BITS <= numbers[3] <= 31
        and (item_bits == 32 or 1 <= item_bits < NARROW_BITS)
    )


cdef uint8_t* copy_buckets(const Part* part, uint8_t* to) noexcept nogil:
    """Copy the buckets of a part, and return where the next one's begin.

    The slot of a pair that was taken back stays in use, by no pair: what was moved on from its bucket is found.
    """
    cdef uint64_t number
    cdef int slot
    memcpy(to, part.buckets, part.num_buckets * LINE)
    for number in range(part.num_buckets):
        for slot in range(num_in_use(to)):
            if count_at(part, to, slot)[0] == 0:
                if part.item_bits == 32:
                    (<uint64_t*> to)[slot] = 0
                else:
                    (<uint32_t*> to)[slot] = 0
        to += LINE
    return to


cdef int restore_part(Table* table, Part* part, const int64_t* numbers, const uint8_t* buckets) noexcept nogil:
    """Put a part that was stored in place of an empty one; not 0 if its buckets can be of none."""
    cdef Part new
    cdef uint64_t number, key
    cdef int slot, slots = WIDE if numbers[2] == 32 else NARROW
    cdef uint8_t* bucket
    cdef bint is_whole = True
    memset(&new, 0, sizeof(Part))
    new.num_buckets, new.room = <uint64_t> numbers[0], numbers[1]
    new.item_bits, new.user_bits = <int> numbers[2], <int> numbers[3]
    if allocate(&new) != 0:
        return FAILED
    memcpy(new.buckets, buckets, new.num_buckets * LINE)
    for number in range(new.num_buckets):
        bucket = new.buckets + number * LINE
        if num_in_use(bucket) > slots:
            is_whole = False
            break
        new.num_keys += num_in_use(bucket)
        for slot in range(num_in_use(bucket)):
            if count_at(&new, bucket, slot)[0] == 0:
                new.has_gone = True
            if count_at(&new, bucket, slot)[0] == LARGE:
                key = key_at(&new, number, slot)
                is_whole &= table.large.num_slots > 0 and table.large.keys[large_slot(&table.large, key)] == key
    if not is_whole:
        free(new.memory)
        return WRONG
    table.num_keys += new.num_keys
    table.num_bytes += (<int64_t> new.num_buckets - <int64_t> part.num_buckets) * LINE
    free(part.memory)
    part[0] = new
    return 0
