"""The compiled loops of tombstones: times by digest.

Times by digest are arrays in the order in which the digests came, each digest as two halves, and a hash table of
``num_slots``, a power of two, that says where: a slot has the place in the arrays, counted from 1; 0 if it is free.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from springtide.arrays cimport int64s, out_int64s, out_uint32s, out_uint64s, uint32s, uint64s


cdef inline uint64_t _slot(
    const uint32_t* slots, uint64_t mask, const uint64_t* halves, const uint64_t* digest
) noexcept nogil:
    """Return the slot of a digest, or the free slot where it belongs; the table is never full."""
    cdef uint64_t place, slot = digest[0] & mask  # Digests are spread evenly as they are.
    while slots[slot]:
        place = slots[slot] - 1
        if halves[2 * place] == digest[0] and halves[2 * place + 1] == digest[1]:
            break
        slot = (slot + 1) & mask
    return slot


def add_times(new_halves, new_ms, halves, times_ms, slots, int64_t num):
    """Add times of digests to arrays that have room for them; of several times of one digest the latest stays.

    Args:
        new_halves: uint64 ``[2 * n]``.
        new_ms: int64 ``[n]``.
        halves: uint64 ``[2 * capacity]``.
        times_ms: int64 ``[capacity]``.
        slots: uint32 ``[num_slots]``.
        num: Number of digests in the arrays.

    Returns:
        Number of digests in them then.
    """
    return _add_times(
        len(new_ms), uint64s(new_halves), int64s(new_ms), out_uint64s(halves), out_int64s(times_ms),
        out_uint32s(slots), len(slots) - 1, num,
    )


cdef int64_t _add_times(
    Py_ssize_t n, const uint64_t* new_halves, const int64_t* new_ms, uint64_t* halves, int64_t* times_ms,
    uint32_t* slots, uint64_t mask, int64_t num,
) noexcept:
    cdef Py_ssize_t index
    cdef uint64_t slot
    cdef int64_t place
    with nogil:
        for index in range(n):
            slot = _slot(slots, mask, halves, new_halves + 2 * index)
            if slots[slot]:
                place = <int64_t> slots[slot] - 1
                if new_ms[index] > times_ms[place]:
                    times_ms[place] = new_ms[index]
                continue
            halves[2 * num] = new_halves[2 * index]
            halves[2 * num + 1] = new_halves[2 * index + 1]
            times_ms[num] = new_ms[index]
            num += 1
            slots[slot] = <uint32_t> num
    return num


def index_digests(halves, slots, int64_t num):
    """Fill an empty table with the first digests.

    Args:
        halves: uint64 ``[2 * capacity]``.
        slots: uint32 ``[num_slots]``, all 0.
        num: How many digests.
    """
    _index_digests(num, uint64s(halves), out_uint32s(slots), len(slots) - 1)


cdef void _index_digests(int64_t num, const uint64_t* halves, uint32_t* slots, uint64_t mask) noexcept:
    cdef int64_t place
    with nogil:
        for place in range(num):
            slots[_slot(slots, mask, halves, halves + 2 * place)] = <uint32_t> (place + 1)


def look_up_times(wanted, halves, times_ms, slots, out_ms):
    """Look up the time of each digest.

    Args:
        wanted: uint64 ``[2 * n]``.
        halves: uint64 ``[2 * capacity]``.
        times_ms: int64 ``[capacity]``.
        slots: uint32 ``[num_slots]``.
        out_ms: Output, int64 ``[n]``; it stays as it is where there is no time.
    """
    _look_up_times(
        len(out_ms), uint64s(wanted), uint64s(halves), int64s(times_ms), uint32s(slots), len(slots) - 1,
        out_int64s(out_ms),
    )


cdef void _look_up_times(
    Py_ssize_t n, const uint64_t* wanted, const uint64_t* halves, const int64_t* times_ms, const uint32_t* slots,
    uint64_t mask, int64_t* out_ms,
) noexcept:
    cdef Py_ssize_t index
    cdef uint64_t slot
    with nogil:
        for index in range(n):
            slot = _slot(slots, mask, halves, wanted + 2 * index)
            if slots[slot]:
                out_ms[index] = times_ms[slots[slot] - 1]


def look_up_places(wanted, halves, slots, out):
    """Look up where each digest is in the arrays.

    Args:
        wanted: uint64 ``[2 * n]``.
        halves: uint64 ``[2 * capacity]``.
        slots: uint32 ``[num_slots]``.
        out: Output, int64 ``[n]``, -1 where a digest is not among them.
    """
    _look_up_places(
        len(out), uint64s(wanted), uint64s(halves), uint32s(slots), len(slots) - 1, out_int64s(out),
    )


cdef void _look_up_places(
    Py_ssize_t n, const uint64_t* wanted, const uint64_t* halves, const uint32_t* slots, uint64_t mask, int64_t* out,
) noexcept:
    cdef Py_ssize_t index
    with nogil:
        for index in range(n):
            out[index] = <int64_t> slots[_slot(slots, mask, halves, wanted + 2 * index)] - 1
