"""Hashes of events, as compiled loops compute them."""

from libc.stdint cimport uint8_t, uint64_t


cdef extern from *:
    """
    #define FNV_OFFSET 0xCBF29CE484222325ULL  /* FNV-1a of 64 bits. */
    #define FNV_PRIME 0x100000001B3ULL
    #define MIX_1 0xBF58476D1CE4E5B9ULL  /* The finalizer of SplitMix64. */
    #define MIX_2 0x94D049BB133111EBULL
    #define GOLDEN 0x9E3779B97F4A7C15ULL
    """
    const uint64_t FNV_OFFSET
    const uint64_t FNV_PRIME
    const uint64_t MIX_1
    const uint64_t MIX_2
    const uint64_t GOLDEN


cdef inline uint64_t hashed(const uint8_t* text, Py_ssize_t size) noexcept nogil:
    """Return the hash of a text."""
    cdef uint64_t value = FNV_OFFSET
    cdef Py_ssize_t at
    for at in range(size):
        value = (value ^ text[at]) * FNV_PRIME
    return value


cdef inline uint64_t mixed(uint64_t key, uint64_t other) noexcept nogil:
    """Return a hash of two hashes, never 0."""
    cdef uint64_t value = (key ^ other) + GOLDEN
    value = (value ^ (value >> 30)) * MIX_1
    value = (value ^ (value >> 27)) * MIX_2
    value ^= value >> 31
    return value if value else GOLDEN
