"""Kernels over time-ordered adjacency: chains that link each node's edges from the newest to the oldest.

A chain is ``head[row]``, the node's newest edge, and ``prev[edge]``, the next older one, -1 at the end. Newer means a
later event time, and at equal times a later arrival, which is a greater edge index. One thread links while others
walk the chains. An edge is complete before anything points at it, so a reader sees it whole or not at all. Readers skip
edges that arrived after their view (``edge >= length``).

A deleted edge stays in its chains until it is swept. It is marked with the generation of its death: a view of that
generation or a later one skips it, an older view does not (``dead_since`` is 0 for a live edge, and ``[0]`` long while
there are no dead ones).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

MAX_WALK = 64  # Most steps to place one late edge; edges farther back share one walk per node and batch.


@intrinsic
def _release(typing_context: Any) -> Any:
    """Make other threads see earlier stores before later ones; it costs nothing on x86."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("release")
        return context.get_dummy_value()

    return types.void(), generate


@njit(cache=True, nogil=True)
def link(
    start: int, stop: int, rows: Int32s, times: Int64s, head: Int32s, prev: Int32s, degree: Int32s, late: Int32s
) -> int:
    """Link edges ``start`` to ``stop`` into the chains of their rows.

    Args:
        start: Index of the first new edge.
        stop: One past the index of the last.
        rows: int32 ``[capacity]``, each edge's node on this side.
        times: int64 ``[capacity]``, milliseconds.
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
        degree: int32 ``[num_rows]``, number of edges.
        late: int32 ``[stop - start]``, output: edges that lie too far back; the caller passes them to ``link_late``.

    Returns:
        Number of edges in ``late``.
    """
    num_late = 0
    for edge in range(start, stop):
        row = rows[edge]
        time = times[edge]
        degree[row] += 1
        newer = np.int32(-1)
        older = head[row]
        steps = 0
        while older >= 0 and times[older] > time and steps < MAX_WALK:
            newer = older
            older = prev[older]
            steps += 1
        if older >= 0 and times[older] > time:
            late[num_late] = edge
            num_late += 1
            continue
        prev[edge] = older
        _release()
        if newer < 0:
            head[row] = edge
        else:
            prev[newer] = edge
    return num_late


@njit(cache=True, nogil=True)
def link_late(late: Int32s, rows: Int32s, times: Int64s, head: Int32s, prev: Int32s) -> None:
    """Link edges that lie far back, in one walk for each node.

    Args:
        late: int32 ``[n]``, sorted by row, then from the newest to the oldest.
        rows: int32 ``[capacity]``.
        times: int64 ``[capacity]``.
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
    """
    position = 0
    while position < len(late):
        row = rows[late[position]]
        newer = np.int32(-1)
        older = head[row]
        while position < len(late) and rows[late[position]] == row:
            edge = late[position]
            time = times[edge]
            while older >= 0 and (times[older] > time or (times[older] == time and older > edge)):
                newer = older
                older = prev[older]
            prev[edge] = older
            _release()
            if newer < 0:
                head[row] = edge
            else:
                prev[newer] = edge
            newer = edge
            position += 1


@njit(cache=True, nogil=True)
def relink(
    rows: Int32s, head: Int32s, prev: Int32s, moved: Int32s, new_head: Int32s, new_prev: Int32s, new_degree: Int32s
) -> None:
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
    for row in range(len(head)):
        edge = head[row]
        while edge >= 0 and moved[edge] < 0:
            edge = prev[edge]
        if edge >= 0:
            new_head[row] = moved[edge]
    for edge in range(len(moved)):
        index = moved[edge]
        if index < 0:
            continue
        new_degree[rows[edge]] += 1
        older = prev[edge]
        while older >= 0 and moved[older] < 0:  # Only the next newer edge that stays passes a removed one.
            older = prev[older]
        if older >= 0:
            new_prev[index] = moved[older]


@njit(cache=True, nogil=True)
def collect_recent(
    rows: Int32s,
    before: Int64s,
    length: int,
    head: Int32s,
    prev: Int32s,
    neighbours: Int32s,
    times: Int64s,
    weights: Float32s,
    dead_since: Int32s,
    generation: int,
    out_rows: Int32s,
    out_times: Int64s,
    out_weights: Float32s,
) -> None:
    """Collect each row's latest neighbours before a time.

    Args:
        rows: int32 ``[n]``; unknown rows have no neighbours.
        before: int64 ``[n]`` or ``[1]``, exclusive.
        length: Edges from this index on arrived after the view.
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
        neighbours: int32 ``[capacity]``, each edge's node on the other side.
        times: int64 ``[capacity]``.
        weights: float32 ``[capacity]``.
        dead_since: int32 ``[capacity]``; not read if ``generation`` is 0.
        generation: The view's generation; 0 if none of its edges is dead.
        out_rows: Output, int32 ``[n, count]``, filled with -1 before.
        out_times: Output, int64 ``[n, count]``.
        out_weights: Output, float32 ``[n, count]``.
    """
    count = out_rows.shape[1]
    for position in range(len(rows)):
        row = rows[position]
        if row < 0 or row >= len(head):
            continue
        limit = before[position if len(before) > 1 else 0]
        found = 0
        edge = head[row]
        while edge >= 0 and found < count:
            if edge < length and times[edge] < limit and not (generation > 0 and 0 < dead_since[edge] <= generation):
                out_rows[position, found] = neighbours[edge]
                out_times[position, found] = times[edge]
                out_weights[position, found] = weights[edge]
                found += 1
            edge = prev[edge]


@njit(cache=True, nogil=True)
def count_linked(row: int, length: int, head: Int32s, prev: Int32s) -> int:
    """Return the number of one row's edges that had arrived when the view was taken, dead ones included."""
    count = 0
    edge = head[row]
    while edge >= 0:
        if edge < length:
            count += 1
        edge = prev[edge]
    return count


@njit(cache=True, nogil=True)
def mark_dead(
    deleted_rows: Int32s,
    until_ms: Int64s,
    head: Int32s,
    prev: Int32s,
    times: Int64s,
    sources: Int32s,
    targets: Int32s,
    generation: int,
    dead_since: Int32s,
    source_last_death: Int32s,
    target_last_death: Int32s,
    out: Int32s,
) -> int:
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
    count = 0
    for position in range(len(deleted_rows)):
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


@njit(cache=True, nogil=True)
def contains(
    source_rows: Int32s,
    target_rows: Int32s,
    length: int,
    sources: Int32s,
    source_head: Int32s,
    source_prev: Int32s,
    source_degree: Int32s,
    targets: Int32s,
    target_head: Int32s,
    target_prev: Int32s,
    target_degree: Int32s,
    dead_since: Int32s,
    generation: int,
    out: Bools,
) -> None:
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
    for position in range(len(source_rows)):
        source = source_rows[position]
        target = target_rows[position]
        if source < 0 or source >= len(source_head) or target < 0 or target >= len(target_head):
            continue
        if source_degree[source] <= target_degree[target]:
            edge = source_head[source]
            while edge >= 0 and not (
                edge < length
                and targets[edge] == target
                and not (generation > 0 and 0 < dead_since[edge] <= generation)
            ):
                edge = source_prev[edge]
        else:
            edge = target_head[target]
            while edge >= 0 and not (
                edge < length
                and sources[edge] == source
                and not (generation > 0 and 0 < dead_since[edge] <= generation)
            ):
                edge = target_prev[edge]
        out[position] = edge >= 0
