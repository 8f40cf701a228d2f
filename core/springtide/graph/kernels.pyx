"""The graph's compiled loops: chains that link each node's edges from the newest to the oldest, and newest times.

A chain is ``head[row]``, the node's newest edge, and ``prev[edge]``, the next older one, -1 at the end. Newer means a
later event time, and at equal times a later arrival, which is a greater edge index. One thread links while others
walk the chains. An edge is complete before anything points at it, so a reader sees it whole or not at all. Readers skip
edges that arrived after their view (``edge >= length``).

A deleted edge stays in its chains until it is swept. It is marked with the generation of its death: a view of that
generation or a later one skips it, an older view does not (``dead_since`` is 0 for a live edge, and ``[0]`` long while
there are no dead ones).
"""

cimport numpy as cnp
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t

from springtide.arrays cimport float32s, int32s, int64s, out_bools, out_float32s, out_int32s, out_int64s


cdef extern from *:
    """
    #define PREFETCH(address) __builtin_prefetch(address)
    /* Writes what is there: another thread may be writing to it. */
    #define TOUCH(address) __atomic_fetch_or(address, 0, __ATOMIC_RELAXED)
    """
    void PREFETCH(const void* address) noexcept nogil
    void TOUCH(uint8_t* address) noexcept nogil


cdef enum:
    AHEAD = 16  # Events whose nodes are fetched from memory before they are needed.
    PAGE = 4_096  # Bytes that the system gives at once, at least.


def relink(rows, head, prev, moved, new_head, new_prev, new_degree):
    """Copy the chains without the removed edges, in edge order: three times faster than along the chains.

    Args:
        rows: int32 ``[length]``, each edge's node on this side.
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
        moved: int32 ``[length]``, each edge's new index, -1 if it is removed.
        new_head: int32 ``[num_rows]``, filled with -1.
        new_prev: int32 ``[new_capacity]``, filled with -1.
        new_degree: int32 ``[num_rows]``, filled with 0.
    """
    _relink(
        len(head), len(moved), int32s(rows), int32s(head), int32s(prev), int32s(moved),
        out_int32s(new_head), out_int32s(new_prev), out_int32s(new_degree),
    )


cdef void _relink(
    int num_rows, int length, const int32_t* rows, const int32_t* head, const int32_t* prev, const int32_t* moved,
    int32_t* new_head, int32_t* new_prev, int32_t* new_degree,
) noexcept:
    cdef int32_t row, edge, index, older
    with nogil:
        for row in range(num_rows):
            edge = head[row]
            while edge >= 0 and moved[edge] < 0:
                edge = prev[edge]
            if edge >= 0:
                new_head[row] = moved[edge]
        for edge in range(length):
            index = moved[edge]
            if index < 0:
                continue
            new_degree[rows[edge]] += 1
            older = prev[edge]
            while older >= 0 and moved[older] < 0:  # Only the next newer edge that stays passes a removed one.
                older = prev[older]
            if older >= 0:
                new_prev[index] = moved[older]


cdef inline bint _is_dead(int32_t edge, const int32_t* dead_since, int generation) noexcept nogil:
    """Return whether an edge was dead when the view was taken."""
    return generation > 0 and 0 < dead_since[edge] <= generation


def collect_recent(
    rows, before, int length, head, prev, neighbours, times, weights, dead_since, int generation,
    out_rows, out_times, out_weights,
):
    """Collect each row's latest neighbours before a time.

    Args:
        rows: int32 ``[n]``; unknown rows have no neighbours.
        before: int64 ``[n]`` or ``[1]``, exclusive.
        length: Edges from this index on arrived after the view.
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
        neighbours: int32 ``[capacity]``, each edge's node on the other side.
        times: int64 ``[capacity]``.
        weights: float32 ``[capacity]``, or one for all, ``[1]``.
        dead_since: int32 ``[capacity]``; not read if ``generation`` is 0.
        generation: The view's generation; 0 if none of its edges is dead.
        out_rows: Output, int32 ``[n, count]``, filled with -1 before.
        out_times: Output, int64 ``[n, count]``.
        out_weights: Output, float32 ``[n, count]``.
    """
    _collect_recent(
        len(rows), int32s(rows), int64s(before), len(before) > 1, length, len(head), int32s(head), int32s(prev),
        int32s(neighbours), int64s(times), float32s(weights), len(weights) > 1, int32s(dead_since), generation,
        out_rows.shape[1], out_int32s(out_rows), out_int64s(out_times), out_float32s(out_weights),
    )


cdef void _collect_recent(
    Py_ssize_t n, const int32_t* rows, const int64_t* before, bint has_many_times, int length, int num_rows,
    const int32_t* head, const int32_t* prev, const int32_t* neighbours, const int64_t* times, const float* weights,
    bint has_many_weights, const int32_t* dead_since, int generation, Py_ssize_t count,
    int32_t* out_rows, int64_t* out_times, float* out_weights,
) noexcept:
    cdef Py_ssize_t position, out, stop
    cdef int32_t row, edge
    cdef int64_t limit
    with nogil:
        for position in range(n):
            row = rows[position]
            if row < 0 or row >= num_rows:
                continue
            limit = before[position if has_many_times else 0]
            out = position * count
            stop = out + count
            edge = head[row]
            while edge >= 0 and out < stop:
                if edge < length and times[edge] < limit and not _is_dead(edge, dead_since, generation):
                    out_rows[out] = neighbours[edge]
                    out_times[out] = times[edge]
                    out_weights[out] = weights[edge if has_many_weights else 0]
                    out += 1
                edge = prev[edge]


def count_linked(int row, int length, head, prev):
    """Return the number of one row's edges that had arrived when the view was taken, dead ones included."""
    return _count_linked(row, length, int32s(head), int32s(prev))


cdef int _count_linked(int row, int length, const int32_t* head, const int32_t* prev) noexcept:
    cdef int count = 0
    cdef int32_t edge
    with nogil:
        edge = head[row]
        while edge >= 0:
            if edge < length:
                count += 1
            edge = prev[edge]
    return count


def collect_edges(int row, int length, head, prev, dead_since, int generation, out_edges):
    """Collect the places of one row's latest edges, the newest first, and return how many they are.

    Args:
        row: A row of ``head``.
        length: Edges from this index on arrived after the view.
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
        dead_since: int32 ``[capacity]``; not read if ``generation`` is 0.
        generation: The view's generation; 0 if none of its edges is dead.
        out_edges: Output, int32 ``[count]``: no more than so many.
    """
    return _collect_edges(
        row, length, int32s(head), int32s(prev), int32s(dead_since), generation, len(out_edges), out_int32s(out_edges)
    )


cdef Py_ssize_t _collect_edges(
    int row, int length, const int32_t* head, const int32_t* prev, const int32_t* dead_since, int generation,
    Py_ssize_t count, int32_t* out_edges,
) noexcept:
    cdef Py_ssize_t found = 0
    cdef int32_t edge
    with nogil:
        edge = head[row]
        while edge >= 0 and found < count:
            if edge < length and not _is_dead(edge, dead_since, generation):
                out_edges[found] = edge
                found += 1
            edge = prev[edge]
    return found


def mark_dead(
    deleted_rows, until_ms, head, prev, times, sources, targets, int generation, dead_since, source_last_death,
    target_last_death, out,
):
    """Mark the live edges of some rows until a time each, by walking the rows' chains.

    Args:
        deleted_rows: int32 ``[n]``, each below ``len(head)``.
        until_ms: int64 ``[n]``, inclusive.
        head: int32 ``[num_rows]``, of the side that the rows are on.
        prev: int32 ``[capacity]``.
        times: int64 ``[capacity]``.
        sources: int32 ``[capacity]``.
        targets: int32 ``[capacity]``.
        generation: Generation of the deaths, above 0.
        dead_since: int32 ``[capacity]``.
        source_last_death: int32 ``[num_source_rows]``, generation of the last death among each source's edges.
        target_last_death: int32 ``[num_target_rows]``.
        out: Output, int32, at least as long as the rows have edges: the edges that were marked.

    Returns:
        Number of edges in ``out``.
    """
    return _mark_dead(
        len(deleted_rows), int32s(deleted_rows), int64s(until_ms), int32s(head), int32s(prev), int64s(times),
        int32s(sources), int32s(targets), generation, out_int32s(dead_since), out_int32s(source_last_death),
        out_int32s(target_last_death), out_int32s(out),
    )


cdef int _mark_dead(
    Py_ssize_t n, const int32_t* deleted_rows, const int64_t* until_ms, const int32_t* head, const int32_t* prev,
    const int64_t* times, const int32_t* sources, const int32_t* targets, int generation, int32_t* dead_since,
    int32_t* source_last_death, int32_t* target_last_death, int32_t* out,
) noexcept:
    cdef Py_ssize_t position
    cdef int32_t edge
    cdef int count = 0
    with nogil:
        for position in range(n):
            edge = head[deleted_rows[position]]
            while edge >= 0:
                if times[edge] <= until_ms[position] and dead_since[edge] == 0:
                    dead_since[edge] = generation
                    source_last_death[sources[edge]] = generation
                    target_last_death[targets[edge]] = generation
                    out[count] = edge
                    count += 1
                edge = prev[edge]
    return count


def contains(
    source_rows, target_rows, int length, sources, source_head, source_prev, source_degree,
    targets, target_head, target_prev, target_degree, dead_since, int generation, out,
):
    """Find for each pair whether an edge joins it, by walking the shorter of its two chains.

    Args:
        source_rows: int32 ``[n]``.
        target_rows: int32 ``[n]``.
        length: Edges from this index on arrived after the view.
        sources: int32 ``[capacity]``, each edge's source.
        source_head: int32 ``[num_source_rows]``.
        source_prev: int32 ``[capacity]``.
        source_degree: int32 ``[num_source_rows]``.
        targets: int32 ``[capacity]``, each edge's target.
        target_head: int32 ``[num_target_rows]``.
        target_prev: int32 ``[capacity]``.
        target_degree: int32 ``[num_target_rows]``.
        dead_since: int32 ``[capacity]``; not read if ``generation`` is 0.
        generation: The view's generation; 0 if none of its edges is dead.
        out: Output, bool ``[n]``, filled with false before.
    """
    _contains(
        len(source_rows), int32s(source_rows), int32s(target_rows), length,
        len(source_head), int32s(sources), int32s(source_head), int32s(source_prev), int32s(source_degree),
        len(target_head), int32s(targets), int32s(target_head), int32s(target_prev), int32s(target_degree),
        int32s(dead_since), generation, out_bools(out),
    )


cdef void _contains(
    Py_ssize_t n, const int32_t* source_rows, const int32_t* target_rows, int length,
    int num_sources, const int32_t* sources, const int32_t* source_head, const int32_t* source_prev,
    const int32_t* source_degree,
    int num_targets, const int32_t* targets, const int32_t* target_head, const int32_t* target_prev,
    const int32_t* target_degree,
    const int32_t* dead_since, int generation, uint8_t* out,
) noexcept:
    cdef Py_ssize_t position
    cdef int32_t source, target, edge
    with nogil:
        for position in range(n):
            source = source_rows[position]
            target = target_rows[position]
            if source < 0 or source >= num_sources or target < 0 or target >= num_targets:
                continue
            if source_degree[source] <= target_degree[target]:
                edge = source_head[source]
                while edge >= 0 and not (
                    edge < length and targets[edge] == target and not _is_dead(edge, dead_since, generation)
                ):
                    edge = source_prev[edge]
            else:
                edge = target_head[target]
                while edge >= 0 and not (
                    edge < length and sources[edge] == source and not _is_dead(edge, dead_since, generation)
                ):
                    edge = target_prev[edge]
            out[position] = edge >= 0


def least_and_greatest(cnp.ndarray column):
    """Return the least and the greatest of int32 or int64 numbers ``[n]``, with n at least 1; None for other arrays."""
    cdef Py_ssize_t at, n = len(column)
    cdef const int32_t* narrow
    cdef const int64_t* wide
    cdef int32_t least, greatest
    cdef int64_t least_wide, greatest_wide
    if n < 1 or not cnp.PyArray_ISCARRAY_RO(column):
        return None
    if cnp.PyArray_TYPE(column) == cnp.NPY_INT32:
        narrow = int32s(column)
        least = greatest = narrow[0]
        with nogil:
            for at in range(n):
                least = narrow[at] if narrow[at] < least else least
                greatest = narrow[at] if narrow[at] > greatest else greatest
        return least, greatest
    if cnp.PyArray_TYPE(column) == cnp.NPY_INT64:
        wide = int64s(column)
        least_wide = greatest_wide = wide[0]
        with nogil:
            for at in range(n):
                least_wide = wide[at] if wide[at] < least_wide else least_wide
                greatest_wide = wide[at] if wide[at] > greatest_wide else greatest_wide
        return least_wide, greatest_wide
    return None


def note_times(newest_ms, first_ms, rows, timestamps_ms):
    """Raise the newest time of each row to that of its events, and lower the first; far faster than ``np.maximum.at``.

    The first times are looked at only where an event is a row's first one, or late: most events touch one array.

    Args:
        newest_ms: int64 ``[num_rows]``, the lowest number where there is none.
        first_ms: int64 ``[num_rows]``, likewise.
        rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``.
    """
    _note_times(len(rows), out_int64s(newest_ms), out_int64s(first_ms), int32s(rows), int64s(timestamps_ms))


cdef void _note_times(
    Py_ssize_t n, int64_t* newest_ms, int64_t* first_ms, const int32_t* rows, const int64_t* timestamps_ms
) noexcept:
    cdef Py_ssize_t event
    cdef int32_t row
    cdef int64_t time_ms
    with nogil:
        for event in range(n):
            if event + AHEAD < n:
                PREFETCH(&newest_ms[rows[event + AHEAD]])
            row = rows[event]
            time_ms = timestamps_ms[event]
            if newest_ms[row] == INT64_MIN:
                newest_ms[row] = time_ms
                first_ms[row] = time_ms
            elif time_ms > newest_ms[row]:
                newest_ms[row] = time_ms
            elif time_ms < first_ms[row]:
                first_ms[row] = time_ms


def touch(cnp.ndarray column, Py_ssize_t start, Py_ssize_t stop):
    """Write to the pages of entries ``start`` to ``stop`` what is there, so that they take memory; others run meanwhile.

    Args:
        column: Any type, ``[capacity]`` or ``[capacity, width]``, of no strides.
    """
    if not 0 <= start <= stop <= len(column) or not cnp.PyArray_ISCARRAY(column):
        raise ValueError(f"wanted entries of {len(column)}, got {start} to {stop}")
    cdef Py_ssize_t width = column.strides[0], at = start * width, end = stop * width
    cdef uint8_t* data = <uint8_t*> cnp.PyArray_DATA(column)
    with nogil:
        while at < end:
            TOUCH(data + at)
            at += PAGE
