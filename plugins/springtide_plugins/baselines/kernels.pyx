"""The compiled loops of baselines: the nearest items of an item, and weighted sums of sparse rows."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from springtide.arrays cimport float32s, int32s, int64s, out_float32s, out_int32s, out_uint64s


ctypedef struct Pairs:
    # Users and items that belong together, in both orders; items are named by their place, the one with most users first.
    const int64_t* users_from
    const int32_t* users
    const int64_t* items_from
    const int32_t* items
    const float* lengths


ctypedef struct Scratch:
    int32_t* num_common
    int32_t* touched
    uint64_t* keys


cdef float BELOW = 0.99999  # Farther from 1 than products of float32 are rounded.


def nearest_items(
    users_from, users, items_from, items, lengths, places, num_common, touched, keys, num_found, found, cosines
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
        touched: Working memory, int32 ``[num_items + 1]``.
        keys: Working memory, uint64 ``[num_items]``.
        num_found: Output, int32 ``[n]``, how many items are found for each.
        found: Output, int32 ``[n, count]``, these items, in no order.
        cosines: Output, float32 ``[n, count]``, their cosines.
    """
    cdef Pairs pairs
    cdef Scratch scratch
    pairs.users_from, pairs.users = int64s(users_from), int32s(users)
    pairs.items_from, pairs.items = int64s(items_from), int32s(items)
    pairs.lengths = float32s(lengths)
    scratch.num_common, scratch.touched = out_int32s(num_common), out_int32s(touched)
    scratch.keys = out_uint64s(keys)
    cdef const int64_t* wanted = int64s(places)
    cdef int32_t* how_many = out_int32s(num_found)
    cdef int32_t* nearest = out_int32s(found)
    cdef float* nearness = out_float32s(cosines)
    cdef Py_ssize_t n = len(places), count = found.shape[1], number, entry, kept, num_items = len(lengths)
    cdef uint32_t bits
    with nogil:
        for number in range(n):
            kept = _nearest_of(&pairs, &scratch, wanted[number], count, min(2 * count, num_items))
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


cdef Py_ssize_t _nearest_of(
    const Pairs* pairs, Scratch* scratch, int64_t item, Py_ssize_t count, Py_ssize_t room
) noexcept nogil:
    """Set the first keys to the nearest items of an item, and return their number.

    A key has the cosine in its high half, and in its low half the place, the first place the highest. Twice as many keys
    as are wanted are collected; then the lower half goes, and the lowest that stays is a bar for those to come. So most
    items are neither divided nor compared with others.
    """
    cdef Py_ssize_t num_seen = 0, num_kept = 0, entry, other_entry
    cdef int32_t user, other
    cdef float cosine, num_common, least_common = 0, length = pairs.lengths[item]
    cdef uint32_t bits
    cdef uint64_t key, bar = 0
    for entry in range(pairs.users_from[item], pairs.users_from[item + 1]):
        user = pairs.users[entry]
        for other_entry in range(pairs.items_from[user], pairs.items_from[user + 1]):
            other = pairs.items[other_entry]
            scratch.touched[num_seen] = other  # Overwritten by the next, unless the item is new: no branch to guess.
            num_seen += scratch.num_common[other] == 0
            scratch.num_common[other] += 1
    for entry in range(num_seen):
        other = scratch.touched[entry]
        num_common = <float> scratch.num_common[other]
        scratch.num_common[other] = 0
        if num_common < least_common * pairs.lengths[other]:
            continue
        cosine = num_common / (pairs.lengths[other] * length)
        memcpy(&bits, &cosine, 4)  # Numbers above 0 have the order of their bits.
        key = (<uint64_t> bits << 32) | <uint32_t> ~<uint32_t> other
        if key < bar:
            continue
        scratch.keys[num_kept] = key
        num_kept += 1
        if num_kept == room and room > count:
            _move_highest_first(scratch.keys, num_kept, count)
            num_kept = count
            bar = scratch.keys[0]
            for other_entry in range(count):
                bar = min(bar, scratch.keys[other_entry])
            bits = <uint32_t> (bar >> 32)
            memcpy(&cosine, &bits, 4)
            least_common = cosine * length * BELOW
    if num_kept > count:
        _move_highest_first(scratch.keys, num_kept, count)
    return min(num_kept, count)


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
