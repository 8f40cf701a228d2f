"""The compiled loops of a training step: drawing interactions, what was seen, and cosines of single pairs."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from springtide.arrays cimport float32s, float64s, int32s, int64s, out_bools, out_float32s, out_int32s, out_int64s

cdef enum:
    LANES = 16  # Sums that a compiler can keep in registers; added up in a fixed order.


def draw_positions(cumulative, order, first, users, shares, drawn):
    """Draw interactions of users: each by its share of what the chances of the user's interactions add up to.

    Args:
        cumulative: float64 ``[num_interactions + 1]``, sums of the chances of the interactions, sorted by user.
        order: int64 ``[num_interactions]``, the interactions sorted by user.
        first: int64 ``[num_rows + 1]``, where the interactions of each user begin.
        users: int64 ``[n]``, rows of users with chances above 0.
        shares: float64 ``[n, count]``, from 0 up to, not including, 1.
        drawn: Output, int64 ``[n, count]``, interactions.
    """
    cdef const double* sums = float64s(cumulative)
    cdef const int64_t* sorted_by_user = int64s(order)
    cdef const int64_t* begin = int64s(first)
    cdef const int64_t* rows = int64s(users)
    cdef const double* wanted = float64s(shares)
    cdef int64_t* found = out_int64s(drawn)
    cdef Py_ssize_t n = len(users), count = shares.shape[1], number, entry
    cdef int64_t low, high, middle
    cdef double start, length, point
    with nogil:
        for number in range(n):
            start = sums[begin[rows[number]]]
            length = sums[begin[rows[number] + 1]] - start
            for entry in range(number * count, (number + 1) * count):
                point = start + wanted[entry] * length
                # The last interaction before which the sum is not above the point. A point may be rounded up to the
                # end of its range: that belongs to the next user.
                low, high = begin[rows[number]], begin[rows[number] + 1] - 1
                while low < high:
                    middle = low + (high - low + 1) // 2
                    if sums[middle] <= point:
                        low = middle
                    else:
                        high = middle - 1
                found[entry] = sorted_by_user[low]


def mark_seen(seen_items, first, users, items, last_seen_by, is_seen):
    """Mark which of some items, the same for all users, each user has an interaction with.

    Args:
        seen_items: int64, items of all interactions, sorted by user.
        first: int64 ``[num_rows + 1]``, where the interactions of each user begin.
        users: int64 ``[n]``, rows of users.
        items: int64 ``[m]``, rows of items; an item may be there twice.
        last_seen_by: Working memory, int32 ``[num_items]``, -1 everywhere.
        is_seen: Output, bool ``[n, m]``.
    """
    cdef const int64_t* seen = int64s(seen_items)
    cdef const int64_t* begin = int64s(first)
    cdef const int64_t* rows = int64s(users)
    cdef const int64_t* asked = int64s(items)
    cdef int32_t* stamps = out_int32s(last_seen_by)
    cdef uint8_t* marks = out_bools(is_seen)
    cdef Py_ssize_t n = len(users), m = len(items), entry
    cdef int32_t number
    with nogil:
        for number in range(<int32_t> n):
            for entry in range(begin[rows[number]], begin[rows[number] + 1]):
                stamps[seen[entry]] = number
            for entry in range(m):
                marks[number * m + entry] = stamps[asked[entry]] == number


def pair_products(users, items, rows, products):
    """Multiply each user's vector with those of the user's items, without a copy of these.

    Args:
        users: float32 ``[n, d]``.
        items: float32 ``[num_items, d]``.
        rows: int64 ``[n, count]``, rows of ``items`` for each user.
        products: Output, float32 ``[n, count]``.
    """
    cdef const float* of_users = float32s(users)
    cdef const float* of_items = float32s(items)
    cdef const int64_t* wanted = int64s(rows)
    cdef float* found = out_float32s(products)
    cdef Py_ssize_t n = len(users), width = users.shape[1], count = rows.shape[1], number, entry
    with nogil:
        for number in range(n):
            for entry in range(number * count, (number + 1) * count):
                found[entry] = _product(of_users + number * width, of_items + wanted[entry] * width, width)


cdef inline float _product(const float* one, const float* other, Py_ssize_t width) noexcept nogil:
    cdef float[LANES] sums
    cdef float total = 0.0
    cdef Py_ssize_t start = 0, lane
    memset(sums, 0, sizeof(sums))
    while start + LANES <= width:
        for lane in range(LANES):
            sums[lane] += one[start + lane] * other[start + lane]
        start += LANES
    for lane in range(width - start):
        sums[lane] += one[start + lane] * other[start + lane]
    for lane in range(LANES):
        total += sums[lane]
    return total


def add_pair_gradients(users, items, rows, gradients, of_users, of_items):
    """Add the gradients of ``pair_products`` to those of the vectors.

    Args:
        users: float32 ``[n, d]``.
        items: float32 ``[num_items, d]``.
        rows: int64 ``[n, count]``, rows of ``items`` for each user.
        gradients: float32 ``[n, count]``, of the products.
        of_users: Output, float32 ``[n, d]``, added to.
        of_items: Output, float32 ``[num_items, d]``, added to.
    """
    cdef const float* user_vectors = float32s(users)
    cdef const float* item_vectors = float32s(items)
    cdef const int64_t* wanted = int64s(rows)
    cdef const float* given = float32s(gradients)
    cdef float* to_users = out_float32s(of_users)
    cdef float* to_items = out_float32s(of_items)
    cdef Py_ssize_t n = len(users), width = users.shape[1], count = rows.shape[1], number, entry, item
    with nogil:
        for number in range(n):
            for entry in range(number * count, (number + 1) * count):
                item = wanted[entry] * width
                _add(to_users + number * width, item_vectors + item, given[entry], width)
                _add(to_items + item, user_vectors + number * width, given[entry], width)


cdef inline void _add(float* total, const float* vector, float factor, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t entry
    for entry in range(width):
        total[entry] += factor * vector[entry]
