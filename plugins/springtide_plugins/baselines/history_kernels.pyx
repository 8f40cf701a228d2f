"""The compiled loops over histories: what each user's events add up to, item by item."""

import numpy as np

from libc.math cimport exp2
from libc.stdint cimport int32_t, int64_t, uint64_t

from springtide.arrays cimport (
    float64s, int32s, int64s, out_float32s, out_float64s, out_int32s, out_int64s, out_uint64s,
)


cdef extern from *:
    int __builtin_ctzll(unsigned long long bits) noexcept nogil


cdef enum:
    BITS = 64


cdef double MS_PER_DAY = 86_400_000.0


cdef struct Touched:
    # The items that a user has had so far: a bit for each, and a bit for each word of these. All 0 between two users.
    uint64_t* bits
    uint64_t* words
    Py_ssize_t num_words
    double* sums  # By item.


def newest_first(user_rows, Py_ssize_t num_users, bounds):
    """Return positions of events, user by user, each user's in reverse order: int64 ``[n]``.

    Args:
        user_rows: int32 ``[n]``, from 0 to ``num_users - 1``.
        num_users: Number of users.
        bounds: Output, int64 ``[num_users + 1]``, where the positions of each user begin.
    """
    cdef Py_ssize_t num = len(user_rows), event, wrong = -1
    cdef const int32_t* users = int32s(user_rows)
    positions = np.empty(num, np.int64)
    cdef int64_t* at = out_int64s(bounds)
    cdef int64_t* out = out_int64s(positions)
    if len(bounds) != num_users + 1:
        raise ValueError(f"wanted bounds of {num_users} users, got {len(bounds)}")
    bounds[:] = 0
    with nogil:
        for event in range(num):
            if users[event] < 0 or users[event] >= num_users:
                wrong = event
                break
            at[users[event] + 1] += 1
        if wrong < 0:
            for event in range(num_users):
                at[event + 1] += at[event]
            for event in range(num):  # Each user is filled from behind, which moves the next user's bound to its place.
                at[users[event] + 1] -= 1
                out[at[users[event] + 1]] = event
            for event in range(num_users):
                at[event] = at[event + 1]
            at[num_users] = num
    if wrong >= 0:
        raise ValueError(f"wanted users from 0 to {num_users - 1}, got {user_rows[wrong]}")
    return positions


def add_up(bounds, item_rows, weights, Py_ssize_t num_items, starts, indices, values):
    """Add up the weights of each user's events by item; return how many entries there are.

    Args:
        bounds: int64 ``[n + 1]``, ascending, where the events of each user begin.
        item_rows: int32 ``[num_events]``, from 0 to ``num_items - 1``.
        weights: float64 ``[num_events]``; None for 1.
        num_items: Number of items.
        starts: Output, int64 ``[n + 1]``, where the entries of each user begin.
        indices: Output, int32 ``[num_events]``, the items of each user, ascending.
        values: Output, float32 ``[num_events]``, their sums.
    """
    cdef const int64_t* bounds_ = int64s(bounds)
    cdef const int32_t* items = int32s(item_rows)
    cdef const double* weights_ = NULL if weights is None else float64s(weights)
    cdef int64_t* starts_ = out_int64s(starts)
    cdef int32_t* indices_ = out_int32s(indices)
    cdef float* values_ = out_float32s(values)
    cdef Py_ssize_t num_users = len(bounds) - 1, user, event, num = 0
    _check(bounds, item_rows, weights, num_items, starts, indices, values)
    sums, bits, words = _working_memory(num_items)
    cdef Touched touched = Touched(out_uint64s(bits), out_uint64s(words), len(words), out_float64s(sums))
    with nogil:
        for user in range(num_users):
            starts_[user] = num
            for event in range(bounds_[user], bounds_[user + 1]):
                _add(&touched, items[event], 1.0 if weights_ == NULL else weights_[event])
            num = _take(&touched, indices_, values_, num)
        starts_[num_users] = num
    return num


def mean_baskets(
    bounds, item_rows, timestamps_ms, double half_life_days, Py_ssize_t num_items, starts, indices, values
):
    """Compute the mean basket of each user, the newest basket weighing most; return how many entries there are.

    A basket is a run of a user's events of one time; an item counts once in it.

    Args:
        bounds: As for ``add_up``.
        item_rows: As for ``add_up``.
        timestamps_ms: int64 ``[num_events]``, the newest event of each user first.
        half_life_days: After how many days before the user's newest basket one counts half.
        num_items: Number of items.
        starts: Output, as for ``add_up``.
        indices: Output, as for ``add_up``.
        values: Output, float32 ``[num_events]``: of all baskets, weighted, the share that has the item.
    """
    cdef const int64_t* bounds_ = int64s(bounds)
    cdef const int32_t* items = int32s(item_rows)
    cdef const int64_t* times = int64s(timestamps_ms)
    cdef int64_t* starts_ = out_int64s(starts)
    cdef int32_t* indices_ = out_int32s(indices)
    cdef float* values_ = out_float32s(values)
    cdef Py_ssize_t num_users = len(bounds) - 1, user, event, first, num = 0
    cdef int64_t basket = 0
    cdef double total, share = 0
    _check(bounds, item_rows, timestamps_ms, num_items, starts, indices, values)
    sums, bits, words = _working_memory(num_items)
    last_baskets = np.zeros(num_items, np.int64)  # Of each item, the number of the basket that had it last.
    cdef int64_t* last_basket = out_int64s(last_baskets)
    cdef Touched touched = Touched(out_uint64s(bits), out_uint64s(words), len(words), out_float64s(sums))
    with nogil:
        for user in range(num_users):
            starts_[user], first, total = num, bounds_[user], 0
            for event in range(first, bounds_[user + 1]):
                if event == first or times[event] != times[event - 1]:
                    total += _weight(times[first] - times[event], half_life_days)
            for event in range(first, bounds_[user + 1]):
                if event == first or times[event] != times[event - 1]:
                    basket += 1
                    share = _weight(times[first] - times[event], half_life_days) / total
                if last_basket[items[event]] != basket:
                    last_basket[items[event]] = basket
                    _add(&touched, items[event], share)
            num = _take(&touched, indices_, values_, num)
        starts_[num_users] = num
    return num


cdef _working_memory(Py_ssize_t num_items):
    cdef Py_ssize_t num_bits = (num_items + BITS - 1) // BITS
    return np.empty(num_items), np.zeros(num_bits, np.uint64), np.zeros((num_bits + BITS - 1) // BITS, np.uint64)


cdef _check(bounds, item_rows, others, Py_ssize_t num_items, starts, indices, values):
    """Raise ValueError unless columns fit each other."""
    cdef Py_ssize_t num = len(item_rows), event, wrong = -1, num_bounds = len(bounds)
    cdef const int32_t* items = int32s(item_rows)
    cdef const int64_t* bounds_ = int64s(bounds)
    if not num == len(indices) == len(values) or (others is not None and len(others) != num):
        raise ValueError(f"wanted columns of {num} events, got {len(indices)} and {len(values)}")
    if num_bounds < 1 or len(starts) != num_bounds or bounds_[0] < 0 or bounds_[num_bounds - 1] > num:
        raise ValueError(f"wanted bounds within {num} events, and as many starts, got {bounds} and {len(starts)}")
    with nogil:
        for event in range(num_bounds - 1):
            if bounds_[event] > bounds_[event + 1]:
                wrong = event
                break
    if wrong >= 0:
        raise ValueError(f"wanted bounds that ascend, got {bounds[wrong]} before {bounds[wrong + 1]}")
    with nogil:
        for event in range(num):
            if items[event] < 0 or items[event] >= num_items:
                wrong = event
                break
    if wrong >= 0:
        raise ValueError(f"wanted items from 0 to {num_items - 1}, got {item_rows[wrong]}")


cdef inline double _weight(int64_t age_ms, double half_life_days) noexcept nogil:
    return exp2(-(<double> age_ms / MS_PER_DAY) / half_life_days)


cdef inline void _add(Touched* touched, int32_t item, double weight) noexcept nogil:
    cdef Py_ssize_t word = item // BITS
    cdef uint64_t bit = <uint64_t> 1 << (item % BITS)
    if touched.bits[word] & bit:
        touched.sums[item] += weight
        return
    touched.bits[word] |= bit
    touched.words[word // BITS] |= <uint64_t> 1 << (word % BITS)
    touched.sums[item] = weight


cdef Py_ssize_t _take(Touched* touched, int32_t* indices, float* values, Py_ssize_t num) noexcept nogil:
    """Write a user's items and sums, ascending by item, from a position on; return the next position."""
    cdef Py_ssize_t number, word, item
    for number in range(touched.num_words):
        while touched.words[number]:
            word = number * BITS + __builtin_ctzll(touched.words[number])
            touched.words[number] &= touched.words[number] - 1
            while touched.bits[word]:
                item = word * BITS + __builtin_ctzll(touched.bits[word])
                touched.bits[word] &= touched.bits[word] - 1
                indices[num], values[num] = <int32_t> item, <float> touched.sums[item]
                num += 1
    return num
