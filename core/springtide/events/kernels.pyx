"""The compiled loops of events: hashing them, and the window of those that were seen."""

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from springtide.arrays cimport float32s, int64s, out_bools, out_uint32s, out_uint64s, uint8s, uint32s, uint64s
from springtide.events.hashing cimport hashed, mixed


cdef enum:
    HALF = 32  # Bits of half a key.
    MURMUR = 0x5BD1E995
    QUIET_NAN = 0x7FC00000  # The bits of NumPy's float32 that is not a number.


def hash_slices(buffer, starts, stops, hashes):
    """Hash the bytes of each slice of a buffer.

    Args:
        buffer: uint8 ``[num_bytes]``.
        starts: int64 ``[n]``.
        stops: int64 ``[n]``.
        hashes: Output, uint64 ``[n]``.
    """
    _hash_slices(len(starts), uint8s(buffer), int64s(starts), int64s(stops), out_uint64s(hashes))


cdef void _hash_slices(
    Py_ssize_t n, const uint8_t* buffer, const int64_t* starts, const int64_t* stops, uint64_t* hashes
) noexcept:
    cdef Py_ssize_t number
    with nogil:
        for number in range(n):
            hashes[number] = hashed(buffer + starts[number], stops[number] - starts[number])


def hash_texts(list texts, hashes):
    """Hash each of some texts, as ``hash_slices`` would.

    Args:
        texts: Their bytes.
        hashes: Output, uint64 ``[n]``.
    """
    cdef uint64_t* out = out_uint64s(hashes)
    cdef Py_ssize_t number
    cdef int64_t start = 0, stop
    cdef bytes text
    for number in range(len(texts)):
        text = texts[number]
        stop = len(text)
        _hash_slices(1, <const uint8_t*> <const char*> text, &start, &stop, out + number)


def hash_keys(utf8, offsets, hashes):
    """Hash keys of records as Kafka's clients do to choose a partition (murmur2).

    Args:
        utf8: uint8 ``[num_bytes]``, the keys one after another.
        offsets: int64 ``[n + 1]``, where each key begins, and where the last one ends.
        hashes: Output, uint32 ``[n]``.
    """
    cdef const uint8_t* key = uint8s(utf8)
    cdef const int64_t* bounds = int64s(offsets)
    cdef uint32_t* out = out_uint32s(hashes)
    cdef Py_ssize_t number, num = len(hashes)
    with nogil:
        for number in range(num):
            out[number] = _murmur2(key + bounds[number], bounds[number + 1] - bounds[number])


cdef uint32_t _murmur2(const uint8_t* key, Py_ssize_t size) noexcept nogil:
    cdef uint32_t value = <uint32_t> 0x9747B28CU ^ <uint32_t> size, word
    cdef Py_ssize_t at
    for at in range(0, size - 3, 4):
        memcpy(&word, key + at, 4)
        word *= MURMUR
        word = (word ^ (word >> 24)) * MURMUR
        value = value * MURMUR ^ word
    at = size & ~<Py_ssize_t> 3
    if size - at == 3:
        value ^= <uint32_t> key[at + 2] << 16
    if size - at >= 2:
        value ^= <uint32_t> key[at + 1] << 8
    if size - at >= 1:
        value = (value ^ key[at]) * MURMUR
    value = (value ^ (value >> 13)) * MURMUR
    return value ^ (value >> 15)


def hash_contents(timestamps_ms, values, contexts, contents):
    """Hash times, values and contexts of interactions; all values that are not a number are one.

    Args:
        timestamps_ms: int64 ``[n]``.
        values: float32 ``[n]``.
        contexts: uint64 ``[n]``, hashes.
        contents: Output, uint32 ``[n]``.
    """
    _hash_contents(
        len(contents), int64s(timestamps_ms), float32s(values), uint64s(contexts), out_uint32s(contents)
    )


cdef void _hash_contents(
    Py_ssize_t n, const int64_t* timestamps_ms, const float* values, const uint64_t* contexts, uint32_t* contents
) noexcept:
    cdef Py_ssize_t number
    cdef uint32_t bits
    with nogil:
        for number in range(n):
            bits = QUIET_NAN
            if values[number] == values[number]:
                memcpy(&bits, values + number, sizeof(bits))
            contents[number] = <uint32_t> mixed(mixed(<uint64_t> timestamps_ms[number], bits), contexts[number])


def combine(keys, hashes, combined):
    """Combine pairs of hashes into one each, never 0.

    Args:
        keys: uint64 ``[n]``.
        hashes: uint64 ``[n]``.
        combined: Output, uint64 ``[n]``.
    """
    _combine(len(keys), uint64s(keys), uint64s(hashes), out_uint64s(combined))


cdef void _combine(Py_ssize_t n, const uint64_t* keys, const uint64_t* hashes, uint64_t* combined) noexcept:
    cdef Py_ssize_t number
    with nogil:
        for number in range(n):
            combined[number] = mixed(keys[number], hashes[number])


def combine_rows(uint64_t kind, hashes, combined):
    """Combine a kind with the hashes of each row, one after the other, never to 0.

    Args:
        kind: What each row begins with.
        hashes: uint64 ``[n, width]``.
        combined: Output, uint64 ``[n]``.
    """
    _combine_rows(len(combined), hashes.shape[1], kind, uint64s(hashes), out_uint64s(combined))


cdef void _combine_rows(
    Py_ssize_t n, Py_ssize_t width, uint64_t kind, const uint64_t* hashes, uint64_t* combined
) noexcept:
    cdef Py_ssize_t number, column
    with nogil:
        for number in range(n):
            combined[number] = kind
            for column in range(width):
                combined[number] = mixed(combined[number], hashes[number * width + column])


# The window of seen events is a ring, and a hash table of ``num_slots``, a power of two, that says where in the ring a
# key is. A slot has the upper half of a key and, in its lower half, the place in the ring, counted from 1; 0 if it is
# free. So the ring, which is elsewhere in memory, is only looked at where the upper halves are equal.

cdef inline uint64_t _slot(const uint64_t* slots, uint64_t mask, const uint64_t* keys, uint64_t key) noexcept nogil:
    """Return the slot of a key, or the free slot where it belongs; the table is never full."""
    cdef uint64_t slot = (key >> HALF) & mask
    while slots[slot]:
        if slots[slot] >> HALF == key >> HALF and keys[<uint32_t> slots[slot] - 1] == key:
            break
        slot = (slot + 1) & mask
    return slot


cdef inline void _free(uint64_t* slots, uint64_t mask, uint64_t hole) noexcept nogil:
    """Free a slot, and move those after it that would not be found any more (Knuth 1973, 6.4, algorithm R)."""
    cdef uint64_t home, slot = hole
    slots[hole] = 0
    while True:
        slot = (slot + 1) & mask
        if slots[slot] == 0:
            return
        home = (slots[slot] >> HALF) & mask
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            slots[hole] = slots[slot]
            slots[slot] = 0
            hole = slot


cdef inline uint64_t _entry(uint64_t key, int64_t place) noexcept nogil:
    return ((key >> HALF) << HALF) | <uint64_t> (place + 1)


cdef inline int64_t _place(uint64_t entry) noexcept nogil:
    return <int64_t> <uint32_t> entry - 1


def index_seen(ring_keys, slots, int64_t first, int64_t stop):
    """Fill an empty table with the events of the ring; of two with one key, the later one is found.

    Args:
        ring_keys: uint64 ``[capacity]``.
        slots: uint64 ``[num_slots]``, filled with 0; their number is a power of two, above ``capacity``.
        first: Number of the oldest event.
        stop: Number that the next event will have.
    """
    _index_seen(len(ring_keys), uint64s(ring_keys), len(slots) - 1, out_uint64s(slots), first, stop)


cdef void _index_seen(
    int64_t capacity, const uint64_t* ring_keys, uint64_t mask, uint64_t* slots, int64_t first, int64_t stop
) noexcept:
    cdef int64_t number, place
    with nogil:
        for number in range(first, stop):
            place = number % capacity
            slots[_slot(slots, mask, ring_keys, ring_keys[place])] = _entry(ring_keys[place], place)


def add_seen(
    keys, contents, published_s, double max_age_s, ring_keys, ring_contents, ring_published_s, slots,
    int64_t first, int64_t stop, is_first,
):
    """Mark the events that came before, and put the others into the ring.

    Args:
        keys: uint64 ``[n]``.
        contents: uint32 ``[n]``.
        published_s: uint32 ``[n]``.
        max_age_s: How many seconds apart two records of one event may be published.
        ring_keys: uint64 ``[capacity]``.
        ring_contents: uint32 ``[capacity]``.
        ring_published_s: uint32 ``[capacity]``.
        slots: uint64 ``[num_slots]``.
        first: Number of the oldest event.
        stop: Number that the next event will have.
        is_first: Output, bool ``[n]``.

    Returns:
        The numbers of the oldest and of the next event, and how many differed from the one that came before.
    """
    cdef int64_t num_changed = _add_seen(
        len(keys), uint64s(keys), uint32s(contents), uint32s(published_s), max_age_s,
        len(ring_keys), out_uint64s(ring_keys), out_uint32s(ring_contents), out_uint32s(ring_published_s),
        len(slots) - 1, out_uint64s(slots), &first, &stop, out_bools(is_first),
    )
    return first, stop, num_changed


cdef int64_t _add_seen(
    Py_ssize_t n, const uint64_t* keys, const uint32_t* contents, const uint32_t* published_s, double max_age_s,
    int64_t capacity, uint64_t* ring_keys, uint32_t* ring_contents, uint32_t* ring_published_s,
    uint64_t mask, uint64_t* slots, int64_t* first, int64_t* stop, uint8_t* is_first,
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t slot, oldest
    cdef int64_t place, num_changed = 0
    with nogil:
        for number in range(n):
            is_first[number] = True
            slot = _slot(slots, mask, ring_keys, keys[number])
            place = _place(slots[slot])
            if place >= 0 and fabs(<double> published_s[number] - <double> ring_published_s[place]) <= max_age_s:
                is_first[number] = False
                num_changed += contents[number] != ring_contents[place]
                continue
            place = stop[0] % capacity
            if stop[0] - first[0] == capacity:
                oldest = _slot(slots, mask, ring_keys, ring_keys[place])
                if _place(slots[oldest]) == place:  # Else a later event of the same key has taken its slot.
                    _free(slots, mask, oldest)
                first[0] += 1
                slot = _slot(slots, mask, ring_keys, keys[number])
            ring_keys[place] = keys[number]
            ring_contents[place] = contents[number]
            ring_published_s[place] = published_s[number]
            slots[slot] = _entry(keys[number], place)
            stop[0] += 1
    return num_changed
