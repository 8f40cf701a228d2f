"""Tables of pairs, and what keeps them in order: growth, copies, and what is written to a checkpoint.

See ``pair_tables.pxd`` for how a table is laid out, and ``pair_kernels`` for the loops that count.
"""

import numpy as np

cimport numpy as cnp
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from springtide.arrays cimport bools, out_uint32s, out_uint64s, uint32s, uint64s
from springtide_plugins.context_weights.large_counts cimport large_slot

cdef enum:
    FIRST_PARTS = 16
    PART_PAIRS = 262_144  # That a part has at most, if there are fewer than ``MOST_PARTS``: 1.5 MB, copied in 2 ms.
    LEAST_ROOM = 32  # Pairs.
    AT_ONCE = 64  # Pairs whose new buckets are on their way from memory while they are copied.
    FEW_LEFT = 8  # A part gives room back where less than one of so many slots is of a pair that is left.

cdef uint64_t NO_ROWS = 0x8000000080000000  # Bits that two rows do not have.
cdef double GROWTH = 1.75  # Of a part: a pair that comes is copied 1.3 times then, and takes 8 bytes, not 5.9.
cdef double FULL_NARROW = 0.9  # Of the slots; of fewer in a bucket, more may be taken by chance.
cdef double FULL_WIDE = 0.85

cnp.import_array()


cdef class PairTable:
    """Pairs of user and item rows, and how often each occurred; one thread uses it at a time.

    Args:
        most_pairs: How many pairs there will be at most, about; it has room for more.
        num_parts: How many parts it has, a power of 2; 0 for as many as these need.

    Attributes:
        num_parts: Number of parts.
        num_keys: Number of pairs, those included that were taken back since their part was copied.
        nbytes: Bytes that the table takes.
        num_copied: How many times a pair was copied, since parts grew or shrank.
        most_copied: How many pairs were copied at once, at most.
        num_steps: How often a search went on to another bucket, since parts grew or shrank.
    """

    def __cinit__(self, int64_t most_pairs, int num_parts=0):
        cdef int number, wanted = num_parts
        num_parts, self.table.shift = FIRST_PARTS, 60
        while num_parts < wanted or (not wanted and num_parts < MOST_PARTS and most_pairs // num_parts > PART_PAIRS):
            num_parts *= 2
            self.table.shift -= 1
        if wanted and num_parts != wanted:
            raise ValueError(f"wanted {FIRST_PARTS} parts or a multiple by a power of 2, got {wanted}")
        self.table.most = most_pairs // num_parts
        self.table.most += <int64_t> (4 * sqrt(<double> self.table.most)) + 16
        self.table.parts = <Part*> calloc(num_parts, sizeof(Part))
        if self.table.parts == NULL:
            raise MemoryError
        self.table.num_parts = num_parts
        for number in range(num_parts):
            # One after another grows, not all at a time, so that together they always have as much room that is not used.
            if rebuild(
                &self.table, self.table.parts + number, <int64_t> (LEAST_ROOM * GROWTH ** (<double> number / num_parts))
            ) != 0:
                raise MemoryError

    def __dealloc__(self):
        cdef int number
        for number in range(self.table.num_parts):
            free(self.table.parts[number].memory)
        free(self.table.parts)
        free(self.table.large.keys)
        free(self.table.large.counts)

    @property
    def num_parts(self):
        return self.table.num_parts

    @property
    def num_keys(self):
        return self.table.num_keys

    @property
    def nbytes(self):
        return self.table.num_bytes + self.table.num_parts * sizeof(Part) + self.table.large.num_slots * 16

    @property
    def num_copied(self):
        return self.table.num_copied

    @property
    def most_copied(self):
        return self.table.most_copied

    @property
    def num_steps(self):
        cdef int number
        return sum(self.table.parts[number].num_steps for number in range(self.table.num_parts))

    @property
    def num_living(self):
        """Number of pairs that were not taken back."""
        cdef int number
        cdef int64_t living = 0
        with nogil:
            for number in range(self.table.num_parts):
                living += num_living(self.table.parts + number)
        return living

    def pairs(self):
        """Return the pairs that were not taken back, uint64 ``[n]``, and how often each occurred, uint32 ``[n]``."""
        cdef int64_t n = self.num_living
        keys, counts = np.empty(n, np.uint64), np.empty(n, np.uint32)
        cdef uint64_t* to_keys = out_uint64s(keys)
        cdef uint32_t* to_counts = out_uint32s(counts)
        with nogil:
            write_pairs(&self.table, to_keys, to_counts)
        return keys, counts

    def fill(self, keys, counts):
        """Put distinct pairs and their counts into a table that has none.

        Args:
            keys: uint64 ``[n]``.
            counts: uint32 ``[n]``.

        Raises:
            ValueError: If the table has pairs, or a key is none.
        """
        if len(keys) != len(counts) or self.table.num_keys:
            raise ValueError(f"wanted an empty table and a count for each pair, got {len(keys)} and {len(counts)}")
        cdef int failed = fill(&self.table, len(keys), uint64s(keys), uint32s(counts))
        if failed == FAILED:
            raise MemoryError
        if failed:
            raise ValueError("wanted keys of rows of 0 or more")

    def forget(self, is_user_gone, is_item_gone):
        """Forget all pairs of some users and of some items, and give room back where few are left.

        Args:
            is_user_gone: bool ``[num_users]``; later users stay.
            is_item_gone: bool ``[num_items]``.
        """
        if forget(&self.table, len(is_user_gone), bools(is_user_gone), len(is_item_gone), bools(is_item_gone)) != 0:
            raise MemoryError

    def drop_taken_back(self):
        """Let go of the pairs that were taken back."""
        cdef int number
        for number in range(self.table.num_parts):
            if rebuild(&self.table, self.table.parts + number, 1) != 0:
                raise MemoryError


cdef int put(Table* table, Sought* sought, Outcome outcome, Place* place) noexcept nogil:
    """Give a pair that was not found a slot; the part grows if there is no room.

    Returns:
        1 if the part has grown, so that what was sought in it before must be sought anew; else 0, or ``FAILED``.
    """
    cdef Part* part = sought.part
    cdef int64_t living, more, extra = 0
    cdef int has_grown = 0
    table.greatest_user = max(table.greatest_user, sought.user_row)
    table.greatest_item = max(table.greatest_item, sought.item_row)
    while outcome == NO_PLACE or part.num_keys >= part.room or not claim(sought, place):
        living = num_living(part)
        if sought.value == 0 and living < part.room:  # Rows became greater than its words hold: it need not grow.
            more = part.room - living
        else:
            more = max(<int64_t> 1, <int64_t> (living * (GROWTH - 1)))
        if part.num_keys < table.most < part.num_keys + more:
            more = table.most - part.num_keys
        if rebuild(table, part, more + extra) != 0:
            return FAILED
        seek(table, sought.user_row, sought.item_row, hash_of(<uint64_t> sought.item_row), sought)
        outcome, has_grown = find(sought, place), 1
        extra += living // 8 + 8  # If there is no place again: a matter of bad luck.
    table.num_keys += 1
    return has_grown


cdef int64_t num_living(const Part* part) noexcept nogil:
    cdef uint64_t number
    cdef int slot
    cdef int64_t living = 0
    cdef uint8_t* bucket
    if not part.has_gone:
        return part.num_keys
    for number in range(part.num_buckets):
        bucket = part.buckets + number * LINE
        for slot in range(num_in_use(bucket)):
            living += count_at(part, bucket, slot)[0] > 0
    return living


cdef int rebuild(Table* table, Part* part, int64_t num_more) noexcept nogil:
    """Copy a part without the pairs that were taken back, with room for more."""
    cdef Part new
    cdef int64_t room = num_living(part) + num_more
    while True:
        if open_part(table, &new, room) != 0:
            return FAILED
        if copy_pairs(part, &new):
            break
        free(new.memory)
        room += room // 8 + 8  # There was no place for one, as in ``put``.
    table.num_copied += new.num_keys
    table.most_copied = max(table.most_copied, new.num_keys)
    table.num_keys += new.num_keys - part.num_keys
    table.num_bytes += <int64_t> ((new.num_buckets + 1) * LINE)
    table.num_bytes -= <int64_t> ((part.num_buckets + 1) * LINE) if part.memory != NULL else 0
    free(part.memory)
    part[0] = new
    return 0


cdef bint copy_pairs(const Part* part, Part* new) noexcept nogil:
    """Copy the pairs that were not taken back into a part without any; false if there is no place for one."""
    cdef Place place
    cdef uint64_t number, row, item_row, hash_
    cdef int slot, num, ahead
    cdef uint8_t* bucket
    cdef bint is_mixed_alike = part.user_bits == new.user_bits
    cdef Sought[AT_ONCE] sought
    cdef uint8_t[AT_ONCE] counts
    num = 0
    for number in range(part.num_buckets):
        bucket = part.buckets + number * LINE
        for slot in range(num_in_use(bucket)):
            counts[num] = count_at(part, bucket, slot)[0]
            if counts[num] == 0:
                continue
            row = row_at(part, number, word_at(part, bucket, slot), &item_row, &hash_)
            if not is_mixed_alike:
                row = mixed(new, unmixed(part, row))
            sought[num].part = new
            set_home(new, row, item_row, hash_, &sought[num])
            num += 1
        if num + NARROW <= AT_ONCE and number + 1 < part.num_buckets:
            continue
        for ahead in range(num):
            fetch_next(&sought[ahead])
        for ahead in range(num):
            place.number, place.steps = sought[ahead].home, 0
            place.bucket = new.buckets + place.number * LINE
            if not claim(&sought[ahead], &place):
                return False
            count_at(new, place.bucket, place.slot)[0] = counts[ahead]
        num = 0
    return True


cdef int open_part(const Table* table, Part* part, int64_t room) noexcept nogil:
    """Make an empty part; its words are narrow if those of all users and items fit."""
    cdef uint64_t quotient
    memset(part, 0, sizeof(Part))
    part.room, part.item_bits, part.user_bits = room, NARROW_BITS, LEAST_USER_BITS
    while table.greatest_user >> part.user_bits:
        part.user_bits += 1
    part.num_buckets = max(<uint64_t> LEAST_BUCKETS, <uint64_t> (<double> room / (NARROW * FULL_NARROW)) + 1)
    quotient = ((<uint64_t> 1 << part.user_bits) - 1) // part.num_buckets + 1
    while quotient:
        quotient >>= 1
        part.item_bits -= 1
    if part.item_bits < 1 or table.greatest_item >> part.item_bits:
        part.num_buckets = max(<uint64_t> LEAST_BUCKETS, <uint64_t> (<double> room / (WIDE * FULL_WIDE)) + 1)
        part.item_bits = 32
    return allocate(part)


cdef int allocate(Part* part) noexcept nogil:
    """Give a part its buckets, which have no pairs."""
    part.reciprocal = <uint64_t> -1 // part.num_buckets + 1
    part.longest_step = part.num_buckets // (REACH + 1)
    part.memory = <uint8_t*> calloc(part.num_buckets + 1, LINE)
    if part.memory == NULL:
        return FAILED
    part.buckets = part.memory + (LINE - <uint64_t> part.memory % LINE)
    return 0


cdef int fill(Table* table, Py_ssize_t n, const uint64_t* keys, const uint32_t* counts) noexcept:
    cdef Py_ssize_t number
    cdef int32_t user_row, item_row
    cdef Sought[AT_ONCE] sought
    cdef Place place
    cdef Py_ssize_t done = 0, num
    cdef int outcome
    with nogil:
        for number in range(n):
            if (keys[number] - 1) & NO_ROWS:
                return FAILED - 1
            user_row, item_row = <int32_t> ((keys[number] - 1) >> 32), <int32_t> (keys[number] - 1)
            part_of(table, user_row, item_row).room += 1
            table.greatest_user = max(table.greatest_user, user_row)
            table.greatest_item = max(table.greatest_item, item_row)
        for number in range(table.num_parts):
            if rebuild(table, table.parts + number, table.parts[number].room * 17 // 16) != 0:
                return FAILED
        while done < n:
            num = min(<Py_ssize_t> AT_ONCE, n - done)
            for number in range(num):
                item_row = <int32_t> (keys[done + number] - 1)
                seek(
                    table, <int32_t> ((keys[done + number] - 1) >> 32), item_row, hash_of(<uint64_t> item_row),
                    &sought[number],
                )
            for number in range(num):
                outcome = put(table, &sought[number], find(&sought[number], &place), &place)
                if outcome == FAILED or set_count(
                    table, count_at(sought[number].part, place.bucket, place.slot), keys[done], counts[done]
                ) != 0:
                    return FAILED
                done += 1
                if outcome > 0:
                    break
    return 0


cdef void write_pairs(const Table* table, uint64_t* keys, uint32_t* counts) noexcept nogil:
    """Write all pairs with a count, part by part, in the order of slots."""
    cdef const Part* part
    cdef uint8_t* bucket
    cdef uint64_t number, count
    cdef Py_ssize_t at = 0
    cdef int index, slot
    for index in range(table.num_parts):
        part = table.parts + index
        for number in range(part.num_buckets):
            bucket = part.buckets + number * LINE
            for slot in range(num_in_use(bucket)):
                count = count_at(part, bucket, slot)[0]
                if count == 0:
                    continue
                keys[at] = key_at(part, number, slot)
                if count == LARGE:
                    count = table.large.counts[large_slot(&table.large, keys[at])]
                counts[at] = <uint32_t> min(count, <uint64_t> 0xFFFFFFFF)
                at += 1


cdef int forget(
    Table* table, int64_t num_users, const uint8_t* is_user_gone, int64_t num_items, const uint8_t* is_item_gone
) noexcept:
    cdef Part* part
    cdef uint8_t* bucket
    cdef uint64_t number, key
    cdef int index, slot
    cdef int64_t user_row, item_row, living
    with nogil:
        for index in range(table.num_parts):
            part, living = table.parts + index, 0
            for number in range(part.num_buckets):
                bucket = part.buckets + number * LINE
                for slot in range(num_in_use(bucket)):
                    if count_at(part, bucket, slot)[0] == 0:
                        continue
                    key = key_at(part, number, slot) - 1
                    user_row, item_row = <int64_t> (key >> 32), <int64_t> <uint32_t> key
                    if (user_row < num_users and is_user_gone[user_row]) or (
                        item_row < num_items and is_item_gone[item_row]
                    ):
                        set_count(table, count_at(part, bucket, slot), key + 1, 0)  # Needs no memory.
                        part.has_gone = True
                    else:
                        living += 1
            if living * FEW_LEFT < <int64_t> part.num_buckets * NARROW and part.num_buckets > LEAST_BUCKETS:
                if rebuild(table, part, living + 1) != 0:
                    return FAILED
    return 0
