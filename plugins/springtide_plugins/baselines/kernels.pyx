"""The compiled loops of baselines: the nearest items of an item, and weighted sums of sparse rows."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from springtide.arrays cimport float32s, int32s, int64s, out_float32s, out_int16s, out_int32s, out_uint64s


cdef extern from *:
    """
    typedef int16_t springtide_8s __attribute__((vector_size(16), aligned(2), may_alias));
    typedef int8_t springtide_8b __attribute__((vector_size(8)));
    /* Which of 8 numbers reach a bar: a byte each, 0 for those that do not. */
    static inline uint64_t springtide_reach(const int16_t *numbers, int16_t bar) {
        springtide_8b reach = __builtin_convertvector(*(const springtide_8s *) numbers >= bar, springtide_8b);
        uint64_t bytes;
        memcpy(&bytes, &reach, 8);
        return bytes;
    }
    /* Whether any of 32 numbers does. */
    static inline int springtide_any(const int16_t *numbers, int16_t bar) {
        const springtide_8s *parts = (const springtide_8s *) numbers;
        springtide_8s reach = (parts[0] >= bar) | (parts[1] >= bar) | (parts[2] >= bar) | (parts[3] >= bar);
        uint64_t halves[2];
        memcpy(halves, &reach, 16);
        return (halves[0] | halves[1]) != 0;
    }
    """
    uint64_t springtide_reach(const int16_t* numbers, int16_t bar) noexcept nogil
    int springtide_any(const int16_t* numbers, int16_t bar) noexcept nogil
    int __builtin_ctzll(unsigned long long bits) noexcept nogil


cdef enum:
    BLOCK = 32  # Items that are looked at together.
    MOST_COUNTED = 32_767  # Users of an item, so that numbers of common users fit into 16 bits.
    SPARSE = 8  # An item with a pair for fewer than one of so many items: these are remembered one by one.
    MOST_OF_CLASS = 64  # Of these classes of items by number of users there are fewer.


ctypedef struct Pairs:
    # Users and items that belong together, in both orders; items are named by their place, the one with most users first.
    const int64_t* users_from
    const int32_t* users
    const int64_t* items_from
    const int32_t* items
    const float* lengths
    Py_ssize_t num_items


ctypedef struct Scratch:
    int32_t* num_common
    int16_t* counts
    int32_t* touched
    uint64_t* keys
    float* bars


ctypedef struct Found:
    # The keys so far: those of ``room`` at most; then all but the highest ``count`` go.
    uint64_t* keys
    Py_ssize_t num
    Py_ssize_t count
    Py_ssize_t room
    uint64_t bar  # Keys below it are not among the highest.
    float length
    float least_common  # The same, of common users over the length of the other item.


cdef float BELOW = 0.99999  # Farther from 1 than products of float32 are rounded.
cdef float GUESSED = 0.9  # Of the lowest cosine that was kept.
cdef float FORGOTTEN = 20  # After about so many items, a bar that was low by chance has risen.


def nearest_items(
    users_from, users, items_from, items, lengths, places, num_common, counts, touched, keys, bars, num_found, found,
    cosines
):
    """Find the items with the highest cosines for each of some items; of equal cosines, those with more users.

    An item is named by its place in the order of how many users items have.

    Args:
        users_from: int64 ``[num_items + 1]``, where the users of each item begin.
        users: int32, users by item, each once.
        items_from: int64 ``[num_users + 1]``, where the items of each user begin.
        items: int32, items by user, each once.
        lengths: float32 ``[num_items]``, square roots of how many users items have, descending.
        places: int64 ``[n]``, the items.
        num_common: Working memory, int32 ``[num_items]``, zeros; they are zeros again at the end.
        counts: Working memory, int16 ``[num_items + 32]``, likewise.
        touched: Working memory, int32 ``[num_items + 1]``.
        keys: Working memory, uint64 ``[num_items]``.
        bars: Working memory, float32 ``[64]``, at first zeros: the lowest cosine to expect among the nearest items of an
            item with so many users. What is found does not depend on it.
        num_found: Output, int32 ``[n]``, how many items are found for each.
        found: Output, int32 ``[n, count]``, these items, in no order.
        cosines: Output, float32 ``[n, count]``, their cosines.
    """
    cdef Pairs pairs
    cdef Scratch scratch
    pairs.users_from, pairs.users = int64s(users_from), int32s(users)
    pairs.items_from, pairs.items = int64s(items_from), int32s(items)
    pairs.lengths, pairs.num_items = float32s(lengths), len(lengths)
    scratch.num_common, scratch.touched = out_int32s(num_common), out_int32s(touched)
    scratch.counts, scratch.keys, scratch.bars = out_int16s(counts), out_uint64s(keys), out_float32s(bars)
    if len(counts) < len(lengths) + BLOCK or len(bars) < MOST_OF_CLASS:
        raise ValueError(f"wanted room for {len(lengths) + BLOCK} counts and {MOST_OF_CLASS} bars, got {len(counts)}")
    cdef const int64_t* wanted = int64s(places)
    cdef int32_t* how_many = out_int32s(num_found)
    cdef int32_t* nearest = out_int32s(found)
    cdef float* nearness = out_float32s(cosines)
    cdef Py_ssize_t n = len(places), count = found.shape[1], number, entry, kept
    cdef uint32_t bits
    with nogil:
        for number in range(n):
            kept = _nearest_of(&pairs, &scratch, wanted[number], count)
            how_many[number] = <int32_t> kept
            for entry in range(kept):
                bits = <uint32_t> (scratch.keys[entry] >> 32)
                memcpy(&nearness[number * count + entry], &bits, 4)
                nearest[number * count + entry] = <int32_t> ~<uint32_t> scratch.keys[entry]


def add_weighted_rows(rows, weights, starts, stops, indices, values, sums):
    """Add rows of a sparse matrix, each times its weight and one after the other, to sums.

    Args:
        rows: int64 ``[m]``.
        weights: float32 ``[m]``.
        starts: int64 ``[num_rows]``, where the entries of each row begin.
        stops: int64 ``[num_rows]``, where they end.
        indices: int32 ``[num_entries]``, column of each entry; those of columns without a sum are passed over.
        values: float32 ``[num_entries]``.
        sums: float32 ``[num_columns]``, added to.
    """
    cdef Py_ssize_t num_rows = len(rows), number, entry, num_entries = len(values), wrong = -1
    cdef const int64_t* rows_ = int64s(rows)
    cdef const float* weights_ = float32s(weights)
    cdef const int64_t* starts_ = int64s(starts)
    cdef const int64_t* stops_ = int64s(stops)
    cdef const int32_t* columns = int32s(indices)
    cdef const float* values_ = float32s(values)
    cdef float* sums_ = out_float32s(sums)
    cdef uint32_t num_columns = <uint32_t> len(sums)
    cdef int64_t limit = len(starts)
    cdef float weight
    if len(weights) != num_rows or len(stops) != limit or len(indices) != num_entries:
        raise ValueError(f"wanted columns of one length, got {num_rows} rows, {len(weights)} weights")
    with nogil:
        for number in range(num_rows):
            if rows_[number] < 0 or rows_[number] >= limit:
                wrong = number
                break
            if starts_[rows_[number]] < 0 or stops_[rows_[number]] > num_entries:
                wrong = number
                break
            weight = weights_[number]
            for entry in range(starts_[rows_[number]], stops_[rows_[number]]):
                if <uint32_t> columns[entry] < num_columns:
                    sums_[columns[entry]] += weight * values_[entry]
    if wrong >= 0:
        raise ValueError(f"wanted rows of 0 to {limit - 1} within {num_entries} entries, got {rows[wrong]}")


cdef Py_ssize_t _nearest_of(const Pairs* pairs, Scratch* scratch, int64_t item, Py_ssize_t count) noexcept nogil:
    """Set the first keys to the nearest items of an item, and return their number.

    A key has the cosine in its high half, and in its low half the place, the first place the highest. Twice as many keys
    as are wanted are collected; then the lower half goes, and the lowest that stays is a bar for those to come. So most
    items are neither divided nor compared with others.
    """
    cdef Py_ssize_t num_users = pairs.users_from[item + 1] - pairs.users_from[item], num_pairs = 0, entry
    cdef Found found
    found.keys, found.num, found.bar = scratch.keys, 0, 0
    found.count, found.room = count, min(2 * count, pairs.num_items)
    found.length, found.least_common = pairs.lengths[item], 0
    for entry in range(pairs.users_from[item], pairs.users_from[item + 1]):
        num_pairs += pairs.items_from[pairs.users[entry] + 1] - pairs.items_from[pairs.users[entry]]
    if num_users > MOST_COUNTED or num_pairs < pairs.num_items // SPARSE:
        _look_at_touched(pairs, scratch, item, &found)
    else:
        _look_at_all(pairs, scratch, item, num_users, &found)
    if found.num > count:
        _move_highest_first(found.keys, found.num, count)
    return min(found.num, count)


cdef void _look_at_touched(const Pairs* pairs, Scratch* scratch, int64_t item, Found* found) noexcept nogil:
    """Count common users, remember the items that have some, and look at these."""
    cdef Py_ssize_t num_seen = 0, entry, other_entry
    cdef int32_t user, other
    cdef int32_t* num_common = scratch.num_common
    cdef int32_t* touched = scratch.touched
    for entry in range(pairs.users_from[item], pairs.users_from[item + 1]):
        user = pairs.users[entry]
        for other_entry in range(pairs.items_from[user], pairs.items_from[user + 1]):
            other = pairs.items[other_entry]
            touched[num_seen] = other  # Overwritten by the next, unless the item is new: no branch to guess.
            num_seen += num_common[other] == 0
            num_common[other] += 1
    for entry in range(num_seen):
        other = touched[entry]
        _consider(found, other, <float> num_common[other], pairs.lengths[other])
        num_common[other] = 0


cdef void _look_at_all(
    const Pairs* pairs, Scratch* scratch, int64_t item, Py_ssize_t num_users, Found* found
) noexcept nogil:
    """Count common users, and look at all items, a block at a time: most blocks have none that reaches the bar.

    The first bar is a guess, by items with about as many users. If too few items reach it, all are looked at again.
    """
    cdef Py_ssize_t entry, other_entry
    cdef int32_t user
    cdef float lowest = 0, length = found.length
    cdef int16_t* counts = scratch.counts
    cdef const int32_t* items = pairs.items
    cdef float* bar = scratch.bars + _class_of(num_users)
    for entry in range(pairs.users_from[item], pairs.users_from[item + 1]):
        user = pairs.users[entry]
        for other_entry in range(pairs.items_from[user], pairs.items_from[user + 1]):
            counts[items[other_entry]] += 1
    found.least_common = bar[0] * length * BELOW
    _look_at_counts(pairs, counts, found)
    if found.num >= found.count:
        lowest = _lowest_kept(found)
    if lowest < bar[0]:
        found.num, found.bar, found.least_common = 0, 0, 0
        _look_at_counts(pairs, counts, found)
        lowest = 0 if found.num < found.count else _lowest_kept(found)
    # Near the lowest of such items: a bar that is too high costs a second look, one that is too low some more keys.
    lowest *= GUESSED
    bar[0] = lowest if bar[0] == 0 or lowest < bar[0] else bar[0] + (lowest - bar[0]) / FORGOTTEN
    memset(counts, 0, pairs.num_items * sizeof(int16_t))


cdef void _look_at_counts(const Pairs* pairs, const int16_t* counts, Found* found) noexcept nogil:
    cdef Py_ssize_t start, part, at, block, num_items = pairs.num_items
    cdef float needed
    cdef int16_t bar
    cdef uint64_t reach
    for block in range((num_items + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        if pairs.lengths[start] < found.least_common:  # From here on, items have too few users.
            return
        needed = found.least_common * pairs.lengths[min(start + BLOCK, num_items) - 1]
        bar = <int16_t> min(needed, <float> MOST_COUNTED)
        bar += bar < needed and bar < MOST_COUNTED
        bar = max(bar, <int16_t> 1)
        if not springtide_any(counts + start, bar):
            continue
        for part in range(start, start + BLOCK, 8):
            reach = springtide_reach(counts + part, bar)
            while reach:
                at = part + __builtin_ctzll(reach) // 8
                reach &= ~(<uint64_t> 0xFF << (8 * (at - part)))
                _consider(found, <int32_t> at, <float> counts[at], pairs.lengths[at])


cdef inline void _consider(Found* found, int32_t other, float num_common, float length) noexcept nogil:
    """Add the key of an item, unless it is too low."""
    cdef float cosine
    cdef uint32_t bits
    cdef uint64_t key
    if num_common < found.least_common * length:
        return
    cosine = num_common / (length * found.length)
    memcpy(&bits, &cosine, 4)  # Numbers above 0 have the order of their bits.
    key = (<uint64_t> bits << 32) | <uint32_t> ~<uint32_t> other
    if key < found.bar:
        return
    found.keys[found.num] = key
    found.num += 1
    if found.num == found.room and found.room > found.count:
        found.least_common = _lowest_kept(found) * found.length * BELOW


cdef float _lowest_kept(Found* found) noexcept nogil:
    """Keep the highest ``count`` keys, and return the lowest cosine of these."""
    cdef Py_ssize_t entry
    cdef uint32_t bits
    cdef float cosine
    if found.num > found.count:
        _move_highest_first(found.keys, found.num, found.count)
        found.num = found.count
    found.bar = found.keys[0]
    for entry in range(found.count):
        found.bar = min(found.bar, found.keys[entry])
    bits = <uint32_t> (found.bar >> 32)
    memcpy(&cosine, &bits, 4)
    return cosine


cdef inline Py_ssize_t _class_of(Py_ssize_t num_users) noexcept nogil:
    """Return a class of items with about as many users, two for each doubling: below 64."""
    cdef Py_ssize_t number = 0
    while num_users > 3:
        num_users >>= 1
        number += 2
    return number + (num_users & 1)


cdef void _move_highest_first(uint64_t* keys, Py_ssize_t n, Py_ssize_t count) noexcept nogil:
    """Move the ``count`` highest of ``n`` distinct keys to the front, in no order (Hoare 1961, "Find")."""
    cdef Py_ssize_t low = 0, high = n - 1, left, right, middle
    cdef uint64_t pivot, swapped
    while low < high:
        middle = low + (high - low) // 2
        # The median of three keys.
        pivot = max(min(keys[low], keys[middle]), min(max(keys[low], keys[middle]), keys[high]))
        left, right = low, high
        while left <= right:
            while keys[left] > pivot:
                left += 1
            while keys[right] < pivot:
                right -= 1
            if left <= right:
                swapped = keys[left]
                keys[left] = keys[right]
                keys[right] = swapped
                left += 1
                right -= 1
        if count - 1 <= right:
            high = right
        elif count - 1 >= left:
            low = left
        else:
            return
