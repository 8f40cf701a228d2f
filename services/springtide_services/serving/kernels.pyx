"""The compiled loop of serving: ranked items as protobuf's bytes, without an object for each item and each field."""

import numpy as np

cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from springtide.arrays cimport float32s

cnp.import_array()


cdef extern from "Python.h":
    unsigned char* PyUnicode_1BYTE_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)


cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define LITTLE(bits) __builtin_bswap32(bits)  /* Floats are little-endian in protobuf. */
    #else
    #define LITTLE(bits) (bits)
    #endif
    """
    uint32_t LITTLE(uint32_t bits) nogil


# Tags: the number of the field, shifted by three, and how it is written: 2 with a length, 5 as 32 bits.
cdef enum:
    ITEMS = 1 << 3 | 2  # Of a response.
    ID = 1 << 3 | 2  # Of an item, like those below.
    SCORE = 2 << 3 | 5
    COSINE = 3 << 3 | 5
    WEIGHTS = 4 << 3 | 2


cdef struct Text:
    const char* bytes
    Py_ssize_t length


def ranked_items(ids, scores, cosines, weights, bytes rest):
    """Return the bytes of a message whose field 1 is a list of items, as ``RecommendResponse`` and its items have them.

    Args:
        ids: Id of each item, a list or tuple of n strings.
        scores: float32 ``[n]``.
        cosines: float32 ``[n]``; None for items that have none.
        weights: float32 ``[n, num_weights]``; None for items that have none.
        rest: The bytes of the message's other fields.

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
    )


cdef bytes _ranked_items(
    list ids,
    Py_ssize_t n,
    Py_ssize_t num_weights,
    const uint32_t* scores,
    const uint32_t* cosines,
    const uint32_t* weights,
    bytes rest,
):
    cdef Text* texts = <Text*> PyMem_Malloc((n + 1) * sizeof(Text))
    cdef Py_ssize_t number, length, total = PyBytes_GET_SIZE(rest)
    cdef list encoded = []  # What `texts` points to stays until the end.
    cdef bytes result
    cdef uint8_t* out
    if texts == NULL:
        raise MemoryError
    try:
        for number in range(n):
            _read(ids[number], &texts[number], encoded)
            length = _item_length(texts[number].length, scores[number], cosines, number, num_weights)
            total += 1 + _varint_length(length) + length
        result = PyBytes_FromStringAndSize(NULL, total)
        out = <uint8_t*> PyBytes_AS_STRING(result)
        for number in range(n):
            length = _item_length(texts[number].length, scores[number], cosines, number, num_weights)
            out = _write_length(out, ITEMS, length)
            if texts[number].length:
                out = _write_length(out, ID, texts[number].length)
                memcpy(out, texts[number].bytes, texts[number].length)
                out += texts[number].length
            if scores[number]:
                out = _write_float(out, SCORE, scores[number])
            if cosines != NULL and cosines[number]:
                out = _write_float(out, COSINE, cosines[number])
            if num_weights:
                out = _write_length(out, WEIGHTS, 4 * num_weights)
                out = _write_floats(out, weights + number * num_weights, num_weights)
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


cdef inline Py_ssize_t _varint_length(Py_ssize_t number) noexcept nogil:
    cdef Py_ssize_t length = 1
    while number >= 128:
        number >>= 7
        length += 1
    return length


cdef inline uint8_t* _write_length(uint8_t* out, uint8_t tag, Py_ssize_t length) noexcept nogil:
    out[0] = tag
    out += 1
    while length >= 128:
        out[0] = <uint8_t> (length & 127 | 128)
        length >>= 7
        out += 1
    out[0] = <uint8_t> length
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
