"""The compiled loops of serving, which know protobuf's bytes: plain requests read, and ranked items written.

Neither makes an object for each field.
"""

import numpy as np

cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from springtide.arrays cimport float32s

cnp.import_array()


cdef extern from "Python.h":
    unsigned char* PyUnicode_1BYTE_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    str PyUnicode_DecodeUTF8(const char* bytes, Py_ssize_t length, const char* errors)


cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define LITTLE(bits) __builtin_bswap32(bits)  /* Floats are little-endian in protobuf. */
    #else
    #define LITTLE(bits) (bits)
    #endif
    """
    uint32_t LITTLE(uint32_t bits) nogil


# Tags: the number of the field, shifted by three, and how it is written: 0 as a varint, 2 with a length, 5 as 32 bits.
cdef enum:
    USER = 1 << 3 | 2  # Of a request.
    COUNT = 3 << 3
    EXCLUDE_SEEN = 5 << 3 | 2
    VIEW = 11 << 3
    AS_OF_MS = 6 << 3  # Of a response.
    ITEMS = 1 << 3 | 2  # Of a response.
    ID = 1 << 3 | 2  # Of an item, like those below.
    SCORE = 2 << 3 | 5
    COSINE = 3 << 3 | 5
    WEIGHTS = 4 << 3 | 2


cdef struct Text:
    const char* bytes
    Py_ssize_t length


def plain_request(bytes data, int default_count, int max_count, int max_words, int max_word_bytes):
    """Return user, count, ``exclude_seen`` and view of a ``RecommendRequest`` that has no other field.

    None if the request is anything else than that, or has a value that is not within its limits, or is damaged: it is
    left to protobuf, and to who says what is wrong with it.

    Args:
        data: The bytes of the message.
        default_count: The count, if the request gives none.
        max_count: The highest that is allowed.
        max_words: The most words of ``exclude_seen`` that are allowed.
        max_word_bytes: The most bytes of each, and of the user.
    """
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(data)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(data)
    cdef uint64_t number = 0
    cdef uint8_t tag
    cdef int count = default_count, view = 0
    cdef str user = ""
    cdef list words = []
    while at < end:
        tag = at[0]
        at = _read_varint(at + 1, end, &number)
        if at == NULL:
            return None
        if tag == COUNT:
            if number < 1 or number > <uint64_t> max_count:
                return None
            count = <int> number
        elif tag == VIEW:
            if number > 127:
                return None
            view = <int> number
        elif tag == USER or tag == EXCLUDE_SEEN:
            if number > <uint64_t> max_word_bytes or number > <uint64_t> (end - at):
                return None
            try:
                text = PyUnicode_DecodeUTF8(<const char*> at, <Py_ssize_t> number, NULL)
            except UnicodeDecodeError:
                return None
            at += number
            if tag == USER:
                user = text
            elif number == 0 or len(words) >= max_words:
                return None
            else:
                words.append(text)
        else:
            return None
    return user, count, tuple(words), view


cdef inline const uint8_t* _read_varint(const uint8_t* at, const uint8_t* end, uint64_t* number) noexcept nogil:
    """Read a number of at most four bytes, and return where it ends; NULL if it is longer, or the bytes are over."""
    cdef int shift = 0
    cdef uint8_t byte
    number[0] = 0
    while at < end and shift < 28:
        byte = at[0]
        at += 1
        number[0] |= <uint64_t> (byte & 127) << shift
        if byte < 128:
            return at
        shift += 7
    return NULL


def ranked_items(ids, scores, cosines, weights, bytes rest, int64_t as_of_ms=0, list tails=None):
    """Return the bytes of a message whose field 1 is a list of items, as ``RecommendResponse`` and its items have them.

    Args:
        ids: Id of each item, a list or tuple of n strings.
        scores: float32 ``[n]``.
        cosines: float32 ``[n]``; None for items that have none.
        weights: float32 ``[n, num_weights]``; None for items that have none.
        rest: The bytes of the message's other fields.
        as_of_ms: The message's field 6, which differs from answer to answer.
        tails: The bytes of each item's other fields, empty for none; None if no item has any.

    Raises:
        TypeError: If an array is of another type, or an id is no string.
        ValueError: If the lengths differ.
        UnicodeEncodeError: If an id cannot be written as UTF-8.
    """
    cdef Py_ssize_t n = len(ids), num_weights = 0
    cdef const float* cosine_bits = NULL  # Copied bit by bit.
    cdef const float* weight_bits = NULL
    scores = np.ascontiguousarray(scores)
    if cosines is not None:
        cosines = np.ascontiguousarray(cosines)
    if weights is not None:
        weights = np.ascontiguousarray(weights)
        num_weights = weights.size // n if n else 0
    if scores.size != n or (cosines is not None and cosines.size != n) or (
        weights is not None and weights.size != n * num_weights
    ):
        raise ValueError(f"wanted {n} scores, cosines and rows of weights, got {scores.shape}, "
                         f"{getattr(cosines, 'shape', None)} and {getattr(weights, 'shape', None)}")
    if tails is not None and len(tails) != n:
        raise ValueError(f"wanted {n} tails, got {len(tails)}")
    if cosines is not None:
        cosine_bits = float32s(cosines)
    if weights is not None:
        weight_bits = float32s(weights)
    return _ranked_items(
        ids if type(ids) is list else list(ids),
        n,
        num_weights,
        <const uint32_t*> float32s(scores),
        <const uint32_t*> cosine_bits,
        <const uint32_t*> weight_bits,
        rest,
        <uint64_t> as_of_ms,
        tails,
    )


cdef bytes _ranked_items(
    list ids,
    Py_ssize_t n,
    Py_ssize_t num_weights,
    const uint32_t* scores,
    const uint32_t* cosines,
    const uint32_t* weights,
    bytes rest,
    uint64_t as_of_ms,
    list tails,
):
    cdef Text* texts = <Text*> PyMem_Malloc((n + 1) * sizeof(Text))
    cdef Py_ssize_t number, length, total = PyBytes_GET_SIZE(rest)
    cdef list encoded = []  # What `texts` points to stays until the end.
    cdef bytes result, tail = b""
    cdef uint8_t* out
    if texts == NULL:
        raise MemoryError
    try:
        for number in range(n):
            _read(ids[number], &texts[number], encoded)
            length = _item_length(texts[number].length, scores[number], cosines, number, num_weights)
            if tails is not None:
                tail = tails[number]
                length += PyBytes_GET_SIZE(tail)
            total += 1 + _varint_length(length) + length
        if as_of_ms:
            total += 1 + _varint_length(as_of_ms)
        result = PyBytes_FromStringAndSize(NULL, total)
        out = <uint8_t*> PyBytes_AS_STRING(result)
        for number in range(n):
            length = _item_length(texts[number].length, scores[number], cosines, number, num_weights)
            if tails is not None:
                tail = tails[number]
                length += PyBytes_GET_SIZE(tail)
            out = _write_varint(out, ITEMS, length)
            if texts[number].length:
                out = _write_varint(out, ID, texts[number].length)
                memcpy(out, texts[number].bytes, texts[number].length)
                out += texts[number].length
            if scores[number]:
                out = _write_float(out, SCORE, scores[number])
            if cosines != NULL and cosines[number]:
                out = _write_float(out, COSINE, cosines[number])
            if num_weights:
                out = _write_varint(out, WEIGHTS, 4 * num_weights)
                out = _write_floats(out, weights + number * num_weights, num_weights)
            if tails is not None:
                memcpy(out, PyBytes_AS_STRING(tail), PyBytes_GET_SIZE(tail))
                out += PyBytes_GET_SIZE(tail)
        if as_of_ms:
            out = _write_varint(out, AS_OF_MS, as_of_ms)
        memcpy(out, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
    finally:
        PyMem_Free(texts)
    return result


cdef int _read(object text, Text* into, list encoded) except -1:
    """Point to a text's UTF-8; what had to be made for it is appended to ``encoded``."""
    cdef bytes made
    if type(text) is str and PyUnicode_IS_COMPACT_ASCII(text):
        into.bytes, into.length = <const char*> PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text)
        return 0
    if not isinstance(text, str):
        raise TypeError(f"wanted ids as strings, got {text!r}")
    made = text.encode("utf-8")
    encoded.append(made)
    into.bytes, into.length = PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made)
    return 0


cdef inline Py_ssize_t _item_length(
    Py_ssize_t id_length, uint32_t score, const uint32_t* cosines, Py_ssize_t number, Py_ssize_t num_weights
) noexcept nogil:
    """Return the length of an item; a field whose bits are all 0 is not written, as protobuf does it."""
    cdef Py_ssize_t length = 0
    if id_length:
        length += 1 + _varint_length(id_length) + id_length
    if score:
        length += 5
    if cosines != NULL and cosines[number]:
        length += 5
    if num_weights:
        length += 1 + _varint_length(4 * num_weights) + 4 * num_weights
    return length


cdef inline Py_ssize_t _varint_length(uint64_t number) noexcept nogil:
    cdef Py_ssize_t length = 1
    while number >= 128:
        number >>= 7
        length += 1
    return length


cdef inline uint8_t* _write_varint(uint8_t* out, uint8_t tag, uint64_t number) noexcept nogil:
    out[0] = tag
    out += 1
    while number >= 128:
        out[0] = <uint8_t> (number & 127 | 128)
        number >>= 7
        out += 1
    out[0] = <uint8_t> number
    return out + 1


cdef inline uint8_t* _write_float(uint8_t* out, uint8_t tag, uint32_t bits) noexcept nogil:
    out[0] = tag
    return _write_floats(out + 1, &bits, 1)


cdef inline uint8_t* _write_floats(uint8_t* out, const uint32_t* bits, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t number
    cdef uint32_t little
    for number in range(n):
        little = LITTLE(bits[number])
        memcpy(out + 4 * number, &little, 4)
    return out + 4 * n
