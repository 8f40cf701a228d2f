"""BLAKE2b of 16 bytes without a key (RFC 7693): ``hashlib.blake2b(..., digest_size=16)`` of rows by the million."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset


cdef extern from *:
    """
    static const uint64_t BLAKE2B_IV[8] = {
        0x6A09E667F3BCC908ULL, 0xBB67AE8584CAA73BULL, 0x3C6EF372FE94F82BULL, 0xA54FF53A5F1D36F1ULL,
        0x510E527FADE682D1ULL, 0x9B05688C2B3E6C1FULL, 0x1F83D9ABFB41BD6BULL, 0x5BE0CD19137E2179ULL};
    static const uint8_t BLAKE2B_SIGMA[10][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};
    """
    const uint64_t* BLAKE2B_IV
    const uint8_t (*BLAKE2B_SIGMA)[16]


cdef enum:
    BLOCK_BYTES = 128
    DIGEST_BYTES = 16
    ROUNDS = 12
    PARAMETERS = 0x01010010  # A digest of 16 bytes, no key, no tree.


cdef inline uint64_t _rotated(uint64_t word, int count) noexcept nogil:
    return (word >> count) | (word << (64 - count))


cdef inline void _mix(uint64_t* v, int a, int b, int c, int d, uint64_t x, uint64_t y) noexcept nogil:
    v[a] += v[b] + x
    v[d] = _rotated(v[d] ^ v[a], 32)
    v[c] += v[d]
    v[b] = _rotated(v[b] ^ v[c], 24)
    v[a] += v[b] + y
    v[d] = _rotated(v[d] ^ v[a], 16)
    v[c] += v[d]
    v[b] = _rotated(v[b] ^ v[c], 63)


cdef inline void _compress(uint64_t* state, const uint8_t* block, uint64_t num_bytes, bint is_last) noexcept nogil:
    cdef uint64_t v[16]
    cdef uint64_t m[16]
    cdef int number, at
    cdef const uint8_t* s
    memcpy(m, block, BLOCK_BYTES)  # Words have their lowest byte first, as on every machine that wheels are built for.
    for at in range(8):
        v[at], v[at + 8] = state[at], BLAKE2B_IV[at]
    v[12] ^= num_bytes
    if is_last:
        v[14] = ~v[14]
    for number in range(ROUNDS):
        s = BLAKE2B_SIGMA[number % 10]
        for at in range(4):
            _mix(v, at, at + 4, at + 8, at + 12, m[s[2 * at]], m[s[2 * at + 1]])
        for at in range(4):
            _mix(v, at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4, m[s[2 * at + 8]], m[s[2 * at + 9]])
    for at in range(8):
        state[at] ^= v[at] ^ v[at + 8]


cdef inline void blake2b(const uint8_t* text, Py_ssize_t size, uint8_t* digest) noexcept nogil:
    """Write the digest of a text, 16 bytes."""
    cdef uint64_t state[8]
    cdef uint8_t block[BLOCK_BYTES]
    cdef Py_ssize_t done = 0
    memcpy(state, BLAKE2B_IV, sizeof(state))
    state[0] ^= PARAMETERS
    while size - done > BLOCK_BYTES:
        _compress(state, text + done, done + BLOCK_BYTES, False)
        done += BLOCK_BYTES
    memset(block, 0, BLOCK_BYTES)
    memcpy(block, text + done, size - done)
    _compress(state, block, size, True)
    memcpy(digest, state, DIGEST_BYTES)
