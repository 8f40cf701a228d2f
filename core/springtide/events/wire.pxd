"""Reading protobuf's wire format: what is as every library writes it. Of anything else, the readers return false.

A position moves only past what was read, and nothing past ``end`` is looked at.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy


cdef extern from *:
    """
    #define HIGH_BITS 0x8080808080808080ULL
    """
    const uint64_t HIGH_BITS


ctypedef struct Span:
    const uint8_t* start
    const uint8_t* stop


cdef inline bint read_varint(const uint8_t** at, const uint8_t* end, uint64_t* number) noexcept nogil:
    """Read a number of at most 64 bits that takes no more bytes than it must."""
    cdef const uint8_t* position = at[0]
    cdef uint64_t byte, value
    cdef int shift = 7
    if position >= end:
        return False
    value = position[0]
    position += 1
    if value > 127:
        value &= 127
        while True:
            if position >= end or shift > 63:
                return False
            byte = position[0]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if byte == 0 or (shift == 63 and byte > 1):
            return False
    number[0] = value
    at[0] = position
    return True


cdef inline bint read_span(const uint8_t** at, const uint8_t* end, Span* span) noexcept nogil:
    """Read a size, and the bytes that follow."""
    cdef uint64_t size = 0
    if not read_varint(at, end, &size) or size > <uint64_t> (end - at[0]):
        return False
    span.start = at[0]
    span.stop = at[0] + size
    at[0] = span.stop
    return True


cdef inline bint read_once(const uint8_t** at, const uint8_t* end, Span* span) noexcept nogil:
    """Read a field that may stand once: a second one would replace it, or be merged with it."""
    return span.start == NULL and read_span(at, end, span)


cdef inline bint is_utf8(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Return whether bytes are UTF-8, as RFC 3629 has it."""
    cdef uint64_t word
    cdef uint8_t first, second
    cdef int size
    while at < end:
        if end - at >= 8:
            memcpy(&word, at, 8)
            if not word & HIGH_BITS:
                at += 8
                continue
        first = at[0]
        if first < 0x80:
            at += 1
            continue
        size = 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 0
        if size == 0 or end - at < size:
            return False
        second = at[1]
        if second & 0xC0 != 0x80:
            return False
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
            return False
        if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
            return False
        if size > 2 and at[2] & 0xC0 != 0x80:
            return False
        if size > 3 and at[3] & 0xC0 != 0x80:
            return False
        at += size
    return True


cdef inline bint begins_visibly(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Return whether UTF-8 begins with a character that is surely no space; an empty text does not."""
    if at >= end:
        return False
    if at[0] < 0x80:
        return at[0] > 0x20
    if end - at < 2:
        return False
    # The spaces of Unicode begin with c2 85, c2 a0, e1 9a, e2 80, e2 81 and e3 80.
    if at[0] == 0xC2:
        return at[1] != 0x85 and at[1] != 0xA0
    if at[0] == 0xE1:
        return at[1] != 0x9A
    if at[0] == 0xE2:
        return at[1] > 0x81
    return at[0] != 0xE3 or at[1] != 0x80


cdef inline bint is_id(const Span* span, Py_ssize_t max_bytes) noexcept nogil:
    """Return whether a text is surely a good id."""
    return (
        span.stop - span.start <= max_bytes
        and begins_visibly(span.start, span.stop)
        and is_utf8(span.start, span.stop)
    )


cdef inline bint read_time(const Span* span, int64_t* timestamp_ms) noexcept nogil:
    """Read a Timestamp from 1970 on as milliseconds."""
    cdef const uint8_t* at = span.start
    cdef uint64_t seconds = 0, nanos = 0
    cdef bint has_seconds = False, has_nanos = False
    while at < span.stop:
        if at[0] == 0x08 and not has_seconds:
            at += 1
            has_seconds = read_varint(&at, span.stop, &seconds)
            if not has_seconds or seconds >= 1ULL << 40:
                return False
        elif at[0] == 0x10 and not has_nanos:
            at += 1
            has_nanos = read_varint(&at, span.stop, &nanos)
            if not has_nanos or nanos >= 1_000_000_000:
                return False
        else:
            return False
    timestamp_ms[0] = <int64_t> (seconds * 1_000 + nanos // 1_000_000)
    return True
