"""The ranking's compiled loops: the best items for a user, found without looking at those that cannot be among them.

The score of an item is ``cosine_factor · cosine + value``, where the value is that of the moment. Cosines are summed in
16 lanes, which are added up in a fixed order: an item's score is the same to the last bit whichever way it was reached,
on every machine. Ranges of rows are the caller's to check; those within the arrays that are passed are checked here.
"""

cimport numpy as cnp
from libc.math cimport INFINITY, fabs, isfinite, sqrt
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc, qsort, realloc

import numpy as np

from springtide.arrays cimport bools, float32s, int8s, int32s, out_float32s, out_int8s, out_int32s
from springtide.ranking.dot_products cimport dot, prefetch, reach_of

cnp.import_array()


cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
    #define SPRINGTIDE_CLONES __attribute__((target_clones("avx2", "default")))
    #else
    #define SPRINGTIDE_CLONES
    #endif

    /* Whole numbers: their sums are the same in any order. */
    SPRINGTIDE_CLONES
    static void springtide_coarse(
        const int8_t* rows, const int16_t* user, int width, int count, int32_t* sums
    ) {
        for (int row = 0; row < count; row++) {
            const int8_t* at = rows + (size_t)row * width;
            int32_t sum = 0;
            for (int each = 0; each < width; each++) sum += (int32_t)at[each] * (int32_t)user[each];
            sums[row] = sum;
        }
    }
    """
    void coarse_sums "springtide_coarse"(
        const int8_t* rows, const int16_t* user, int width, int count, int32_t* sums
    ) noexcept nogil


cdef enum:
    AHEAD = 6  # Items whose vectors are fetched before they are needed.
    BLOCK = 64  # Rows whose values are looked at together.
    COARSE_BLOCK = 256  # Rows whose coarse products are made together.


cdef struct Scored:
    float score
    int32_t row


cdef struct Best:
    # The best so far as a heap, the worst of them first; and all others whose scores equal the worst one's.
    Scored* heap
    int count
    int size
    int32_t* equal
    int num_equal
    int equal_room
    bint has_failed


cdef struct Asked:
    # What is looked for, and which rows are none of the answer; a null pointer for none.
    const float* vectors
    const float* user
    int width
    float factor
    const float* values
    int num_items
    const uint8_t* allowed
    const int32_t* skipped[4]
    int num_skipped[4]
    float reach  # The most that a cosine adds to a value.


cdef inline cnp.ndarray _empty(int num_axes, cnp.npy_intp length, cnp.npy_intp width, int type_number):
    """Return what ``np.empty`` does, without the way through Python."""
    cdef cnp.npy_intp[2] shape
    shape[0], shape[1] = length, width
    return cnp.PyArray_EMPTY(num_axes, shape, type_number, 0)


cdef int _descending(const void* left, const void* right) noexcept nogil:
    cdef const Scored* a = <const Scored*> left
    cdef const Scored* b = <const Scored*> right
    if a.score != b.score:
        return -1 if a.score > b.score else 1
    return (a.row > b.row) - (a.row < b.row)


cdef inline bint _is_among(const int32_t* ascending, int count, int32_t row) noexcept nogil:
    cdef int low = 0, high = count, middle
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low < count and ascending[low] == row


cdef inline float _least(const Best* best) noexcept nogil:
    """Return the score that an item must reach to matter."""
    return best.heap[0].score if best.size == best.count else -INFINITY


cdef inline void _keep_equal(Best* best, int32_t row) noexcept nogil:
    cdef int32_t* longer
    if best.num_equal == best.equal_room:
        longer = <int32_t*> realloc(best.equal, 2 * (best.equal_room + 32) * sizeof(int32_t))
        if longer == NULL:
            best.has_failed = True
            return
        best.equal, best.equal_room = longer, 2 * (best.equal_room + 32)
    best.equal[best.num_equal] = row
    best.num_equal += 1


cdef void _offer(Best* best, float score, int32_t row) noexcept nogil:
    """Keep an item whose score reaches ``_least``."""
    cdef Scored* heap = best.heap
    cdef int at, child, parent
    cdef Scored moved
    if best.size < best.count:
        at = best.size
        best.size += 1
        while at > 0:
            parent = (at - 1) >> 1
            if heap[parent].score <= score:
                break
            heap[at] = heap[parent]
            at = parent
        heap[at].score, heap[at].row = score, row
        return
    if score == heap[0].score:
        _keep_equal(best, row)
        return
    moved = heap[0]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= best.count:
            break
        if child + 1 < best.count and heap[child + 1].score < heap[child].score:
            child += 1
        if heap[child].score >= score:
            break
        heap[at] = heap[child]
        at = child
    heap[at].score, heap[at].row = score, row
    if heap[0].score == moved.score:
        _keep_equal(best, moved.row)
    else:
        best.num_equal = 0


cdef inline void _look_at(const Asked* asked, Best* best, int32_t row) noexcept nogil:
    """Score one row, and keep it if it is good enough and may be in the answer."""
    cdef float score = asked.values[row] if asked.values != NULL else 0.0
    cdef float least = _least(best)
    cdef int each
    if asked.vectors != NULL:
        score = asked.factor * dot(asked.user, asked.vectors + <Py_ssize_t> row * asked.width, asked.width) + score
    if not (score >= least and isfinite(score)):
        return
    for each in range(4):
        if asked.num_skipped[each] and _is_among(asked.skipped[each], asked.num_skipped[each], row):
            return
    _offer(best, score, row)


cdef int _scan_related(
    const Asked* asked, Best* best, const int32_t* rows, const float* totals, int num_rows, float* bounds
) noexcept nogil:
    """Look at rows of which a history says something, those that it lifts most first; return how many.

    What cannot be in the answer is left out by its bound: the value, what the history says, and the reach of a cosine.
    """
    cdef int each, turn, other, num_seen = 0
    cdef int32_t row
    cdef float bound, score, highest = -INFINITY, least
    for each in range(num_rows):
        row = rows[each]
        bounds[each] = -INFINITY
        if row >= asked.num_items or (asked.allowed != NULL and not asked.allowed[row]):
            continue
        bound = totals[each] + (asked.values[row] if asked.values != NULL else 0.0)
        # The sums of three numbers depend on their order, by some units of the last place.
        bounds[each] = bound + asked.reach + <float> 1e-6 * (fabs(bound) + asked.reach + fabs(totals[each]))
        highest = max(highest, bounds[each])
    highest -= <float> 0.5 * asked.reach
    for turn in range(2):  # The answer's last score is high early then, and rules out most of the others.
        for each in range(num_rows):
            least = _least(best)
            if not (bounds[each] > -INFINITY and bounds[each] >= least) or (bounds[each] >= highest) != (turn == 0):
                continue
            row = rows[each]
            num_seen += 1
            score = asked.values[row] if asked.values != NULL else 0.0
            if asked.vectors != NULL:
                score = asked.factor * dot(asked.user, asked.vectors + <Py_ssize_t> row * asked.width, asked.width) + score
            score += totals[each]
            if not (score >= least and isfinite(score)):
                continue
            for other in range(3):
                if asked.num_skipped[other] and _is_among(asked.skipped[other], asked.num_skipped[other], row):
                    break
            else:
                _offer(best, score, row)
    return num_seen


cdef int _scan_order(const Asked* asked, Best* best, const int32_t* order, int num_order, bint* is_done) noexcept nogil:
    """Look at rows in the order of their values, the highest first, until no later one can matter; return how many."""
    cdef int at, num_seen = 0
    cdef int32_t row
    is_done[0] = False
    for at in range(num_order):
        if asked.vectors != NULL and at + AHEAD < num_order:
            prefetch(asked.vectors + <Py_ssize_t> order[at + AHEAD] * asked.width, asked.width)
        row = order[at]
        if asked.values[row] + asked.reach < _least(best):
            is_done[0] = True
            break
        if row >= asked.num_items or (asked.allowed != NULL and not asked.allowed[row]):
            continue
        num_seen += 1
        _look_at(asked, best, row)
    return num_seen


cdef int _scan_rest(const Asked* asked, Best* best, float highest) noexcept nogil:
    """Look at all rows whose values are at most ``highest`` and may matter; return how many."""
    cdef int start, stop = 0, row, each, num_close, num_seen = 0
    cdef int close[BLOCK]
    cdef float value, least
    while stop < asked.num_items:
        start = stop
        stop = min(start + BLOCK, asked.num_items)
        least = _least(best)
        num_close = 0
        for row in range(start, stop):
            if asked.values != NULL:
                value = asked.values[row]
                if not (value <= highest and value + asked.reach >= least):
                    continue
            if asked.allowed != NULL and not asked.allowed[row]:
                continue
            close[num_close] = row
            num_close += 1
        if asked.vectors != NULL and num_close < BLOCK:  # All of them are fetched by the machine's own guess.
            for each in range(num_close):
                prefetch(asked.vectors + <Py_ssize_t> close[each] * asked.width, asked.width)
        for each in range(num_close):
            _look_at(asked, best, close[each])
        num_seen += num_close
    return num_seen


cdef struct Coarse:
    # Vectors in whole numbers: an item's cosine is ``scale · step · sum``, and at most ``doubt`` besides.
    const int8_t* rows
    const float* scales
    const float* doubts
    int16_t* user
    double step
    double user_doubt


cdef int _scan_coarse(
    const Asked* asked, Best* best, float highest, const Coarse* coarse, int32_t* sums, double length
) noexcept nogil:
    """Do as ``_scan_rest``, and look closely only at rows whose coarse cosines say that they may matter."""
    cdef int start, stop = 0, row, num_seen = 0
    cdef float value, most
    cdef double cosine, doubt, factor = asked.factor
    while stop < asked.num_items:
        start = stop
        stop = min(start + COARSE_BLOCK, asked.num_items)
        if asked.values != NULL:
            most = -INFINITY
            for row in range(start, stop):
                value = asked.values[row]
                if value <= highest and value > most:
                    most = value
            if not most + asked.reach >= _least(best):
                continue
        coarse_sums(coarse.rows + <Py_ssize_t> start * asked.width, coarse.user, asked.width, stop - start, sums)
        for row in range(start, stop):
            value = asked.values[row] if asked.values != NULL else 0.0
            cosine = coarse.step * coarse.scales[row] * sums[row - start]
            doubt = length * coarse.doubts[row] + coarse.user_doubt
            # Slightly more than any rounding of the exact score.
            if factor * cosine + fabs(factor) * doubt + value + 1e-6 * (1.0 + fabs(value)) < _least(best):
                continue
            if (asked.values != NULL and not value <= highest) or (asked.allowed != NULL and not asked.allowed[row]):
                continue
            num_seen += 1
            _look_at(asked, best, row)
    return num_seen


cdef double _quantised(const float* user, int width, double longest, Coarse* coarse) noexcept nogil:
    """Set the user's part of ``coarse``, and return the length of the user's vector."""
    cdef double greatest = 0.0, squares = 0.0, off = 0.0, step, each
    cdef int at, levels = min(32_767, 2_000_000_000 // (127 * width))
    for at in range(width):
        squares += <double> user[at] * user[at]
        greatest = max(greatest, fabs(user[at]))
    step = greatest / levels
    for at in range(width):
        each = user[at] / step if step > 0 else 0.0
        coarse.user[at] = <int16_t> (each + 0.5 if each >= 0 else each - 0.5)
        each = user[at] - step * coarse.user[at]
        off += each * each
    coarse.step = step
    coarse.user_doubt = sqrt(off) * longest * 1.02 + 1e-6 * sqrt(squares) * longest
    return sqrt(squares)


def best_rows(
    int count,
    int num_items,
    user,
    double factor,
    vectors,
    double longest,
    values,
    order,
    double highest,
    allowed,
    masked,
    excluded,
    apart_rows,
    apart_scores,
    coarse,
    related_rows=None,
    related_totals=None,
):
    """Return the items with the highest finite scores, the highest first, and all others that equal the last one.

    Items of equal scores are in the order of their rows.

    Args:
        count: How many are wanted, at least 1.
        num_items: Rows from there on are left out.
        user: float32 ``[d]``; None for nothing but the values.
        factor: What cosines are multiplied by.
        vectors: float32 ``[n, d]``, at least ``num_items`` of them; None without a user.
        longest: Length of the longest of the vectors.
        values: float32 ``[n]``, at least ``num_items`` of them; None for 0 each.
        order: int32 ``[m]``, rows of the highest finite values, descending; None for none, as without values.
        highest: The highest finite value of all other rows; ``-inf`` if no other row is to be looked at.
        allowed: bool ``[n]``, at least ``num_items`` of them; None if all are.
        masked: int32 ``[a]``, ascending: rows to leave out.
        excluded: int32 ``[b]``, ascending: others.
        apart_rows: int32 ``[c]``, ascending: rows that have scores of their own.
        apart_scores: float32 ``[c]``, these scores; rows that are masked, excluded or not allowed have none.
        coarse: The vectors as ``quantise`` returned them; None if it was not asked.
        related_rows: int32 ``[e]``, ascending, from 0: rows that have something added; None for none. Rows that are
            apart have not.
        related_totals: float32 ``[e]``, what is added to their scores.

    Returns:
        Rows, int32; scores and cosines, float32; whether scores among the first ``count`` are equal; and how many
        vectors were looked at.
    """
    cdef Asked asked
    cdef Best best
    cdef Coarse about
    cdef const int32_t* ordered = NULL
    cdef const int32_t* apart = int32s(apart_rows)
    cdef const float* scores_apart = float32s(apart_scores)
    cdef float* out_scores
    cdef float* out_cosines
    cdef int32_t* out_rows
    cdef int32_t* sums = NULL
    cdef float* bounds = NULL
    cdef const int32_t* related = NULL
    cdef const float* of_related = NULL
    cdef int num_related = 0
    cdef int num_order = 0, num_seen = 0, each, num_apart = len(apart_rows), total
    cdef int32_t row
    cdef bint is_done = False, has_equal = False
    cdef double length = 0.0
    cdef float top = highest
    if count < 1 or num_items < 0 or len(apart_scores) != num_apart:
        raise ValueError(f"wanted a count, items and their scores, got {count}, {num_items}, {num_apart}")
    asked.vectors, asked.user, asked.width, asked.factor, asked.reach = NULL, NULL, 0, factor, 0.0
    if user is not None:
        asked.width = len(user)
        if vectors.shape[1] != asked.width or len(vectors) < num_items:
            raise ValueError(f"wanted {num_items} vectors of {asked.width} numbers, got {vectors.shape}")
        asked.user, asked.vectors = float32s(user), float32s(vectors)
        asked.reach = reach_of(asked.user, asked.width, factor, longest)
    asked.values = NULL
    if values is not None:
        asked.values = float32s(values)
        if len(values) < num_items:
            raise ValueError(f"wanted {num_items} values, got {len(values)}")
    if order is not None:
        ordered, num_order = int32s(order), len(order)
    asked.allowed = NULL
    if allowed is not None:
        asked.allowed = bools(allowed)
        if len(allowed) < num_items:
            raise ValueError(f"wanted to know of {num_items} items, got {len(allowed)}")
    if related_rows is not None:
        related, of_related, num_related = int32s(related_rows), float32s(related_totals), len(related_rows)
        if len(related_totals) != num_related or (num_related and related[0] < 0):
            raise ValueError(f"wanted {num_related} totals of rows from 0, got {len(related_totals)}")
    asked.num_items = num_items
    asked.skipped[3], asked.num_skipped[3] = NULL, 0
    asked.skipped[0], asked.num_skipped[0] = apart, num_apart
    asked.skipped[1], asked.num_skipped[1] = int32s(excluded), len(excluded)
    asked.skipped[2], asked.num_skipped[2] = int32s(masked), len(masked)
    count = min(count, max(num_items, 1))
    best.count, best.size, best.num_equal, best.equal_room, best.equal, best.has_failed = count, 0, 0, 0, NULL, False
    best.heap = <Scored*> malloc(count * sizeof(Scored))
    about.user = NULL
    try:
        if best.heap == NULL:
            raise MemoryError
        for each in range(num_apart):
            row = apart[each]
            if row < 0 or row >= num_items or not isfinite(scores_apart[each]) or not scores_apart[each] >= _least(&best):
                continue
            if asked.allowed != NULL and not asked.allowed[row]:
                continue
            if _is_among(asked.skipped[1], asked.num_skipped[1], row):
                continue
            if _is_among(asked.skipped[2], asked.num_skipped[2], row):
                continue
            _offer(&best, scores_apart[each], row)
        if num_related:
            bounds = <float*> malloc(num_related * sizeof(float))
            if bounds == NULL:
                raise MemoryError
            num_seen = _scan_related(&asked, &best, related, of_related, num_related, bounds)
            asked.skipped[3], asked.num_skipped[3] = related, num_related
        num_seen += _scan_order(&asked, &best, ordered, num_order, &is_done)
        if not is_done and top > -INFINITY:
            if coarse is None or asked.vectors == NULL:
                with nogil:
                    num_seen += _scan_rest(&asked, &best, top)
            else:
                about.rows, about.scales, about.doubts = int8s(coarse[0]), float32s(coarse[1]), float32s(coarse[2])
                if min(len(coarse[0]), len(coarse[1]), len(coarse[2])) < num_items:
                    raise ValueError(f"wanted {num_items} coarse vectors, got {len(coarse[0])}")
                about.user = <int16_t*> malloc(asked.width * sizeof(int16_t))
                sums = <int32_t*> malloc(COARSE_BLOCK * sizeof(int32_t))
                if about.user == NULL or sums == NULL:
                    raise MemoryError
                with nogil:
                    length = _quantised(asked.user, asked.width, longest, &about)
                    num_seen += _scan_coarse(&asked, &best, top, &about, sums, length)
        if best.has_failed:
            raise MemoryError
        qsort(best.heap, best.size, sizeof(Scored), &_descending)
        total = best.size + best.num_equal
        rows, scores = _empty(1, total, 0, cnp.NPY_INT32), _empty(1, total, 0, cnp.NPY_FLOAT32)
        cosines = _empty(1, total, 0, cnp.NPY_FLOAT32)
        out_rows, out_scores, out_cosines = out_int32s(rows), out_float32s(scores), out_float32s(cosines)
        for each in range(total):
            if each < best.size:
                out_rows[each], out_scores[each] = best.heap[each].row, best.heap[each].score
                has_equal |= each > 0 and best.heap[each].score == best.heap[each - 1].score
            else:
                out_rows[each], out_scores[each] = best.equal[each - best.size], best.heap[best.size - 1].score
            out_cosines[each] = 0.0
            if asked.vectors != NULL:
                row = out_rows[each]
                out_cosines[each] = dot(asked.user, asked.vectors + <Py_ssize_t> row * asked.width, asked.width)
        return rows, scores, cosines, has_equal or best.num_equal > 0, num_seen
    finally:
        free(best.heap)
        free(best.equal)
        free(about.user)
        free(sums)
        free(bounds)


def logs_of(cnp.ndarray of_weights, rows, int num_logs):
    """Return the logs of some items, float32 ``[n, num_logs]``; 0 where there are fewer weights than that.

    Args:
        of_weights: float32 ``[num_weights, num_items]``, each weight's items one after another; at most ``num_logs``
            weights.
        rows: int32 ``[n]``, each below ``num_items``.
        num_logs: How many logs each item has.
    """
    cdef const int32_t* chosen = int32s(rows)
    cdef Py_ssize_t num = len(rows), each, num_weights, num_items, stride
    cdef int weight
    cdef const char* at = cnp.PyArray_BYTES(of_weights)
    if (
        cnp.PyArray_NDIM(of_weights) != 2
        or cnp.PyArray_TYPE(of_weights) != cnp.NPY_FLOAT32
        or not cnp.PyArray_ISBEHAVED_RO(of_weights)
    ):
        given = <object> of_weights
        raise TypeError(f"wanted float32 [num_weights, num_items], got {given.dtype} {given.shape}")
    num_weights, num_items = cnp.PyArray_DIM(of_weights, 0), cnp.PyArray_DIM(of_weights, 1)
    stride = cnp.PyArray_STRIDE(of_weights, 0)
    if num_weights > num_logs or (
        num_weights > 0 and num_items > 1 and cnp.PyArray_STRIDE(of_weights, 1) != sizeof(float)
    ):
        raise ValueError(f"wanted at most {num_logs} weights, their items in a row, got {num_weights}")
    for each in range(num):
        if chosen[each] < 0 or chosen[each] >= num_items:
            raise ValueError(f"wanted rows from 0 to {num_items - 1}, got {chosen[each]}")
    logs = _empty(2, num, num_logs, cnp.NPY_FLOAT32)
    cdef float* out = out_float32s(logs)
    for weight in range(num_logs):
        for each in range(num):
            out[each * num_logs + weight] = (
                (<const float*> (at + weight * stride))[chosen[each]] if weight < num_weights else 0.0
            )
    return logs


def cosines_of(user, vectors, rows):
    """Return the cosines of a user with some items, to the last bit as ``best_rows`` has them, float32 ``[m]``.

    Args:
        user: float32 ``[d]``.
        vectors: float32 ``[n, d]``.
        rows: int32 ``[m]``, each below ``n``.
    """
    cdef int width = len(user), each, count = len(rows)
    cdef int64_t limit = len(vectors)
    cdef const float* of_user = float32s(user)
    cdef const float* of_items = float32s(vectors)
    cdef const int32_t* chosen = int32s(rows)
    cosines = np.empty(count, np.float32)
    cdef float* out = out_float32s(cosines)
    if vectors.shape[1] != width:
        raise ValueError(f"wanted vectors of {width} numbers, got {vectors.shape}")
    for each in range(count):
        if chosen[each] < 0 or chosen[each] >= limit:
            raise ValueError(f"wanted rows from 0 to {limit - 1}, got {chosen[each]}")
    for each in range(count):
        if each + AHEAD < count:
            prefetch(of_items + <Py_ssize_t> chosen[each + AHEAD] * width, width)
        out[each] = dot(of_user, of_items + <Py_ssize_t> chosen[each] * width, width)
    return cosines


def scored_rows(
    rows, int num_items, user, double factor, vectors, values, allowed, masked, excluded, apart_rows, apart_scores
):
    """Return those of some rows that may be in an answer, in their order, as ``best_rows`` would score them.

    Args:
        rows: int32 ``[m]``; those below 0, and from ``num_items`` on, are left out.
        num_items: As ``best_rows`` takes it, and likewise the others.

    Returns:
        Rows int32 ``[k]``, scores float32 ``[k]``, not all finite maybe, and cosines float32 ``[k]``.
    """
    cdef const int32_t* given = int32s(rows)
    cdef const int32_t* of_masked = int32s(masked)
    cdef const int32_t* of_excluded = int32s(excluded)
    cdef const int32_t* apart = int32s(apart_rows)
    cdef const float* scores_apart = float32s(apart_scores)
    cdef const float* of_user = NULL
    cdef const float* of_items = NULL
    cdef const float* of_values = float32s(values)
    cdef const uint8_t* is_allowed = NULL
    cdef int num = len(rows), num_masked = len(masked), num_excluded = len(excluded), num_apart = len(apart_rows)
    cdef int each, found = 0, width = 0, low, high, middle
    cdef int32_t row
    cdef float own = factor
    if len(values) < num_items or len(apart_scores) != num_apart:
        raise ValueError(f"wanted {num_items} values and {num_apart} scores, got {len(values)}, {len(apart_scores)}")
    if user is not None:
        width = len(user)
        if vectors.shape[1] != width or len(vectors) < num_items:
            raise ValueError(f"wanted {num_items} vectors of {width} numbers, got {vectors.shape}")
        of_user, of_items = float32s(user), float32s(vectors)
    if allowed is not None:
        is_allowed = bools(allowed)
        if len(allowed) < num_items:
            raise ValueError(f"wanted to know of {num_items} items, got {len(allowed)}")
    passing, scores = _empty(1, num, 0, cnp.NPY_INT32), _empty(1, num, 0, cnp.NPY_FLOAT32)
    cosines = _empty(1, num, 0, cnp.NPY_FLOAT32)
    cdef int32_t* out_rows = out_int32s(passing)
    cdef float* out_scores = out_float32s(scores)
    cdef float* out_cosines = out_float32s(cosines)
    for each in range(num):
        row = given[each]
        if row < 0 or row >= num_items or (is_allowed != NULL and not is_allowed[row]):
            continue
        if _is_among(of_excluded, num_excluded, row) or _is_among(of_masked, num_masked, row):
            continue
        out_rows[found] = row
        out_cosines[found] = 0.0
        if of_user != NULL:
            out_cosines[found] = dot(of_user, of_items + <Py_ssize_t> row * width, width)
        out_scores[found] = own * out_cosines[found] + of_values[row]
        low, high = 0, num_apart
        while low < high:
            middle = (low + high) >> 1
            if apart[middle] < row:
                low = middle + 1
            else:
                high = middle
        if low < num_apart and apart[low] == row:
            out_scores[found] = scores_apart[low]
        found += 1
    return passing[:found], scores[:found], cosines[:found]


def quantise(vectors):
    """Return vectors in whole numbers, for a first look: int8 ``[n, d]``, and the scale and the doubt of each.

    A vector times its scale, float32 ``[n]``, is off by at most its doubt, float32 ``[n]``, as a length.

    Args:
        vectors: float32 ``[n, d]``, finite.
    """
    cdef Py_ssize_t num = len(vectors), row
    cdef int width = vectors.shape[1], at
    cdef const float* of_items = float32s(vectors)
    coarse, scales, doubts = np.empty((num, width), np.int8), np.empty(num, np.float32), np.empty(num, np.float32)
    cdef int8_t* out = out_int8s(coarse)
    cdef float* out_scales = out_float32s(scales)
    cdef float* out_doubts = out_float32s(doubts)
    cdef double greatest, off, each
    with nogil:
        for row in range(num):
            greatest = off = 0.0
            for at in range(width):
                greatest = max(greatest, fabs(of_items[row * width + at]))
            out_scales[row] = greatest / 127.0
            for at in range(width):
                each = of_items[row * width + at] / out_scales[row] if out_scales[row] > 0 else 0.0
                each = each + 0.5 if each >= 0 else each - 0.5
                out[row * width + at] = <int8_t> max(-127.0, min(127.0, each))
                each = of_items[row * width + at] - <double> out_scales[row] * out[row * width + at]
                off += each * each
            out_doubts[row] = sqrt(off) * 1.00001 + 1e-12
    return coarse, scales, doubts
