"""Pages of sums by row and bin, as ``cell_pages.pyx`` keeps them, for the loops that read them."""

cimport cython
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef extern from *:
    """
    #include <sched.h>
    typedef __int128 wide_int;
    #define EACH_BYTE 0x0101010101010101ULL
    #define EVEN_BYTES 0x00FF00FF00FF00FFULL
    #define EACH_PAIR 0x0001000100010001ULL
    /* Whoever holds the lock is about to give it back, unless it was interrupted: then it must run first. */
    static inline void lock_page(unsigned char *lock) {
        int tries = 0;
        while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
            if (++tries > 100) { sched_yield(); tries = 0; }
    }
    static inline void unlock_page(unsigned char *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
    static inline void add_to(Py_ssize_t *number, Py_ssize_t more) { __atomic_fetch_add(number, more, __ATOMIC_RELAXED); }
    /* A function that does nothing else has no effect to a compiler, which then drops it: hence the volatile nothing. */
    #define PREFETCH_TO_WRITE(address) do { __builtin_prefetch(address, 1); __asm__ volatile(""); } while (0)
    static inline void *load_pointer(void **from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
    static inline void store_pointer(void **to, void *value) { __atomic_store_n(to, value, __ATOMIC_RELEASE); }
    /* Sums of most rows fit into 64 bits, which are converted at once. */
    static inline double as_double(wide_int value) {
        long long low = (long long) value;
        return low == value ? (double) low : (double) value;
    }
    """
    ctypedef long long wide_int
    const uint64_t EACH_BYTE
    const uint64_t EVEN_BYTES
    const uint64_t EACH_PAIR
    void PREFETCH_TO_WRITE(const void* address) noexcept nogil
    void lock_page(uint8_t* lock) noexcept nogil
    void unlock_page(uint8_t* lock) noexcept nogil
    void add_to(Py_ssize_t* number, Py_ssize_t more) noexcept nogil
    void* load_pointer(void** source) noexcept nogil
    void store_pointer(void** target, void* value) noexcept nogil
    double as_double(wide_int value) noexcept nogil


cdef enum:
    ROWS = 8  # Of a page.
    PAGES = 2_048  # Of a chunk: they are allocated together.
    MOST_CODES = 65_536
    MOST_BINS = 1_024
    MOST_PARTS = 4
    MOST_ENTRIES = 120  # Of a row: weighted sums of so many fit into 64 bits.
    DENSE = 254  # In place of the number of entries: a row with 4 bytes for each bin,
    WIDE = 255  # or with 8.
    POINTER = 2  # Entries whose room a pointer takes.
    MOST_LATE = 16  # Entries of a page that wait: one pass over it takes them all in.
    HEAD = ROWS + MOST_LATE + 2 * ROWS  # Bytes.
    LINE = 64  # Bytes.
    FAILED = -1  # No memory.


cdef struct Page:
    uint8_t lock
    uint8_t late  # Entries that wait behind those in use, in the order in which they came.
    uint16_t used  # Entries.
    uint16_t room
    uint16_t stamp  # The look during which it was changed last: whoever has looked since need not look again.
    # Numbers of entries, uint8 [ROWS]; rows of those that wait, uint8 [MOST_LATE]; stamps of rows, uint16 [ROWS];
    # sums, int32 [room]; codes, uint16 [room].
    char* data


cdef struct Chunks:
    int64_t num
    Page* pages[1]  # [num]


cdef struct Late:
    uint32_t place  # Row of the page times 2^16, and the code.
    int64_t sum_


cdef struct Event:
    int64_t quanta
    int32_t row
    uint16_t code
    uint8_t epoch  # Counted from the oldest that is kept.


cdef inline uint16_t* stamps_of(const Page* page) noexcept nogil:
    return <uint16_t*> (page.data + ROWS + MOST_LATE)


cdef inline int32_t* sums_of(const Page* page) noexcept nogil:
    return <int32_t*> (page.data + HEAD)


cdef inline uint16_t* codes_of(const Page* page) noexcept nogil:
    return <uint16_t*> (page.data + HEAD + 4 * <Py_ssize_t> page.room)


cdef inline uint8_t* late_rows_of(const Page* page) noexcept nogil:
    return <uint8_t*> (page.data + ROWS)


cdef inline Py_ssize_t entries_of(uint8_t kind) noexcept nogil:
    """Return how many entries' room a row takes."""
    return kind if kind < DENSE else POINTER


cdef inline Py_ssize_t start_of(const Page* page, Py_ssize_t row) noexcept nogil:
    """Return where the entries of a row of the page begin: the sum of ``entries_of`` those before, without branches."""
    cdef uint64_t kinds, arrays
    memcpy(&kinds, page.data, ROWS)  # The first row's is the lowest byte.
    kinds &= (<uint64_t> 1 << (8 * row)) - 1
    arrays = ((kinds >> 7) & EACH_BYTE) * 0xFF  # The highest bit tells arrays from numbers of entries.
    kinds = (kinds & ~arrays) | (arrays & (POINTER * EACH_BYTE))
    kinds = (kinds & EVEN_BYTES) + ((kinds >> 8) & EVEN_BYTES)
    return <Py_ssize_t> ((kinds * EACH_PAIR) >> 48)


cdef inline void* cells_of(const Page* page, Py_ssize_t at) noexcept nogil:
    cdef void* cells
    memcpy(&cells, sums_of(page) + at, sizeof(void*))
    return cells


@cython.final
cdef class SparseCells:
    cdef readonly Py_ssize_t num_bins, num_parts, nbytes, num_rows
    cdef Chunks* chunks  # Replaced when it must grow; former ones are kept, since others may be reading them.
    cdef void* former[40]
    cdef Py_ssize_t num_former
    cdef int64_t sizes[MOST_PARTS]
    cdef int64_t first_bin[MOST_PARTS]
    cdef Py_ssize_t num_joint, num_codes, most_entries
    cdef uint16_t look  # Number of the latest look at all pages (``kept_kernels``).
    cdef int16_t* bins_of  # [num_codes, num_parts], -1 for a part without a bin.

    cdef void drop(self, Page* page) noexcept
    cdef Page* make(self, int64_t row) noexcept nogil
    cdef int resize(self, Page* page, Py_ssize_t room) noexcept nogil
    cdef int insert(self, Page* page, Py_ssize_t at, Py_ssize_t num) noexcept nogil
    cdef void remove(self, Page* page, Py_ssize_t at, Py_ssize_t num) noexcept nogil
    cdef int add(self, int64_t row, Py_ssize_t code, int64_t sum_) noexcept nogil
    cdef int add_run(self, const Event* events, Py_ssize_t num) noexcept nogil
    cdef int add_late(self, Page* page, Py_ssize_t row, Py_ssize_t code, int64_t sum_) noexcept nogil
    cdef int settle(self, Page* page) noexcept nogil
    cdef int take_in(self, Page* page) noexcept nogil
    cdef int add_locked(self, Page* page, Py_ssize_t row, Py_ssize_t code, int64_t sum_) noexcept nogil
    cdef int spread(self, Page* page, Py_ssize_t row, Py_ssize_t at) noexcept nogil
    cdef void narrow(self, Page* page, Py_ssize_t row, Py_ssize_t at) noexcept nogil
    cdef int widen(self, Page* page, Py_ssize_t row, Py_ssize_t at) noexcept nogil
    cdef int add_to_cells(
        self, Page* page, Py_ssize_t row, Py_ssize_t at, Py_ssize_t code, int64_t sum_
    ) noexcept nogil
    cdef void forget_locked(self, Page* page, Py_ssize_t row) noexcept nogil


cdef inline Page* page_of(SparseCells cells, int64_t row) noexcept nogil:
    """Return the page of a row; NULL if there is none."""
    cdef Chunks* chunks = <Chunks*> load_pointer(<void**> &cells.chunks)
    cdef int64_t number = row // (ROWS * PAGES)
    cdef Page* pages
    if number >= chunks.num:
        return NULL
    pages = <Page*> load_pointer(<void**> &chunks.pages[number])
    return NULL if pages == NULL else pages + (row // ROWS) % PAGES


cdef inline void fetch(const char* data, Py_ssize_t num_bytes) noexcept nogil:
    """Fetch some bytes from memory."""
    cdef Py_ssize_t at = 0
    while at < num_bytes:
        PREFETCH_TO_WRITE(data + at)
        at += LINE


cdef inline Py_ssize_t late_of(const Page* page, Late* late) noexcept nogil:
    """Write the entries that wait in order of row and code, each code of a row once; return how many."""
    cdef Py_ssize_t each, at, num = 0
    cdef uint32_t place
    cdef int64_t sum_
    for each in range(page.late):
        place = (<uint32_t> late_rows_of(page)[each] << 16) | codes_of(page)[page.used + each]
        sum_ = sums_of(page)[page.used + each]
        at = num
        while at > 0 and late[at - 1].place > place:
            late[at] = late[at - 1]
            at -= 1
        late[at].place, late[at].sum_ = place, sum_
        num += 1
    at = 0
    for each in range(1, num):
        if late[each].place == late[at].place:
            late[at].sum_ += late[each].sum_
        else:
            at += 1
            late[at] = late[each]
    return min(num, at + 1)
