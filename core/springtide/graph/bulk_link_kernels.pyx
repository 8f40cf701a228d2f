"""Chains of many edges at once that nobody reads yet: those of a checkpoint; see ``kernels`` for what a chain is."""

from libc.stdint cimport int32_t, int64_t

from springtide.arrays cimport int32s, int64s, out_int32s


cdef extern from *:
    """
    #define PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
    """
    void PREFETCH_TO_WRITE(const void* address) noexcept nogil


cdef enum:
    MAX_WALK = 12  # As ``NEAR`` in ``link_kernels``.
    AHEAD = 24  # Edges; the chains' heads come from memory while as many edges are linked.


def link_bulk(int start, int stop, rows, times, int64_t newest_ms, head, prev, degree, late):
    """Link edges ``start`` to ``stop`` into the chains of their rows; other Python threads run meanwhile.

    An edge that is not older than all before it goes to the front of its chain, without a look at the edge there.

    Args:
        start: Index of the first new edge.
        stop: One past the index of the last.
        rows: int32 ``[capacity]``, each edge's node on this side, from 0 to ``num_rows``.
        times: int64 ``[capacity]``, milliseconds.
        newest_ms: The newest time of the edges before ``start``.
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
        degree: int32 ``[num_rows]``, number of edges.
        late: int32 ``[stop - start]``, output: edges that lie too far back; for ``ChainLinker.link_late``.

    Returns:
        Number of edges in ``late``.
    """
    return _link_bulk(
        start, stop, int32s(rows), int64s(times), newest_ms, out_int32s(head), out_int32s(prev), out_int32s(degree),
        out_int32s(late),
    )


cdef int _link_bulk(
    int start, int stop, const int32_t* rows, const int64_t* times, int64_t newest_ms, int32_t* head, int32_t* prev,
    int32_t* degree, int32_t* late,
) noexcept:
    cdef int32_t edge, row, newer, older
    cdef int64_t time
    cdef int steps, num_late = 0
    with nogil:
        for edge in range(start, stop):
            if stop - edge > AHEAD:
                row = rows[edge + AHEAD]
                PREFETCH_TO_WRITE(&head[row])
                PREFETCH_TO_WRITE(&degree[row])
            row = rows[edge]
            time = times[edge]
            degree[row] += 1
            older = head[row]
            if time >= newest_ms:
                newest_ms = time
            elif older >= 0 and times[older] > time:
                newer = older
                older = prev[older]
                steps = 1
                while older >= 0 and times[older] > time and steps < MAX_WALK:
                    newer = older
                    older = prev[older]
                    steps += 1
                if older >= 0 and times[older] > time:
                    late[num_late] = edge
                    num_late += 1
                else:
                    prev[edge] = older
                    prev[newer] = edge
                continue
            prev[edge] = older
            head[row] = edge
    return num_late
