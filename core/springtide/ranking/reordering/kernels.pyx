"""The compiled loop that fills the slots of an answer: what is fixed, no value too often, unlike each other."""

cimport numpy as cnp
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free

import numpy as np

from springtide.arrays cimport float32s, int32s, out_int32s
from springtide.ranking.dot_products cimport dot

cnp.import_array()


cdef struct Values:
    # The values of each position of the pool, as codes; those of position p lie from starts[p] to starts[p + 1].
    int32_t* starts
    int32_t* codes
    int32_t* limits  # How many items of a value there may be; a null pointer for any number.
    int32_t* num_chosen  # By code.


cdef int _fill(Values* values, int num, positions, codes, limits, int num_codes) except -1:
    """Sort pairs of position and code by position. ``_drop`` frees what is kept, whether this fails or not."""
    cdef int num_pairs = len(positions), at, place
    cdef const int32_t* of_pairs = int32s(positions)
    cdef const int32_t* given = int32s(codes)
    cdef const int32_t* most = NULL if limits is None else int32s(limits)
    if len(codes) != num_pairs or (limits is not None and len(limits) != num_pairs):
        raise ValueError(f"wanted {num_pairs} codes, got {len(codes)}")
    values.starts = <int32_t*> calloc(num + 2, sizeof(int32_t))
    values.codes = <int32_t*> calloc(num_pairs + 1, sizeof(int32_t))
    values.num_chosen = <int32_t*> calloc(num_codes + 1, sizeof(int32_t))
    if most != NULL:
        values.limits = <int32_t*> calloc(num_pairs + 1, sizeof(int32_t))
    if not values.starts or not values.codes or not values.num_chosen or (most != NULL and not values.limits):
        raise MemoryError
    for at in range(num_pairs):
        if not (0 <= of_pairs[at] < num and 0 <= given[at] < num_codes):
            raise ValueError(f"wanted positions below {num} and codes below {num_codes}")
        values.starts[of_pairs[at] + 2] += 1
    for at in range(num):
        values.starts[at + 2] += values.starts[at + 1]
    for at in range(num_pairs):
        place = values.starts[of_pairs[at] + 1]
        values.codes[place] = given[at]
        if most != NULL:
            values.limits[place] = most[at]
        values.starts[of_pairs[at] + 1] += 1
    return 0


cdef void _drop(Values* values) noexcept:
    free(values.starts)
    free(values.codes)
    free(values.limits)
    free(values.num_chosen)


cdef inline void _count(Values* values, int position) noexcept nogil:
    cdef int at
    if values.starts != NULL:
        for at in range(values.starts[position], values.starts[position + 1]):
            values.num_chosen[values.codes[at]] += 1


cdef inline bint _may_be_chosen(Values* caps, int position) noexcept nogil:
    cdef int at
    if caps.starts != NULL:
        for at in range(caps.starts[position], caps.starts[position + 1]):
            if caps.num_chosen[caps.codes[at]] >= caps.limits[at]:
                return False
    return True


cdef inline float _likeness(Values* values, int position) noexcept nogil:
    """Return how often what an item has was chosen: the mean of ``1 - 2^-n`` over its values; 0 without values."""
    cdef int at, start = values.starts[position], stop = values.starts[position + 1], times
    cdef float total = 0.0, left
    if start == stop:
        return 0.0
    for at in range(start, stop):
        left = 1.0
        for times in range(min(values.num_chosen[values.codes[at]], 30)):
            left *= 0.5
        total += 1.0 - left
    return total / (stop - start)


def greedy(int count, order, scores, double diversity, vectors, rows, values, caps, fixed):
    """Return the positions that fill the slots, int32 ``[k]``, ``k`` at most ``count``: fewer if nothing more may stand.

    Slot after slot gets the fixed position, or the one whose ``(1 - diversity) · relevance - diversity · likeness`` is
    greatest, where the relevance is the score, scaled to 0 to 1 over ``order``, and the likeness is the greatest cosine
    to what was chosen, at least 0, or how often its values were chosen. What is fixed counts from the beginning. Of
    equal ones the first in ``order`` is taken: a diversity of 0 gives the order.

    Args:
        count: Number of slots.
        order: int32 ``[m]``, distinct positions below ``n`` that may be chosen, highest scores first.
        scores: float32 ``[n]``, finite.
        diversity: 0 to 1.
        vectors: float32 ``[num_items, d]``; None for none.
        rows: int32 ``[n]``, the row of each position in ``vectors``; those beyond it are like nothing.
        values: (positions int32 ``[p]``, codes int32 ``[p]``, number of codes): what each has of the attribute in which
            they shall differ; None to go by the vectors.
        caps: (positions int32 ``[q]``, codes int32 ``[q]``, most items of each int32 ``[q]``, number of codes); None for
            no bound.
        fixed: int32 ``[count]``, the position that a slot has; -1 for none.

    Raises:
        ValueError: If positions or codes lie beyond their arrays.
        MemoryError: If there is no memory.
    """
    cdef int num = len(scores), num_order = len(order), width = 0, num_vectors = 0, slot, at, other, num_chosen = 0
    cdef int best, position, num_found = 0
    cdef const int32_t* of_order = int32s(order)
    cdef const float* of_scores = float32s(scores)
    cdef const int32_t* of_rows = int32s(rows)
    cdef const int32_t* given = int32s(fixed)
    cdef const float* of_items = NULL
    cdef float low, span, value, best_value, likeness, by = diversity, keep = 1.0 - diversity
    cdef Values likes
    cdef Values bounds
    cdef uint8_t* is_taken = NULL
    cdef float* nearest = NULL  # The greatest cosine to those chosen that were looked at,
    cdef int32_t* num_looked = NULL  # which are so many.
    cdef int32_t* chosen = NULL
    likes.starts = likes.codes = likes.limits = likes.num_chosen = NULL
    bounds.starts = bounds.codes = bounds.limits = bounds.num_chosen = NULL
    if len(fixed) != count or len(rows) != num:
        raise ValueError(f"wanted {count} fixed and {num} rows, got {len(fixed)} and {len(rows)}")
    for at in range(num_order):
        if not 0 <= of_order[at] < num:
            raise ValueError(f"wanted an order of positions below {num}, got {of_order[at]}")
    for slot in range(count):
        if not -1 <= given[slot] < num:
            raise ValueError(f"wanted fixed positions below {num}, got {given[slot]}")
    for at in range(num):
        if of_rows[at] < 0:
            raise ValueError(f"wanted rows of 0 or more, got {of_rows[at]}")
    if vectors is not None:
        of_items = float32s(vectors)
        num_vectors, width = vectors.shape
    found = np.empty(count, np.int32)
    cdef int32_t* out = out_int32s(found)
    try:
        if values is not None:
            _fill(&likes, num, values[0], values[1], None, values[2])
        if caps is not None:
            _fill(&bounds, num, caps[0], caps[1], caps[2], caps[3])
        is_taken = <uint8_t*> calloc(num + 1, sizeof(uint8_t))
        nearest = <float*> calloc(num + 1, sizeof(float))
        num_looked = <int32_t*> calloc(num + 1, sizeof(int32_t))
        chosen = <int32_t*> calloc(count + 1, sizeof(int32_t))
        if not is_taken or not nearest or not num_looked or not chosen:
            raise MemoryError
        with nogil:
            low, span = 0.0, 0.0
            if num_order:
                low = of_scores[of_order[num_order - 1]]
                span = of_scores[of_order[0]] - low
            span = 1.0 / span if span > 0 else 0.0
            for slot in range(count):
                if given[slot] >= 0 and not is_taken[given[slot]]:
                    is_taken[given[slot]] = True
                    _count(&likes, given[slot])
                    _count(&bounds, given[slot])
                    chosen[num_chosen] = given[slot]
                    num_chosen += 1
            for slot in range(count):
                if given[slot] >= 0:
                    out[num_found] = given[slot]
                    num_found += 1
                    continue
                best, best_value = -1, 0.0
                for at in range(num_order):
                    position = of_order[at]
                    if is_taken[position]:
                        continue
                    value = keep * (of_scores[position] - low) * span
                    if best >= 0 and value <= best_value:
                        break  # The scores fall from here on, and likeness only takes away.
                    if by > 0:
                        if likes.starts != NULL:
                            likeness = _likeness(&likes, position)
                        elif of_items != NULL and of_rows[position] < num_vectors:
                            likeness = nearest[position]
                            if best >= 0 and value - by * likeness <= best_value:
                                continue  # It will not be less alike.
                            for other in range(num_looked[position], num_chosen):
                                if of_rows[chosen[other]] < num_vectors:
                                    likeness = max(
                                        likeness,
                                        dot(
                                            of_items + <Py_ssize_t> of_rows[position] * width,
                                            of_items + <Py_ssize_t> of_rows[chosen[other]] * width,
                                            width,
                                        ),
                                    )
                            nearest[position], num_looked[position] = likeness, num_chosen
                        else:
                            likeness = 0.0
                        value -= by * likeness
                    if (best < 0 or value > best_value) and _may_be_chosen(&bounds, position):
                        best, best_value = position, value
                if best < 0:
                    continue
                is_taken[best] = True
                _count(&likes, best)
                _count(&bounds, best)
                chosen[num_chosen] = best
                num_chosen += 1
                out[num_found] = best
                num_found += 1
    finally:
        _drop(&likes)
        _drop(&bounds)
        free(is_taken)
        free(nearest)
        free(num_looked)
        free(chosen)
    return found[:num_found]
