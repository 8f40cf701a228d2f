"""The compiled loops of lifts: counts by group of items, and what items borrow from their groups."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int32_t

from springtide.arrays cimport float64s, int32s, out_float32s, out_float64s

cnp.import_array()


cdef enum:
    SUMS = 6  # Numbers in a ``Group``.


cdef struct Group:
    double observed
    double expected
    double expected_times_lift  # Of the members, with the lift of the group above each.
    double lifts
    double num_members
    double lift


def shrunk_lifts(observed, expected, double prior, codes, sizes, lifts):
    """Write observed over expected counts, shrunk to those of groups (``counts.log_lift``), with one pass for each level.

    Args:
        observed: float64 ``[num_items]``.
        expected: float64 ``[num_items]``.
        prior: Weight of the prior, in events, above 0.
        codes: For each level from coarse to fine, int32 ``[num_grouped]``; below 0 for an item without a group.
        sizes: Number of groups of each level.
        lifts: Output, float32 ``[num_items]``.
    """
    cdef Py_ssize_t num_items = len(lifts), num_before = 0, num_here, wrong
    cdef const double* observed_ = float64s(observed)
    cdef const double* expected_ = float64s(expected)
    cdef float* lifts_ = out_float32s(lifts)
    cdef const int32_t* codes_before = NULL
    cdef const int32_t* codes_here
    cdef Group* before = NULL
    cdef Group* here
    if not len(observed) == len(expected) == num_items:
        raise ValueError(f"wanted counts of {num_items} items, got {len(observed)} and {len(expected)}")
    of_item = np.ones(num_items)  # The lift of the finest group so far.
    cdef double* of_item_ = out_float64s(of_item)
    held = []  # What the pointers of the last level lead to.
    for of_level, size in zip(codes, sizes, strict=True):
        groups = np.zeros((size, SUMS))
        codes_here, num_here = int32s(of_level), min(<Py_ssize_t> len(of_level), num_items)
        here = <Group*> out_float64s(groups)
        wrong = _add_level(
            observed_, expected_, of_item_, codes_before, num_before, before, codes_here, num_here, here, size
        )
        if wrong >= 0:
            raise ValueError(f"wanted groups below {size}, got {of_level[wrong]}")
        _shrink_groups(here, size, prior)
        codes_before, num_before, before = codes_here, num_here, here
        held = [of_level, groups]
    with nogil:
        _take_lifts(of_item_, codes_before, num_before, before)
        _shrink_items(observed_, expected_, of_item_, prior, lifts_, num_items)


cdef Py_ssize_t _add_level(
    const double* observed, const double* expected, double* of_item,
    const int32_t* codes_before, Py_ssize_t num_before, const Group* before,
    const int32_t* codes, Py_ssize_t num_here, Group* groups, Py_ssize_t size,
) noexcept:
    """Add the items to their groups, each with the lift of its group above; return an item of no such group, or -1."""
    cdef Py_ssize_t item
    cdef Group* group
    with nogil:
        _take_lifts(of_item, codes_before, num_before, before)
        for item in range(num_here):
            if codes[item] < 0:
                continue
            if codes[item] >= size:
                return item
            group = groups + codes[item]
            group.observed += observed[item]
            group.expected += expected[item]
            group.expected_times_lift += expected[item] * of_item[item]
            group.lifts += of_item[item]
            group.num_members += 1
    return -1


cdef inline void _take_lifts(double* of_item, const int32_t* codes, Py_ssize_t num_items, const Group* groups) noexcept nogil:
    """Set the lifts of items to those of their groups; others keep theirs."""
    cdef Py_ssize_t item
    for item in range(num_items):
        if codes[item] >= 0:
            of_item[item] = groups[codes[item]].lift


cdef void _shrink_groups(Group* groups, Py_ssize_t size, double prior) noexcept:
    """Set the lifts of groups, each shrunk to that of the groups above its members."""
    cdef Py_ssize_t number
    cdef double num_grouped = 0, least, above
    cdef Group* group
    with nogil:
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


cdef void _shrink_items(
    const double* observed, const double* expected, const double* of_item, double prior, float* lifts, Py_ssize_t num_items
) noexcept nogil:
    cdef Py_ssize_t item
    for item in range(num_items):
        lifts[item] = <float> ((observed[item] + prior * of_item[item]) / (expected[item] + prior))
