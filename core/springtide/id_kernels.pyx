"""The table behind ``springtide.ids``: texts in one byte pool, and an open-addressing hash table from a text to its row.

Each row has a span of the pool, where its text lies in UTF-8; that of a forgotten one has no bytes. A slot
of the hash table holds a row with 32 bits of its text's hash; what collides moves to the next slot (linear probing), and
an entry that leaves is filled up from behind, so there are no marks of deleted entries. A search begins at the slot that
lies as far along the table as the hash along its range, so a table may have any number of slots, not only a power of two:
a million ids take 10 MB of slots in place of 17. The hash is SipHash-1-3 with a
random key for each process: senders choose ids, and must not be able to choose ids that collide.

No method lets another thread run while the table changes: a reader finds a text with its row, or not at all.
"""

import os

cimport numpy as cnp
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.ref cimport Py_INCREF
from cpython.sequence cimport PySequence_Fast, PySequence_Fast_GET_SIZE, PySequence_Fast_ITEMS
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from springtide.arrays cimport int32s, int64s, out_int32s, out_int64s, uint8s

cnp.import_array()


cdef extern from "Python.h":
    ctypedef struct PyObject
    int PyUnicode_Check(PyObject* object)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Without the empty statement, gcc leaves out calls of functions that do nothing else. */
    #define PREFETCH(address) do { __builtin_prefetch(address); __asm__ volatile(""); } while (0)

    static inline uint64_t eight_bytes(const char *text) {
        uint64_t word;
        memcpy(&word, text, 8);
        return word;
    }

    static inline int are_same_bytes(const char *a, const char *b, size_t length) {
        /* Ids are short: a call of memcmp takes longer than the comparison. */
        size_t at = 0;
        if (length > 64)
            return memcmp(a, b, length) == 0;
        if (length < 8) {
            for (; at < length; at++)
                if (a[at] != b[at])
                    return 0;
            return 1;
        }
        for (; at + 8 < length; at += 8)
            if (eight_bytes(a + at) != eight_bytes(b + at))
                return 0;
        return eight_bytes(a + length - 8) == eight_bytes(b + length - 8);
    }

    static inline uint64_t last_bytes(const char *text, size_t length) {
        /* The last bytes, less than eight, that no whole word of eight has; the first one lowest, as in a word. */
        size_t rest = length % 8, at = length - rest;
        uint64_t word = 0;
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        if (length >= 8)
            return rest ? eight_bytes(text + length - 8) >> (64 - 8 * rest) : 0;
    #endif
        for (; at < length; at++)
            word |= (uint64_t) (uint8_t) text[at] << (8 * (at % 8));
        return word;
    }
    """
    bint are_same_bytes(const char* a, const char* b, size_t length) noexcept nogil
    uint64_t last_bytes(const char* text, size_t length) noexcept nogil
    void PREFETCH(const void* address) noexcept nogil


cdef struct Slot:
    uint32_t hash
    int32_t row  # -1 where there is no entry.


cdef packed struct Span:  # 12 bytes, and one line of memory for both where there were two.
    int64_t start
    uint32_t length


cdef enum:
    MIN_SLOTS = 8
    CHUNK = 32  # Texts that are looked up side by side: their slots come from memory at the same time.
    MIN_POOL = 4_096  # Bytes; a pool smaller than that is not worth compacting.

cdef uint64_t KEY_0, KEY_1
KEY_0, KEY_1 = (int.from_bytes(os.urandom(8), "little") for _ in range(2))


cdef class IdTable:
    """Ids and their rows: what ``springtide.ids.IdMap`` is, but for the form of what it starts from."""

    cdef char* pool
    cdef size_t pool_size, pool_room, pool_dead  # Bytes: in use or dead, allocated, dead.
    cdef Span* spans  # By row.
    cdef Py_ssize_t size, rows_room  # Rows.
    cdef Slot* slots
    cdef size_t num_slots  # Any number; 0 at first.
    cdef readonly Py_ssize_t num_known
    cdef int32_t* released  # Rows to give away again, the last one first.
    cdef readonly Py_ssize_t num_released
    cdef Py_ssize_t released_room
    cdef int64_t* reuse  # By row, the number of its latest reuse; 0 for none.
    cdef Py_ssize_t reuse_room
    cdef readonly int64_t num_reuses

    def __dealloc__(self):
        PyMem_RawFree(self.pool)
        PyMem_RawFree(self.spans)
        PyMem_RawFree(self.slots)
        PyMem_RawFree(self.released)
        PyMem_RawFree(self.reuse)

    def __len__(self):
        """Number of rows, those of forgotten ids included."""
        return self.size

    @property
    def nbytes(self):
        """Bytes that the table holds."""
        return (
            self.pool_room + self.rows_room * sizeof(Span) + self.num_slots * sizeof(Slot)
            + self.released_room * sizeof(int32_t) + self.reuse_room * sizeof(int64_t)
        )

    def row(self, str id_ not None):
        """Return the id's row, or -1 if it is unknown."""
        cdef Py_ssize_t length
        cdef const char* text
        try:
            text = PyUnicode_AsUTF8AndSize(id_, &length)
        except UnicodeEncodeError:
            return -1  # Half a surrogate pair: no id has one.
        return self.find(text, length, hash_of(text, length))

    def rows(self, ids):
        """Return the rows of the ids, int32 ``[n]``, -1 where unknown."""
        cdef object fast = PySequence_Fast(ids, "wanted a sequence of ids")
        cdef cnp.ndarray rows = np.empty(PySequence_Fast_GET_SIZE(fast), np.int32)
        self.find_strings(fast, out_int32s(rows), False)
        return rows

    def intern(self, ids):
        """Return the rows of the ids, int32 ``[n]``; unknown ids get released rows, and after these the next ones.

        Raises:
            ValueError: If an id is empty; those before it keep their rows.
        """
        cdef object fast = PySequence_Fast(ids, "wanted a sequence of ids")
        cdef cnp.ndarray rows = np.empty(PySequence_Fast_GET_SIZE(fast), np.int32)
        self.find_strings(fast, out_int32s(rows), True)
        return rows

    def rows_in(self, IdTable other not None, numbers):
        """Return which rows another table has for the ids of some rows of this one, int32 ``[n]``, -1 where none.

        Args:
            other: The other table.
            numbers: Integers ``[n]``, rows of this table; negative for no id.
        """
        cdef cnp.ndarray rows = np.ascontiguousarray(numbers, np.int64)
        cdef cnp.ndarray found = np.empty(rows.size, np.int32)
        cdef const int64_t* wanted = int64s(rows)
        cdef int32_t* out = out_int32s(found)
        cdef Py_ssize_t at, index, num, count = rows.size
        cdef const char* texts[CHUNK]
        cdef Py_ssize_t lengths[CHUNK]
        for index in range(count):
            if wanted[index] >= self.size:
                raise IndexError(f"wanted rows below {self.size}, got {wanted[index]}")
        for at in range(0, count, CHUNK):
            num = min(<Py_ssize_t> CHUNK, count - at)
            for index in range(num):
                texts[index], lengths[index] = NULL, 0
                if wanted[at + index] >= 0:
                    texts[index] = self.pool + self.spans[wanted[at + index]].start
                    lengths[index] = self.spans[wanted[at + index]].length
            other.find_chunk(texts, lengths, num, out + at, False)
        return found

    def rows_packed(self, cnp.ndarray utf8, cnp.ndarray offsets):
        """Return the rows of packed ids, int32 ``[n]``, -1 where unknown.

        Args:
            utf8: uint8 ``[num_bytes]``.
            offsets: int64 ``[n + 1]``, where each id begins in ``utf8``, and where the last one ends.
        """
        check_packed(utf8, offsets)
        cdef cnp.ndarray rows = np.empty(len(offsets) - 1, np.int32)
        self.find_texts(<const char*> uint8s(utf8), int64s(offsets), len(rows), out_int32s(rows), False)
        return rows

    def intern_packed(self, cnp.ndarray utf8, cnp.ndarray offsets):
        """Return the rows of packed ids, as ``intern`` does.

        Raises:
            ValueError: If an id is empty or no UTF-8; those before it keep their rows.
        """
        check_packed(utf8, offsets)
        cdef cnp.ndarray rows = np.empty(len(offsets) - 1, np.int32)
        self.find_texts(<const char*> uint8s(utf8), int64s(offsets), len(rows), out_int32s(rows), True)
        return rows

    def append_packed(self, cnp.ndarray utf8, cnp.ndarray offsets):
        """Append rows for texts that are not in the table; an empty one is a forgotten row.

        To an empty table, which nobody else may know yet, they are appended while other Python threads run.

        Raises:
            ValueError: If a text stands twice, or is no UTF-8; those before it keep their rows.
        """
        check_packed(utf8, offsets)
        cdef const char* texts = <const char*> uint8s(utf8)
        cdef const int64_t* bounds = int64s(offsets)
        cdef Py_ssize_t index, count = len(offsets) - 1, length
        cdef const char* text
        cdef uint32_t hash_
        self.make_room(count, bounds[count] - bounds[0])
        if self.size == 0 and self.pool_size == 0:
            index = self.fill(texts, bounds, count)
            if index < count:
                check_utf8(texts + bounds[index], bounds[index + 1] - bounds[index])
                raise ValueError("wanted distinct ids, got one twice")
            return
        for index in range(count):
            text, length = texts + bounds[index], bounds[index + 1] - bounds[index]
            if length == 0:
                self.spans[self.size] = Span(self.pool_size, 0)
                self.size += 1
                continue
            hash_ = hash_of(text, length)
            if self.find(text, length, hash_) >= 0:
                raise ValueError("wanted distinct ids, got one twice")
            check_utf8(text, length)
            self.put(self.size, text, length, hash_)

    def id(self, Py_ssize_t row):
        """Return the row's id; empty if it was forgotten."""
        if not 0 <= row < self.size:
            raise IndexError(f"wanted a row below {self.size}, got {row}")
        return self.text(row)

    def ids(self, rows):
        """Return the ids of the rows; an empty string for a forgotten one."""
        cdef cnp.ndarray array = np.ascontiguousarray(rows, np.int64)
        cdef const int64_t* numbers = int64s(array)
        cdef Py_ssize_t index, count = array.size
        for index in range(count):
            if not 0 <= numbers[index] < self.size:
                raise IndexError(f"wanted rows below {self.size}, got {numbers[index]}")
        return self.texts(numbers, count)

    def all_ids(self):
        """Return all ids in row order; an empty string for each forgotten one."""
        return self.texts(NULL, self.size)

    def packed(self, Py_ssize_t start, Py_ssize_t stop):
        """Return the texts of rows ``start`` to ``stop`` as ``(utf8, offsets)``; rows past the last one are left out."""
        stop = min(stop, self.size)
        start = min(max(start, 0), stop)
        cdef cnp.ndarray offsets = np.empty(stop - start + 1, np.int64)
        cdef int64_t* bounds = out_int64s(offsets)
        cdef Py_ssize_t row
        bounds[0] = 0
        for row in range(start, stop):
            bounds[row - start + 1] = bounds[row - start] + self.spans[row].length
        cdef cnp.ndarray utf8 = np.empty(bounds[stop - start], np.uint8)
        cdef char* out = <char*> cnp.PyArray_DATA(utf8)
        for row in range(start, stop):
            memcpy(out + bounds[row - start], self.pool + self.spans[row].start, self.spans[row].length)
        return utf8, offsets

    def forgotten_rows(self, Py_ssize_t count):
        """Return the rows below ``count`` that have no id now, int64 ``[n]``, ascending."""
        cdef Py_ssize_t row, found = 0, limit = min(count, self.size)
        if self.num_known == self.size:
            return np.empty(0, np.int64)
        for row in range(limit):
            found += self.spans[row].length == 0
        cdef cnp.ndarray rows = np.empty(found, np.int64)
        cdef int64_t* out = out_int64s(rows)
        found = 0
        for row in range(limit):
            if self.spans[row].length == 0:
                out[found] = row
                found += 1
        return rows

    def reused_since(self, int64_t num_reuses, Py_ssize_t count):
        """Return the rows below ``count`` that have been given to another id since ``num_reuses``, int64, ascending."""
        cdef Py_ssize_t row, found = 0, limit = min(count, self.reuse_room)
        if num_reuses == self.num_reuses:
            return np.empty(0, np.int64)
        for row in range(limit):
            found += self.reuse[row] > num_reuses
        cdef cnp.ndarray rows = np.empty(found, np.int64)
        cdef int64_t* out = out_int64s(rows)
        found = 0
        for row in range(limit):
            if self.reuse[row] > num_reuses:
                out[found] = row
                found += 1
        return rows

    def reuse_of(self, Py_ssize_t row):
        """Return the number of the row's latest reuse: how many rows had been given away again by then; 0 for none."""
        return self.reuse[row] if 0 <= row < self.reuse_room else 0

    def forget(self, Py_ssize_t row):
        """Forget the row's id; the same id would get another row, and the row stays empty until it is released."""
        if not 0 <= row < self.size:
            raise IndexError(f"wanted a row below {self.size}, got {row}")
        if self.spans[row].length == 0:
            return
        self.remove_slot(row)
        self.num_known -= 1
        self.pool_dead += self.spans[row].length
        self.spans[row].length = 0
        if self.pool_dead * 2 > self.pool_size and self.pool_size > MIN_POOL:
            self.compact()

    def release(self, rows):
        """Let rows of forgotten ids, which nobody uses any more, be given to new ids; each row at most once."""
        cdef Py_ssize_t row
        for row in list(rows):
            if not 0 <= row < self.size or self.spans[row].length:
                raise ValueError(f"wanted a forgotten row, got {row}")
            if self.num_released == self.released_room:
                self.released = <int32_t*> longer(self.released, &self.released_room, 1, sizeof(int32_t))
            self.released[self.num_released] = <int32_t> row
            self.num_released += 1

    cdef int find_strings(self, object ids, int32_t* rows, bint adds) except -1:
        """Find the rows of strings, chunk by chunk; with ``adds``, unknown ones get rows."""
        cdef PyObject** items = <PyObject**> PySequence_Fast_ITEMS(ids)
        cdef Py_ssize_t count = PySequence_Fast_GET_SIZE(ids), at, index, num
        cdef const char* texts[CHUNK]
        cdef Py_ssize_t lengths[CHUNK]
        cdef object failure = None
        for at in range(0, count, CHUNK):
            num = min(<Py_ssize_t> CHUNK, count - at)
            for index in range(num):
                if not PyUnicode_Check(items[at + index]):
                    raise TypeError(f"wanted ids as str, got {(<object> items[at + index])!r}")
                try:
                    texts[index] = PyUnicode_AsUTF8AndSize(<object> items[at + index], &lengths[index])
                except UnicodeEncodeError as error:
                    texts[index], lengths[index] = b"", 0  # Unknown, and refused like an empty one.
                    failure = failure or error
            try:
                self.find_chunk(texts, lengths, num, rows + at, adds)
            except ValueError as error:
                raise failure or error from None
        return 0

    cdef int find_texts(
        self, const char* utf8, const int64_t* offsets, Py_ssize_t count, int32_t* rows, bint adds
    ) except -1:
        """Find the rows of packed texts, chunk by chunk; with ``adds``, unknown ones get rows."""
        cdef Py_ssize_t at, index, num
        cdef const char* texts[CHUNK]
        cdef Py_ssize_t lengths[CHUNK]
        for at in range(0, count, CHUNK):
            num = min(<Py_ssize_t> CHUNK, count - at)
            for index in range(num):
                texts[index] = utf8 + offsets[at + index]
                lengths[index] = offsets[at + index + 1] - offsets[at + index]
            self.find_chunk(texts, lengths, num, rows + at, adds)
        return 0

    cdef int find_chunk(
        self, const char** texts, const Py_ssize_t* lengths, Py_ssize_t num, int32_t* rows, bint adds
    ) except -1:
        """Find the rows of up to ``CHUNK`` texts: each step waits for memory once for all of them."""
        cdef uint32_t hashes[CHUNK]
        cdef Py_ssize_t index
        cdef int32_t row
        for index in range(num):
            hashes[index] = hash_of(texts[index], lengths[index])
            if self.num_slots:
                PREFETCH(&self.slots[home_of(hashes[index], self.num_slots)])
        for index in range(num):
            rows[index] = self.likely_row(hashes[index])
            if rows[index] >= 0:
                PREFETCH(&self.spans[rows[index]])
        for index in range(num):
            if rows[index] >= 0:
                PREFETCH(self.pool + self.spans[rows[index]].start)
        for index in range(num):
            row = rows[index]
            if row < 0 or not self.has(row, texts[index], lengths[index]):  # It may have been added with this chunk.
                row = self.find(texts[index], lengths[index], hashes[index])
            if row < 0 and adds:
                row = self.add(texts[index], lengths[index], hashes[index])
            rows[index] = row
        return 0

    cdef inline int32_t likely_row(self, uint32_t hash_) noexcept nogil:
        """Return the first row with a hash: that of the text, unless two texts have the same hash; or -1."""
        cdef size_t at = home_of(hash_, self.num_slots)
        if self.num_slots == 0:
            return -1
        while self.slots[at].row >= 0 and self.slots[at].hash != hash_:
            at = at + 1 if at + 1 < self.num_slots else 0
        return self.slots[at].row

    cdef inline bint has(self, int32_t row, const char* text, Py_ssize_t length) noexcept nogil:
        """Return whether a row's text is this one; an empty one is no row's."""
        return (
            length > 0
            and self.spans[row].length == <size_t> length
            and are_same_bytes(self.pool + self.spans[row].start, text, length)
        )

    cdef Py_ssize_t fill(self, const char* texts, const int64_t* bounds, Py_ssize_t count) except -1:
        """Fill the empty table, which has room; return the first row whose text is no UTF-8 or stands twice, or count.

        Their slots come from memory side by side, as in ``find_chunk``.
        """
        cdef uint32_t hashes[CHUNK]
        cdef Py_ssize_t at, index, num, row
        cdef size_t slot, num_slots = self.num_slots
        cdef int64_t first = bounds[0]
        cdef size_t num_bytes = bounds[count] - first
        cdef bint is_plain = False, is_first = True
        with nogil:
            memcpy(self.pool, texts + first, num_bytes)
            is_plain = is_ascii(self.pool, num_bytes)
            for row in range(count):
                self.spans[row] = Span(bounds[row] - first, <uint32_t> (bounds[row + 1] - bounds[row]))
                is_plain &= bounds[row + 1] - bounds[row] <= INT32_MAX
        if not is_plain:
            for row in range(count):
                try:
                    check_utf8(self.pool + self.spans[row].start, bounds[row + 1] - bounds[row])
                except ValueError:
                    count = row
                    break
        with nogil:
            at = 0
            while at < count and is_first:
                num = min(<Py_ssize_t> CHUNK, count - at)
                for index in range(num):
                    hashes[index] = hash_of(self.pool + self.spans[at + index].start, self.spans[at + index].length)
                    PREFETCH(&self.slots[home_of(hashes[index], num_slots)])
                for index in range(num):
                    row = at + index
                    if self.spans[row].length == 0:
                        continue
                    slot = home_of(hashes[index], num_slots)
                    while self.slots[slot].row >= 0 and is_first:
                        is_first = self.slots[slot].hash != hashes[index] or not self.are_same(
                            self.slots[slot].row, row
                        )
                        slot = slot + 1 if slot + 1 < num_slots else 0
                    if not is_first:
                        count = row
                        break
                    self.slots[slot] = Slot(hashes[index], <int32_t> row)
                    self.num_known += 1
                at += num
        self.size = count
        self.pool_size = self.spans[count - 1].start + self.spans[count - 1].length if count else 0
        return count

    cdef bint are_same(self, Py_ssize_t row, Py_ssize_t other) noexcept nogil:
        return (
            self.spans[row].length == self.spans[other].length
            and are_same_bytes(
                self.pool + self.spans[row].start, self.pool + self.spans[other].start, self.spans[row].length
            )
        )

    cdef int32_t find(self, const char* text, Py_ssize_t length, uint32_t hash_) noexcept:
        cdef size_t at = home_of(hash_, self.num_slots)
        cdef int32_t row
        if self.num_slots == 0 or length == 0:
            return -1
        while True:
            row = self.slots[at].row
            if row < 0:
                return -1
            if self.slots[at].hash == hash_ and self.has(row, text, length):
                return row
            at = at + 1 if at + 1 < self.num_slots else 0

    cdef int32_t add(self, const char* text, Py_ssize_t length, uint32_t hash_) except -1:
        """Give a text that is not in the table a released row, or else the next one."""
        if length == 0:
            raise ValueError("wanted an id, got an empty string")
        check_utf8(text, length)
        self.make_room(1, length)
        if self.num_released == 0:
            return self.put(self.size, text, length, hash_)
        cdef Py_ssize_t row = self.released[self.num_released - 1], room = self.reuse_room
        if row >= room:
            self.reuse = <int64_t*> longer(self.reuse, &self.reuse_room, row + 1 - room, sizeof(int64_t))
            memset(self.reuse + room, 0, (self.reuse_room - room) * sizeof(int64_t))
        self.num_released -= 1
        self.num_reuses += 1
        self.reuse[row] = self.num_reuses
        return self.put(row, text, length, hash_)

    cdef int32_t put(self, Py_ssize_t row, const char* text, Py_ssize_t length, uint32_t hash_) noexcept:
        """Write a text to a row, the next one or a forgotten one; there is room for it."""
        memcpy(self.pool + self.pool_size, text, length)
        self.spans[row] = Span(self.pool_size, <uint32_t> length)
        self.pool_size += length
        self.size = max(self.size, row + 1)
        self.num_known += 1
        fill_slot(self.slots, self.num_slots, Slot(hash_, <int32_t> row))
        return <int32_t> row

    cdef int make_room(self, Py_ssize_t num_texts, size_t num_bytes) except -1:
        """Make room for more texts; what cannot be had leaves the table as it is."""
        cdef Py_ssize_t room
        if self.size + num_texts > INT32_MAX:
            raise ValueError(f"wanted at most {INT32_MAX} ids")
        if self.size + num_texts > self.rows_room:
            self.spans = <Span*> longer(
                self.spans, &self.rows_room, self.size + num_texts - self.rows_room, sizeof(Span)
            )
        if self.pool_size + num_bytes > self.pool_room:
            room = self.pool_room
            self.pool = <char*> longer(self.pool, &room, self.pool_size + num_bytes - self.pool_room, 1)
            self.pool_room = room
        cdef size_t num_taken = self.num_known + num_texts
        if num_taken * 5 > self.num_slots * 4:  # At most four of five slots are taken.
            # Room for some more, so that a table that was filled at once isn't made anew with the next id.
            self.rehash(max(<size_t> MIN_SLOTS, num_taken + num_taken * 3 // 10, self.num_slots + self.num_slots // 2))
        return 0

    cdef int rehash(self, size_t num_slots) except -1:
        cdef Slot* slots = <Slot*> PyMem_RawMalloc(num_slots * sizeof(Slot))
        cdef size_t at
        if slots == NULL:
            raise MemoryError
        memset(slots, 0xFF, num_slots * sizeof(Slot))
        for at in range(self.num_slots):
            if self.slots[at].row >= 0:
                fill_slot(slots, num_slots, self.slots[at])
        PyMem_RawFree(self.slots)
        self.slots, self.num_slots = slots, num_slots
        return 0

    cdef void remove_slot(self, Py_ssize_t row) noexcept:
        """Take a row's entry out, and move those that it had pushed on to where they would be without it."""
        cdef size_t num_slots = self.num_slots, at, home
        cdef size_t gap = home_of(hash_of(self.pool + self.spans[row].start, self.spans[row].length), num_slots)
        while self.slots[gap].row != row:
            gap = gap + 1 if gap + 1 < num_slots else 0
        at = gap + 1 if gap + 1 < num_slots else 0
        while self.slots[at].row >= 0:
            # An entry may move to the gap unless that lies before the slot where its search begins.
            home = home_of(self.slots[at].hash, num_slots)
            if steps(home, at, num_slots) >= steps(gap, at, num_slots):
                self.slots[gap] = self.slots[at]
                gap = at
            at = at + 1 if at + 1 < num_slots else 0
        self.slots[gap].row = -1

    cdef int compact(self) except -1:
        """Give dead bytes back."""
        cdef size_t size = 0
        cdef Py_ssize_t row
        cdef char* pool = <char*> PyMem_RawMalloc(max(<size_t> 1, self.pool_size - self.pool_dead))
        if pool == NULL:
            return 0  # The old pool serves as well.
        for row in range(self.size):
            memcpy(pool + size, self.pool + self.spans[row].start, self.spans[row].length)
            self.spans[row].start = size
            size += self.spans[row].length
        PyMem_RawFree(self.pool)
        self.pool, self.pool_size, self.pool_room, self.pool_dead = pool, size, max(<size_t> 1, size), 0
        return 0

    cdef object text(self, Py_ssize_t row):
        return PyUnicode_DecodeUTF8(self.pool + self.spans[row].start, self.spans[row].length, NULL)

    cdef list texts(self, const int64_t* rows, Py_ssize_t count):
        """Return the texts of rows, or of the first ``count`` ones."""
        cdef list texts = PyList_New(count)
        cdef Py_ssize_t index
        for index in range(count):
            text = self.text(rows[index] if rows != NULL else index)
            Py_INCREF(text)
            PyList_SET_ITEM(texts, index, text)
        return texts


cdef inline size_t home_of(uint32_t hash_, size_t num_slots) noexcept nogil:
    """Return the slot where the search for a hash begins; 0 of none."""
    return (<uint64_t> hash_ * num_slots) >> 32


cdef inline size_t steps(size_t start, size_t stop, size_t num_slots) noexcept nogil:
    """Return how many slots a search goes on from one to another, past the end if need be."""
    return stop - start if stop >= start else stop + num_slots - start


cdef inline void fill_slot(Slot* slots, size_t num_slots, Slot entry) noexcept nogil:
    cdef size_t at = home_of(entry.hash, num_slots)
    while slots[at].row >= 0:
        at = at + 1 if at + 1 < num_slots else 0
    slots[at] = entry


cdef void* longer(void* array, Py_ssize_t* room, Py_ssize_t num_more, size_t width) except NULL:
    """Return the array with room for more entries, half as much again at least; ``room`` tells how many."""
    cdef Py_ssize_t wanted = room[0] + max(num_more, room[0] // 2, <Py_ssize_t> 8)
    cdef void* moved = PyMem_RawRealloc(array, wanted * width)
    if moved == NULL:
        raise MemoryError
    room[0] = wanted
    return moved


cdef int check_packed(cnp.ndarray utf8, cnp.ndarray offsets) except -1:
    cdef const int64_t* bounds = int64s(offsets)
    cdef Py_ssize_t index, count = len(offsets) - 1, num_bytes = len(utf8)
    cdef bint is_ascending = count >= 0 and bounds[0] >= 0 and bounds[count] <= num_bytes
    if is_ascending:
        for index in range(count):
            is_ascending &= bounds[index] <= bounds[index + 1]
    if not is_ascending:
        raise ValueError(f"packed ids: wanted ascending offsets from 0 to {num_bytes}")
    return 0


cdef bint is_ascii(const char* text, size_t length) noexcept nogil:
    cdef size_t index
    cdef char all_bits = 0
    for index in range(length):
        all_bits |= text[index]
    return all_bits & 0x80 == 0


cdef int check_utf8(const char* text, Py_ssize_t length) except -1:
    """Raise UnicodeDecodeError, a ValueError, unless the text is UTF-8."""
    cdef Py_ssize_t index
    if length > INT32_MAX:
        raise ValueError(f"wanted an id of at most {INT32_MAX} bytes")
    for index in range(length):
        if text[index] & 0x80:
            PyUnicode_DecodeUTF8(text, length, NULL)
            break
    return 0


cdef inline uint64_t rotated(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef struct State:
    uint64_t a, b, c, d


cdef inline void mix(State* state) noexcept nogil:
    """One round of SipHash."""
    state.a += state.b
    state.b = rotated(state.b, 13) ^ state.a
    state.a = rotated(state.a, 32)
    state.c += state.d
    state.d = rotated(state.d, 16) ^ state.c
    state.a += state.d
    state.d = rotated(state.d, 21) ^ state.a
    state.c += state.b
    state.b = rotated(state.b, 17) ^ state.c
    state.c = rotated(state.c, 32)


cdef inline uint32_t hash_of(const char* text, Py_ssize_t length) noexcept nogil:
    """Return 32 bits of SipHash-1-3, under the key of this process."""
    cdef State state = State(
        KEY_0 ^ <uint64_t> 0x736F6D6570736575ULL, KEY_1 ^ <uint64_t> 0x646F72616E646F6DULL,
        KEY_0 ^ <uint64_t> 0x6C7967656E657261ULL, KEY_1 ^ <uint64_t> 0x7465646279746573ULL,
    )
    cdef uint64_t word, last = <uint64_t> length << 56
    cdef Py_ssize_t at = 0
    while at + 8 <= length:
        memcpy(&word, text + at, 8)
        state.d ^= word
        mix(&state)
        state.a ^= word
        at += 8
    last |= last_bytes(text, length)
    state.d ^= last
    mix(&state)
    state.a ^= last
    state.c ^= 0xFF
    mix(&state)
    mix(&state)
    mix(&state)
    return <uint32_t> (state.a ^ state.b ^ state.c ^ state.d)


def packed_of(list texts not None):
    """Return texts as ``(utf8, offsets)``: their bytes one after another, and where each begins and the last one ends.

    Args:
        texts: Strings; an ASCII one is read where it lies.

    Raises:
        TypeError: If one is no string.
        UnicodeEncodeError: If one has a lone surrogate.
    """
    cdef Py_ssize_t index, length, n = len(texts)
    cdef cnp.ndarray offsets = np.empty(n + 1, np.int64)
    cdef int64_t* bounds = out_int64s(offsets)
    cdef const char* text
    bounds[0] = 0
    for index in range(n):
        PyUnicode_AsUTF8AndSize(texts[index], &length)
        bounds[index + 1] = bounds[index] + length
    cdef cnp.ndarray utf8 = np.empty(bounds[n], np.uint8)
    cdef char* out = <char*> cnp.PyArray_DATA(utf8)
    for index in range(n):
        text = PyUnicode_AsUTF8AndSize(texts[index], &length)
        if length != bounds[index + 1] - bounds[index]:
            raise RuntimeError("wanted a list that does not change, got one that did")
        memcpy(out + bounds[index], text, length)
    return utf8, offsets


def unpacked_of(cnp.ndarray utf8, cnp.ndarray offsets):
    """Return the texts that ``packed_of`` returned the arrays of.

    Raises:
        ValueError: If the arrays do not fit each other, or are no UTF-8.
    """
    check_packed(utf8, offsets)
    cdef const char* content = <const char*> uint8s(utf8)
    cdef const int64_t* bounds = int64s(offsets)
    cdef Py_ssize_t index, count = len(offsets) - 1
    cdef list texts = PyList_New(count)
    for index in range(count):
        text = PyUnicode_DecodeUTF8(content + bounds[index], bounds[index + 1] - bounds[index], NULL)
        Py_INCREF(text)
        PyList_SET_ITEM(texts, index, text)
    return texts
