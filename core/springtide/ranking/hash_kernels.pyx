"""Hashes of texts that are the same in all processes: of the items that a page token names, and of seeds."""

cimport numpy as cnp
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t, uint64_t

import numpy as np

from springtide.arrays cimport out_uint64s

cnp.import_array()


cdef uint64_t _hash(const char* text, Py_ssize_t length) noexcept nogil:
    """Return FNV-1a's hash of some bytes, its bits mixed as MurmurHash3 does."""
    cdef uint64_t value = 14695981039346656037ULL
    cdef Py_ssize_t at
    for at in range(length):
        value = (value ^ <uint8_t> text[at]) * 1099511628211ULL
    value = (value ^ (value >> 33)) * 18397679294719823053ULL
    value = (value ^ (value >> 33)) * 14181476777654086739ULL
    return value ^ (value >> 33)


def hashes_of(list texts):
    """Return a hash of each text, uint64 ``[n]``: the same in all processes. It is no proof against who wants a clash.

    Raises:
        UnicodeEncodeError: If a text is none that UTF-8 can have.
    """
    cdef Py_ssize_t at, length
    cdef const char* utf8
    found = np.empty(len(texts), np.uint64)
    cdef uint64_t* out = out_uint64s(found)
    for at in range(len(texts)):
        utf8 = PyUnicode_AsUTF8AndSize(texts[at], &length)
        out[at] = _hash(utf8, length)
    return found


def hash_of(bytes content):
    """Return the hash of some bytes, below 2^64."""
    return _hash(<const char*> content, len(content))
