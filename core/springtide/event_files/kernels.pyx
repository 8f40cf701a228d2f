"""The compiled loop of event files: the digests from which events without an id get theirs."""

from libc.math cimport isnan
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from springtide.arrays cimport float64s, int64s, out_uint8s, uint8s
from springtide.event_files.blake2b cimport DIGEST_BYTES, blake2b


cdef enum:
    OVERHEAD = 128  # Bytes that an event takes beside its texts, and more.
    MS_PER_S = 1_000
    NS_PER_MS = 1_000_000


cdef struct Texts:
    const uint8_t* utf8
    const int64_t* offsets


cdef inline Py_ssize_t _size(const Texts* texts, Py_ssize_t row) noexcept nogil:
    return 0 if texts.offsets == NULL else texts.offsets[row + 1] - texts.offsets[row]


cdef inline uint8_t* _put_varint(uint8_t* at, uint64_t number) noexcept nogil:
    while number > 127:
        at[0] = <uint8_t> (number & 127) | 128
        number >>= 7
        at += 1
    at[0] = <uint8_t> number
    return at + 1


cdef inline uint8_t* _put_text(uint8_t* at, uint8_t tag, const Texts* texts, Py_ssize_t row) noexcept nogil:
    """Write a text, unless it is empty."""
    cdef Py_ssize_t size = _size(texts, row)
    if size == 0:
        return at
    at[0] = tag
    at = _put_varint(at + 1, size)
    memcpy(at, texts.utf8 + texts.offsets[row], size)
    return at + size


cdef inline Py_ssize_t _text_bytes(const Texts* texts, Py_ssize_t row) noexcept nogil:
    """Return how many bytes ``_put_text`` writes."""
    cdef uint8_t varint[10]
    cdef Py_ssize_t size = _size(texts, row)
    return 0 if size == 0 else 1 + (_put_varint(varint, size) - varint) + size


cdef Py_ssize_t _put_event(
    uint8_t* start, const Texts* ids, const Texts* users, const Texts* items, const Texts* types, Py_ssize_t row,
    int64_t timestamp_ms, double value,
) noexcept nogil:
    """Write an interaction as protobuf serializes the event, and return its size."""
    cdef uint8_t time[32]
    cdef int64_t seconds = timestamp_ms // MS_PER_S, milliseconds
    cdef uint8_t* at = time
    cdef Py_ssize_t size
    seconds -= seconds * MS_PER_S > timestamp_ms  # C rounds to 0, and Timestamp down.
    milliseconds = timestamp_ms - seconds * MS_PER_S
    if seconds:
        at[0] = 0x08
        at = _put_varint(at + 1, <uint64_t> seconds)
    if milliseconds:
        at[0] = 0x10
        at = _put_varint(at + 1, <uint64_t> (milliseconds * NS_PER_MS))
    size = at - time
    at = _put_text(start, 0x0A, ids, row)
    at[0] = 0x12
    at = _put_varint(at + 1, size)
    memcpy(at, time, size)
    at[size] = 0x1A
    at += size + 1
    size = _text_bytes(users, row) + _text_bytes(items, row) + _text_bytes(types, row) + (0 if isnan(value) else 9)
    at = _put_varint(at, size)
    at = _put_text(at, 0x0A, users, row)
    at = _put_text(at, 0x12, items, row)
    at = _put_text(at, 0x1A, types, row)
    if not isnan(value):
        at[0] = 0x21
        memcpy(at + 1, &value, 8)
        at += 9
    return at - start


def digest_interactions(bytes digest, event_ids, users, items, types, timestamps_ms, values, digests):
    """Digest each interaction with the digest of all events before it.

    Args:
        digest: Digest of the events before the first one, 16 bytes.
        event_ids: Ids: their UTF-8, uint8, and where each begins and the last one ends, int64 ``[n + 1]``; None if no
            event has one.
        users: The same of users.
        items: The same of items.
        types: The same of types.
        timestamps_ms: int64 ``[n]``, milliseconds since the Unix epoch.
        values: float64 ``[n]``, NaN for none.
        digests: Output, uint8 ``[n, 16]``.
    """
    cdef Texts texts[4]
    cdef int column
    for column, packed in enumerate((event_ids, users, items, types)):
        texts[column] = Texts(NULL, NULL)
        if packed is not None:
            texts[column] = Texts(uint8s(packed[0]), int64s(packed[1]))
    cdef const int64_t* time = int64s(timestamps_ms)
    cdef const double* value = float64s(values)
    cdef uint8_t* out = out_uint8s(digests)
    cdef const uint8_t* before = <const uint8_t*> <const char*> digest
    cdef Py_ssize_t row, size, room = 0
    cdef uint8_t* event = NULL
    cdef uint8_t* moved
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"wanted a digest of {DIGEST_BYTES} bytes, got {len(digest)}")
    for row in range(len(timestamps_ms)):
        size = DIGEST_BYTES + OVERHEAD
        for column in range(4):
            size += _size(texts + column, row)
        if size > room:
            moved = <uint8_t*> realloc(event, 2 * size)
            if moved == NULL:
                free(event)
                raise MemoryError
            event, room = moved, 2 * size
        memcpy(event, before, DIGEST_BYTES)
        size = _put_event(
            event + DIGEST_BYTES, texts, texts + 1, texts + 2, texts + 3, row, time[row], value[row]
        )
        before = out + row * DIGEST_BYTES
        blake2b(event, DIGEST_BYTES + size, out + row * DIGEST_BYTES)
    free(event)
