"""The compiled loops of lifts: counts by group of items, and what items borrow from their groups."""

import numpy as np

from libc.stdint cimport int32_t

from springtide.arrays cimport float32s, float64s, int32s, out_float32s, out_float64s


cdef enum:
    SUMS = 6  # Numbers in a ``Group``.
    PATH_SUMS = 4  # In a ``Path``.


cdef struct Path:
    double observed
    double expected
    double num_members
    double lift  # Of the finest group so far.


cdef struct Group:
    double observed
    double expected
    double expected_times_lift  # Of the members, with the lift of the group above each.
    double lifts
    double num_members
    double lift


def shrunk_lifts(observed, expected, double prior, path_of, codes, sizes, lifts):
    """Write observed over expected counts, shrunk to those of groups (``counts.log_lift``), with two passes over items.

    Args:
        observed: float64 ``[num_items]``.
        expected: float64 ``[num_items]``.
        prior: Weight of the prior, in events, above 0.
        path_of: int32 ``[num_grouped]``, the path of each item (``ItemGroups.paths``).
        codes: For each level from coarse to fine, int32 ``[num_paths]``; below 0 for a path without a group.
        sizes: Number of groups of each level.
        lifts: Output, float32 ``[num_items]``.
    """
    cdef Py_ssize_t num_items = len(lifts), num_grouped = min(<Py_ssize_t> len(path_of), num_items), wrong
    cdef Py_ssize_t num_paths = len(codes[0]) if len(codes) else 0
    cdef const double* observed_ = float64s(observed)
    cdef const double* expected_ = float64s(expected)
    cdef const int32_t* paths = int32s(path_of)
    cdef float* lifts_ = out_float32s(lifts)
    if not len(observed) == len(expected) == num_items:
        raise ValueError(f"wanted counts of {num_items} items, got {len(observed)} and {len(expected)}")
    of_paths = np.zeros((num_paths, PATH_SUMS))
    cdef Path* of_path = <Path*> out_float64s(of_paths)
    wrong = _add_items(observed_, expected_, paths, num_grouped, of_path, num_paths)
    if wrong >= 0:
        raise ValueError(f"wanted paths below {num_paths}, got {path_of[wrong]}")
    for of_level, size in zip(codes, sizes, strict=True):
        groups = np.zeros((size, SUMS))
        if len(of_level) != num_paths:
            raise ValueError(f"wanted groups of {num_paths} paths, got {len(of_level)}")
        wrong = _shrink_level(of_path, int32s(of_level), num_paths, <Group*> out_float64s(groups), size, prior)
        if wrong >= 0:
            raise ValueError(f"wanted groups below {size}, got {of_level[wrong]}")
    with nogil:
        _shrink_items(observed_, expected_, paths, num_grouped, of_path, prior, lifts_, num_items)


def shrunk_to_lifts(observed, usual, double share, double prior, means, lifts):
    """Write observed over expected counts, each shrunk to a lift of its own (``counts.shrunk_lifts``).

    Args:
        observed: float64 ``[num_items]``.
        usual: float64 ``[num_items]``, counts at any time.
        share: How many of the usual counts are to be expected.
        prior: Weight of the prior, in events, above 0.
        means: float32 ``[num_items]``, the lifts to shrink to.
        lifts: Output, float32 ``[num_items]``.
    """
    cdef Py_ssize_t item, num_items = len(lifts)
    cdef const double* observed_ = float64s(observed)
    cdef const double* usual_ = float64s(usual)
    cdef const float* means_ = float32s(means)
    cdef float* lifts_ = out_float32s(lifts)
    if not len(observed) == len(usual) == len(means) == num_items:
        raise ValueError(f"wanted counts and means of {num_items} items, got {len(observed)}, {len(usual)}, {len(means)}")
    with nogil:
        for item in range(num_items):
            lifts_[item] = <float> ((observed_[item] + prior * means_[item]) / (usual_[item] * share + prior))


def add_faded(float nearness, logs, next_logs, faded, out):
    """Write ``faded + nearness * (logs - next_logs)``, float32 ``[num_items]`` each."""
    cdef Py_ssize_t item, num_items = len(out)
    cdef const float* logs_ = float32s(logs)
    cdef const float* next_ = float32s(next_logs)
    cdef const float* faded_ = float32s(faded)
    cdef float* out_ = out_float32s(out)
    if not len(logs) == len(next_logs) == len(faded) == num_items:
        raise ValueError(f"wanted columns of {num_items} items, got {len(logs)}, {len(next_logs)}, {len(faded)}")
    with nogil:
        for item in range(num_items):
            out_[item] = faded_[item] + nearness * (logs_[item] - next_[item])


cdef Py_ssize_t _add_items(
    const double* observed, const double* expected, const int32_t* path_of, Py_ssize_t num_grouped,
    Path* paths, Py_ssize_t num_paths,
) noexcept:
    """Add the items to their paths; return an item of no such path, or -1."""
    cdef Py_ssize_t item
    cdef Path* path
    with nogil:
        for item in range(num_paths):
            paths[item].lift = 1.0
        for item in range(num_grouped):
            if path_of[item] < 0 or path_of[item] >= num_paths:
                return item
            path = paths + path_of[item]
            path.observed += observed[item]
            path.expected += expected[item]
            path.num_members += 1
    return -1


cdef Py_ssize_t _shrink_level(
    Path* paths, const int32_t* codes, Py_ssize_t num_paths, Group* groups, Py_ssize_t size, double prior
) noexcept:
    """Set the lifts of paths to those of their groups, each shrunk to that of the groups above its members.

    Paths without a group keep their lifts. Return a path of no such group, or -1.
    """
    cdef Py_ssize_t number
    cdef double num_grouped = 0, least, above
    cdef Group* group
    cdef Path* path
    with nogil:
        for number in range(num_paths):
            if codes[number] < 0:
                continue
            if codes[number] >= size:
                return number
            path, group = paths + number, groups + codes[number]
            group.observed += path.observed
            group.expected += path.expected
            group.expected_times_lift += path.expected * path.lift
            group.lifts += path.num_members * path.lift
            group.num_members += path.num_members
        for number in range(size):
            num_grouped += groups[number].num_members
        # A group may lie in several groups above: its prior is their mean, weighted by its members. The prior's weight
        # is spread among all members, for groups of which nothing is expected.
        least = prior / max(num_grouped, 1.0)
        for number in range(size):
            group = groups + number
            above = (group.expected_times_lift + least * group.lifts) / (
                group.expected + least * group.num_members + 1e-300
            )
            group.lift = (group.observed + prior * above) / (group.expected + prior)
        for number in range(num_paths):
            if codes[number] >= 0:
                paths[number].lift = groups[codes[number]].lift
    return -1


cdef void _shrink_items(
    const double* observed, const double* expected, const int32_t* path_of, Py_ssize_t num_grouped, const Path* paths,
    double prior, float* lifts, Py_ssize_t num_items,
) noexcept nogil:
    cdef Py_ssize_t item
    for item in range(num_grouped):
        lifts[item] = <float> ((observed[item] + prior * paths[path_of[item]].lift) / (expected[item] + prior))
    for item in range(num_grouped, num_items):
        lifts[item] = <float> ((observed[item] + prior) / (expected[item] + prior))
