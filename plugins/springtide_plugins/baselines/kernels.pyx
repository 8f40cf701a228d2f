"""The compiled loop of baselines: the nearest items of an item."""

from libc.math cimport sqrtf
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from springtide.arrays cimport float32s, int32s, int64s, out_float32s, out_int32s, out_uint64s


cdef extern from *:
    """
    #define FIRST_SHARE 0.25f  /* Of an item's users: it is seldom near to an item of fewer. */
    #define SAFE_SHARE 0.9999f  /* A cosine is rounded: what is as good as the bound is looked at. */
    """
    const float FIRST_SHARE
    const float SAFE_SHARE


ctypedef struct Pairs:
    # Users and items that belong together, in both orders; items are named by their place, the one with most users first.
    Py_ssize_t num_items
    const int64_t* users_from
    const int32_t* users
    const int64_t* items_from
    const int32_t* items
    const float* num_users


ctypedef struct Scratch:
    int32_t* num_common
    int32_t* touched
    uint64_t* keys


def nearest_items(
    users_from, users, items_from, items, num_users, places, num_common, touched, keys, num_found, found, cosines
):
    """Find the items with the highest cosines for each of some items; of equal cosines, those with more users.

    An item is named by its place in the order of how many users items have. The cosine with an item that has a share of
    another one's users is at most the root of the share, so that most items with few users need not be looked at.

    Args:
        users_from: int64 ``[num_items + 1]``, where the users of each item begin.
        users: int32, users by item, each once.
        items_from: int64 ``[num_users + 1]``, where the items of each user begin.
        items: int32, items by user, each once, ascending.
        num_users: float32 ``[num_items]``, descending.
        places: int64 ``[n]``, the items.
        num_common: Working memory, int32 ``[num_items]``, zeros; they are zeros again at the end.
        touched: Working memory, int32 ``[num_items]``.
        keys: Working memory, uint64 ``[num_items]``.
        num_found: Output, int32 ``[n]``, how many items are found for each.
        found: Output, int32 ``[n, count]``, these items, in no order.
        cosines: Output, float32 ``[n, count]``, their cosines.
    """
    cdef Pairs pairs
    cdef Scratch scratch
    pairs.num_items = len(num_users)
    pairs.users_from, pairs.users = int64s(users_from), int32s(users)
    pairs.items_from, pairs.items = int64s(items_from), int32s(items)
    pairs.num_users = float32s(num_users)
    scratch.num_common, scratch.touched = out_int32s(num_common), out_int32s(touched)
    scratch.keys = out_uint64s(keys)
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


cdef Py_ssize_t _nearest_of(const Pairs* pairs, Scratch* scratch, int64_t item, Py_ssize_t count) noexcept nogil:
    """Set the first keys to the nearest items of an item, and return their number."""
    cdef Py_ssize_t looked_at, worth_it, num_seen, entry
    cdef float lowest = 0.0
    cdef uint32_t bits
    looked_at = _num_with(pairs, FIRST_SHARE * pairs.num_users[item])
    num_seen = _count_common(pairs, scratch, item, 0, <int32_t> looked_at, 0)
    _make_keys(pairs, scratch, item, num_seen)
    if looked_at < pairs.num_items:
        if num_seen >= count:
            _move_highest_first(scratch.keys, num_seen, count)
            bits = <uint32_t> (scratch.keys[0] >> 32)
            for entry in range(1, count):
                bits = min(bits, <uint32_t> (scratch.keys[entry] >> 32))
            memcpy(&lowest, &bits, 4)
        worth_it = _num_with(pairs, SAFE_SHARE * lowest * lowest * pairs.num_users[item])
        if worth_it > looked_at:
            num_seen = _count_common(pairs, scratch, item, <int32_t> looked_at, <int32_t> worth_it, num_seen)
            _make_keys(pairs, scratch, item, num_seen)
    for entry in range(num_seen):
        scratch.num_common[scratch.touched[entry]] = 0
    if num_seen > count:
        _move_highest_first(scratch.keys, num_seen, count)
    return min(num_seen, count)


cdef Py_ssize_t _num_with(const Pairs* pairs, float least) noexcept nogil:
    """Return how many items have at least so many users."""
    cdef Py_ssize_t low = 0, high = pairs.num_items, middle
    while low < high:
        middle = (low + high) // 2
        if pairs.num_users[middle] >= least:
            low = middle + 1
        else:
            high = middle
    return low


cdef Py_ssize_t _count_common(
    const Pairs* pairs, Scratch* scratch, int64_t item, int32_t start, int32_t stop, Py_ssize_t num_seen
) noexcept nogil:
    """Count the users that an item has in common with those from ``start`` to ``stop``; return how many were touched."""
    cdef Py_ssize_t entry, low, high, middle
    cdef int32_t user, other
    for entry in range(pairs.users_from[item], pairs.users_from[item + 1]):
        user = pairs.users[entry]
        low, high = pairs.items_from[user], pairs.items_from[user + 1]
        while start > 0 and low < high:  # The first of the user's items from start on.
            middle = (low + high) // 2
            if pairs.items[middle] < start:
                low = middle + 1
            else:
                high = middle
        for middle in range(low, pairs.items_from[user + 1]):
            other = pairs.items[middle]
            if other >= stop:
                break
            if scratch.num_common[other] == 0:
                scratch.touched[num_seen] = other
                num_seen += 1
            scratch.num_common[other] += 1
    return num_seen


cdef void _make_keys(const Pairs* pairs, Scratch* scratch, int64_t item, Py_ssize_t num_seen) noexcept nogil:
    """Set a key for each touched item: in its high half the cosine, in its low half the place, the first the highest."""
    cdef Py_ssize_t entry
    cdef int32_t other
    cdef float cosine, length = sqrtf(pairs.num_users[item])
    cdef uint32_t bits
    for entry in range(num_seen):
        other = scratch.touched[entry]
        cosine = <float> scratch.num_common[other] / (sqrtf(pairs.num_users[other]) * length)
        memcpy(&bits, &cosine, 4)  # Numbers above 0 have the order of their bits.
        scratch.keys[entry] = (<uint64_t> bits << 32) | <uint32_t> ~<uint32_t> other


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
