"""The compiled loop that counts the items above one item, without looking at those that cannot be above it."""

from libc.stdint cimport int32_t

from springtide.arrays cimport float32s, int32s
from springtide.ranking.dot_products cimport dot, prefetch, reach_of


cdef enum:
    BLOCK = 64  # Rows whose values are looked at together.


cdef struct Asked:
    float score
    const float* values
    const float* vectors  # NULL without a user.
    const float* user
    int width
    float factor
    float reach  # The most that a cosine adds to a value.
    const int32_t* skipped
    Py_ssize_t num_skipped
    int num_items


def count_above(double score, int num_items, user, double factor, vectors, double longest, values, skipped, int most):
    """Count the items with a score above a given one, and those with an equal score.

    An item's score is ``factor`` times its cosine with the user, plus its value: to the last bit as
    ``kernels.best_rows`` has it.

    Args:
        score: The given score, a float32.
        num_items: Rows from there on are left out.
        user: float32 ``[d]``; None for nothing but the values.
        factor: What cosines are multiplied by.
        vectors: float32 ``[n, d]``, at least ``num_items`` of them; None without a user.
        longest: Length of the longest of the vectors.
        values: float32 ``[n]``, at least ``num_items`` of them.
        skipped: int32 ``[m]``, ascending: rows to leave out.
        most: Where more items than so many are above, they are not counted to the end.

    Returns:
        The number of items above, at most about ``most``; the number of equal ones, complete unless there are more
        above than that; and how many vectors were looked at.
    """
    cdef Asked asked
    cdef int num_seen
    cdef int counts[2]
    asked.score, asked.factor, asked.num_items = score, factor, num_items
    asked.values, asked.skipped, asked.num_skipped = float32s(values), int32s(skipped), len(skipped)
    if num_items < 0 or len(values) < num_items:
        raise ValueError(f"wanted {num_items} values, got {len(values)}")
    asked.vectors, asked.user, asked.width, asked.reach = NULL, NULL, 0, 0.0
    if user is not None:
        asked.width = len(user)
        if vectors.shape[1] != asked.width or len(vectors) < num_items:
            raise ValueError(f"wanted {num_items} vectors of {asked.width} numbers, got {vectors.shape}")
        asked.user, asked.vectors = float32s(user), float32s(vectors)
        asked.reach = reach_of(asked.user, asked.width, factor, longest)
    with nogil:
        num_seen = _count_above(&asked, most, counts)
    return counts[0], counts[1], num_seen


cdef int _count_above(const Asked* asked, int most, int* counts) noexcept nogil:
    """Count the items above and the equal ones, and return how many were looked at."""
    cdef int start, stop = 0, row, each, num_close, num_above = 0, num_equal = 0, num_seen = 0
    cdef Py_ssize_t at = 0
    cdef int close[BLOCK]
    cdef float score
    while stop < asked.num_items and num_above <= most:
        start = stop
        stop = min(start + BLOCK, asked.num_items)
        num_close = 0
        for row in range(start, stop):
            num_close += asked.values[row] + asked.reach >= asked.score
        if num_close == 0:
            continue
        num_close = 0
        for row in range(start, stop):
            if asked.values[row] + asked.reach >= asked.score:
                while at < asked.num_skipped and asked.skipped[at] < row:
                    at += 1
                if at == asked.num_skipped or asked.skipped[at] != row:
                    close[num_close] = row
                    num_close += 1
        if asked.vectors != NULL:
            for each in range(num_close):
                prefetch(asked.vectors + <Py_ssize_t> close[each] * asked.width, asked.width)
        for each in range(num_close):
            row = close[each]
            score = asked.values[row]
            if asked.vectors != NULL:
                score = asked.factor * dot(asked.user, asked.vectors + <Py_ssize_t> row * asked.width, asked.width) + score
            num_above += score > asked.score
            num_equal += score == asked.score
        num_seen += num_close
    counts[0], counts[1] = num_above, num_equal
    return num_seen
