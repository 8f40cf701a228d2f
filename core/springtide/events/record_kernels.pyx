"""Reads the records of Kafka's record format 2, which have nothing unusual in them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t

from springtide.events.raw import RawEvent


cdef object _make = tuple.__new__  # RawEvent's own constructor takes twice as long.
cdef object _RawEvent = RawEvent


cdef inline bint _read(const uint8_t** at, const uint8_t* end, int64_t* number) noexcept nogil:
    """Read a zigzag varint: 7 bits a byte, the lowest first, the sign in bit 0; false if it is not one of 64 bits."""
    cdef const uint8_t* position = at[0]
    cdef uint64_t value = 0, byte
    cdef int shift = 0
    while position < end and shift < 63:
        byte = position[0]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            number[0] = <int64_t> (value >> 1) ^ -<int64_t> (value & 1)
            at[0] = position
            return True
        shift += 7
    return False


cdef inline object _slice(const uint8_t** at, int64_t size):
    """Return the next bytes; None for a size of -1."""
    cdef const uint8_t* start = at[0]
    if size < 0:
        return None
    at[0] = start + size
    return PyBytes_FromStringAndSize(<const char*> start, size)


cdef inline bint _read_size(const uint8_t** at, const uint8_t* end, int64_t* size) noexcept nogil:
    """Read the size of what follows, -1 for none; false if there is less of it."""
    return _read(at, end, size) and -1 <= size[0] <= end - at[0]


cdef object _read_headers(const uint8_t** at, const uint8_t* end):
    """Read as many headers as the number before them says; None if they are not as they should be."""
    cdef int64_t count, size
    if not _read(at, end, &count) or count < 0 or count > end - at[0]:
        return None
    headers = []
    for _ in range(count):
        if not _read_size(at, end, &size) or size < 0:
            return None
        name = _slice(at, size)
        if not _read_size(at, end, &size):
            return None
        try:
            headers.append((name.decode(), _slice(at, size)))
        except UnicodeDecodeError:
            return None
    return headers


def read_records(
    bytes data, int64_t count, str topic, int partition, int64_t base_offset, int64_t first_timestamp_ms, append_time_ms
):
    """Read the records of a batch, uncompressed and without its header.

    A record is: size, attributes (one byte), time after the first, offset after the first, key's size, key, value's
    size, value, number of headers, headers. All numbers are zigzag varints.

    Args:
        data: The records.
        count: Number of records.
        topic: Topic that it was read from.
        partition: Partition that it was read from.
        base_offset: Offset that those of the records are counted from.
        first_timestamp_ms: Time that those of the records are counted from.
        append_time_ms: Time of all records by the broker's clock; None if each has its own.

    Returns:
        The records as RawEvents; None if anything in them is unusual.
    """
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(data)
    cdef const uint8_t* all_end = <const uint8_t*> PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
    cdef const uint8_t* end
    cdef int64_t size, time, offset, at_ms
    cdef bint is_appended = append_time_ms is not None
    cdef list records = []
    cdef tuple no_headers = ()
    cdef object key, value, headers
    for _ in range(count):
        if not _read_size(&at, all_end, &size) or size < 1:
            return None
        end = at + size
        if at[0]:  # Attributes, which no version of Kafka sets.
            return None
        at += 1
        if not _read(&at, end, &time) or not _read(&at, end, &offset) or not _read_size(&at, end, &size):
            return None
        key = _slice(&at, size)
        if not _read_size(&at, end, &size):
            return None
        value = _slice(&at, size)
        headers = no_headers
        if at < end and at[0] == 0:
            at += 1
        else:
            headers = _read_headers(&at, end)
            if headers is None:
                return None
        if at != end:
            return None
        at_ms = first_timestamp_ms + time
        records.append(
            _make(_RawEvent, (
                value, key, headers, topic, partition, base_offset + offset, append_time_ms if is_appended else at_ms,
            ))
        )
    return records if at == all_end else None
