"""A table that gives distinct texts codes in the order in which they come; the texts are kept one after another."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy

from springtide.events.hashing cimport GOLDEN, mixed


cdef enum:
    FIRST_SLOTS = 64
    FIRST_BYTES = 1_024
    HASH_SHIFT = 32  # A slot has half of the text's hash above the code, counted from 1; 0 if it is free.


ctypedef struct TextTable:
    uint8_t* texts
    int64_t* offsets  # Where each text begins, and where the last one ends.
    uint64_t* slots  # At most half of them are in use, and as many texts have room.
    int64_t num_bytes
    int64_t num  # Of texts.
    uint64_t mask
    uint64_t seed


cdef inline bint make_table(TextTable* table, uint64_t seed) noexcept nogil:
    """Make an empty table; return whether there was memory for it."""
    table.num = 0
    table.num_bytes = FIRST_BYTES
    table.mask = FIRST_SLOTS - 1
    table.seed = seed
    table.texts = <uint8_t*> malloc(FIRST_BYTES)
    table.offsets = <int64_t*> malloc((FIRST_SLOTS // 2 + 1) * sizeof(int64_t))
    table.slots = <uint64_t*> calloc(FIRST_SLOTS, sizeof(uint64_t))
    if table.texts == NULL or table.offsets == NULL or table.slots == NULL:
        return False
    table.offsets[0] = 0
    return True


cdef inline void free_table(TextTable* table) noexcept nogil:
    free(table.texts)
    free(table.offsets)
    free(table.slots)


cdef inline uint64_t _quick_hash(uint64_t seed, const uint8_t* text, Py_ssize_t size) noexcept nogil:
    """Return a hash of a text, 8 bytes at a time; others than this process do not know the seed."""
    cdef uint64_t value = seed ^ <uint64_t> size, word
    cdef Py_ssize_t at = 0
    while size - at >= 8:
        memcpy(&word, text + at, 8)
        value = mixed(value, word)
        at += 8
    word = 0
    while at < size:
        word = (word << 8) | text[at]
        at += 1
    return mixed(value * GOLDEN, word)


cdef inline bint _grow(TextTable* table) noexcept nogil:
    """Double the slots; the upper halves of hashes are in them, so that no text is hashed again."""
    cdef uint64_t mask = 2 * table.mask + 1, at, slot
    cdef uint64_t* slots = <uint64_t*> calloc(mask + 1, sizeof(uint64_t))
    cdef int64_t* offsets = <int64_t*> realloc(table.offsets, ((mask + 1) // 2 + 1) * sizeof(int64_t))
    if offsets != NULL:
        table.offsets = offsets
    if slots == NULL or offsets == NULL:
        free(slots)
        return False
    for at in range(table.mask + 1):
        if table.slots[at]:
            slot = (table.slots[at] >> HASH_SHIFT) & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = table.slots[at]
    free(table.slots)
    table.slots = slots
    table.mask = mask
    return True


cdef inline int32_t code_of(TextTable* table, const uint8_t* text, Py_ssize_t size) noexcept nogil:
    """Return the code of a text, which is added if it is new; -1 if there is no memory for it."""
    cdef uint64_t half = _quick_hash(table.seed, text, size) >> HASH_SHIFT, slot = half & table.mask, entry
    cdef int64_t code, start, num_bytes
    cdef uint8_t* texts
    while table.slots[slot]:
        entry = table.slots[slot]
        if entry >> HASH_SHIFT == half:
            code = <int64_t> <uint32_t> entry - 1
            start = table.offsets[code]
            if table.offsets[code + 1] - start == size and memcmp(table.texts + start, text, size) == 0:
                return <int32_t> code
        slot = (slot + 1) & table.mask
    if 2 * <uint64_t> (table.num + 1) > table.mask + 1:
        if not _grow(table):
            return -1
        slot = half & table.mask
        while table.slots[slot]:
            slot = (slot + 1) & table.mask
    start = table.offsets[table.num]
    if start + size > table.num_bytes:
        num_bytes = 2 * (start + size)
        texts = <uint8_t*> realloc(table.texts, num_bytes)
        if texts == NULL:
            return -1
        table.texts = texts
        table.num_bytes = num_bytes
    memcpy(table.texts + start, text, size)
    code = table.num
    table.num += 1
    table.offsets[table.num] = start + size
    table.slots[slot] = (half << HASH_SHIFT) | <uint64_t> (code + 1)
    return <int32_t> code
