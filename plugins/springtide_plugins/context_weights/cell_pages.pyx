"""Sums by row and bin where most are 0: each row keeps those alone that are not.

An event lies in one bin of each part (hour, weekday, time of year); together they are one *code*. A row of few events is
a list of ``(code, sum)``, ascending by code, 6 bytes each. What was saved by bin, without saying which bins went together,
has codes of single bins. A row of many codes is an array with a number for each bin, of 4 bytes, or of 8 where a sum needs
them.

The lists of 8 rows lie in one block of memory, a page, so that reading all rows reads memory from front to back. What is
added waits at the end of its page, in no order, until there are 16 or somebody reads: one pass over the page then takes
them all in, where each for itself would move half of the page.

One thread writes. Any thread reads meanwhile: each takes the lock of a page for the fraction of a microsecond that it is
in it, and takes in first what waits there, so that it reads all that was added.
"""

cimport cython
from libc.stdint cimport INT32_MAX, INT32_MIN, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove


@cython.final
cdef class SparseCells:
    """Sums by row and bin.

    Args:
        sizes: Number of bins of each part; bins of all parts are numbered one after another.

    Attributes:
        num_bins: Bins of all parts.
        num_parts: Number of parts.
        nbytes: Bytes that the sums take, what is allocated for more included.
        num_rows: Rows up to the last one that was ever written to, and up to 7 more.
    """

    def __cinit__(self, sizes):
        cdef Py_ssize_t part, code, left
        self.num_parts = len(sizes)
        if not 0 < self.num_parts <= MOST_PARTS:
            raise ValueError(f"wanted 1 to {MOST_PARTS} parts, got {self.num_parts}")
        self.num_joint = 1
        for part in range(self.num_parts):
            self.sizes[part], self.first_bin[part] = sizes[part], self.num_bins
            if self.sizes[part] < 1:
                raise ValueError(f"wanted parts of 1 bin or more, got {sizes[part]}")
            self.num_joint *= self.sizes[part]
            self.num_bins += self.sizes[part]
        # The bins of one part are codes already.
        self.num_codes = self.num_joint + (self.num_bins if self.num_parts > 1 else 0)
        if self.num_bins > MOST_BINS or self.num_codes > MOST_CODES:
            raise ValueError(f"wanted at most {MOST_BINS} bins and {MOST_CODES} codes, got parts of {list(sizes)} bins")
        # Of two bins, both are entries; of many, so many entries as take the memory of an array.
        self.most_entries = min(<Py_ssize_t> MOST_ENTRIES, max(min(self.num_bins, 4), self.num_bins * 2 // 3))
        self.bins_of = <int16_t*> malloc(self.num_codes * self.num_parts * sizeof(int16_t))
        self.chunks = <Chunks*> calloc(1, sizeof(Chunks))
        if self.bins_of == NULL or self.chunks == NULL:
            raise MemoryError
        self.chunks.num = 1
        for code in range(self.num_joint):
            left = code
            for part in range(self.num_parts - 1, -1, -1):
                self.bins_of[code * self.num_parts + part] = <int16_t> (self.first_bin[part] + left % self.sizes[part])
                left //= self.sizes[part]
        for code in range(self.num_joint, self.num_codes):
            for part in range(self.num_parts):
                left = code - self.num_joint - self.first_bin[part]
                self.bins_of[code * self.num_parts + part] = (
                    <int16_t> (code - self.num_joint) if 0 <= left < self.sizes[part] else -1
                )

    def __dealloc__(self):
        cdef int64_t number
        cdef Py_ssize_t page
        if self.chunks != NULL:
            for number in range(self.chunks.num):
                if self.chunks.pages[number] != NULL:
                    for page in range(PAGES):
                        self.drop(self.chunks.pages[number] + page)
                    free(self.chunks.pages[number])
        for page in range(self.num_former):
            free(self.former[page])
        free(self.chunks)
        free(self.bins_of)

    cdef void drop(self, Page* page) noexcept:
        cdef Py_ssize_t row, at = 0
        if page.data == NULL:
            return
        for row in range(ROWS):
            if <uint8_t> page.data[row] >= DENSE:
                free(cells_of(page, at))
            at += entries_of(<uint8_t> page.data[row])
        free(page.data)

    cdef Page* make(self, int64_t row) noexcept nogil:
        """Return the page of a row, made if there is none; NULL if there is no memory."""
        cdef int64_t number = row // (ROWS * PAGES), wanted
        cdef Chunks* longer
        cdef Page* pages
        if number >= self.chunks.num:
            wanted = max(number + 1, 2 * self.chunks.num)
            longer = <Chunks*> calloc(1, sizeof(Chunks) + wanted * sizeof(Page*))
            if longer == NULL:
                return NULL
            memcpy(longer.pages, self.chunks.pages, self.chunks.num * sizeof(Page*))
            longer.num = wanted
            self.former[self.num_former] = self.chunks
            self.num_former += 1
            store_pointer(<void**> &self.chunks, longer)
            add_to(&self.nbytes, wanted * sizeof(Page*))
        if self.chunks.pages[number] == NULL:
            pages = <Page*> calloc(PAGES, sizeof(Page))
            if pages == NULL:
                return NULL
            store_pointer(<void**> &self.chunks.pages[number], pages)
            add_to(&self.nbytes, PAGES * sizeof(Page))
        self.num_rows = max(self.num_rows, (row // ROWS + 1) * ROWS)
        return self.chunks.pages[number] + (row // ROWS) % PAGES

    cdef int resize(self, Page* page, Py_ssize_t room) noexcept nogil:
        """Give a page room for some entries in all; at least for those that it has. None of them wait."""
        cdef Page old = page[0]
        cdef char* data = <char*> calloc(1, HEAD + 6 * room)
        if data == NULL:
            return FAILED
        page.data, page.room = data, <uint16_t> room
        if old.data != NULL:
            memcpy(data, old.data, ROWS)
            memcpy(stamps_of(page), stamps_of(&old), 2 * ROWS)
            memcpy(sums_of(page), sums_of(&old), 4 * <Py_ssize_t> old.used)
            memcpy(codes_of(page), codes_of(&old), 2 * <Py_ssize_t> old.used)
            free(old.data)
            add_to(&self.nbytes, -(HEAD + 6 * <Py_ssize_t> old.room))
        add_to(&self.nbytes, HEAD + 6 * room)
        return 0

    cdef int insert(self, Page* page, Py_ssize_t at, Py_ssize_t num) noexcept nogil:
        """Make a gap of some entries."""
        cdef Py_ssize_t used = page.used + num
        if used > page.room and self.resize(page, used + max(<Py_ssize_t> 4, used // 4)) != 0:
            return FAILED
        memmove(sums_of(page) + at + num, sums_of(page) + at, 4 * (page.used - at))
        memmove(codes_of(page) + at + num, codes_of(page) + at, 2 * (page.used - at))
        page.used = <uint16_t> used
        return 0

    cdef void remove(self, Page* page, Py_ssize_t at, Py_ssize_t num) noexcept nogil:
        """Take some entries out."""
        memmove(sums_of(page) + at, sums_of(page) + at + num, 4 * (page.used - at - num))
        memmove(codes_of(page) + at, codes_of(page) + at + num, 2 * (page.used - at - num))
        page.used -= <uint16_t> num

    cdef int add(self, int64_t row, Py_ssize_t code, int64_t sum_) noexcept nogil:
        """Add to a row, in the bins of a code."""
        cdef Event event = Event(sum_, <int32_t> row, <uint16_t> code, 0)
        return self.add_run(&event, 1)

    cdef int add_run(self, const Event* events, Py_ssize_t num) noexcept nogil:
        """Add events of one page, at least 1 and few enough to hold its lock for."""
        cdef Page* page = self.make(events[0].row)
        cdef Py_ssize_t event
        cdef int failed = 0
        if page == NULL:
            return FAILED
        lock_page(&page.lock)
        page.stamp = self.look  # Read with the lock: a look that has passed this page is known here.
        for event in range(num):
            failed |= self.add_late(page, events[event].row % ROWS, events[event].code, events[event].quanta)
            if page.data != NULL:
                stamps_of(page)[events[event].row % ROWS] = page.stamp
        unlock_page(&page.lock)
        return failed

    cdef int add_late(self, Page* page, Py_ssize_t row, Py_ssize_t code, int64_t sum_) noexcept nogil:
        """Let an entry wait, unless the row is an array."""
        cdef Py_ssize_t at
        if page.data == NULL and self.resize(page, 4) != 0:
            return FAILED
        if page.late == MOST_LATE or page.used + page.late == page.room:
            if self.take_in(page) != 0:
                return FAILED
            if page.room - page.used < min(MOST_LATE, max(2, page.used // 8)) and self.resize(
                page, page.used + max(4, page.used // 4)
            ) != 0:
                return FAILED
        if (<uint8_t*> page.data)[row] >= DENSE:
            return self.add_to_cells(page, row, start_of(page, row), code, sum_)
        if not INT32_MIN <= sum_ <= INT32_MAX:
            return FAILED if self.settle(page) != 0 else self.add_locked(page, row, code, sum_)
        at = page.used + page.late
        sums_of(page)[at], codes_of(page)[at] = <int32_t> sum_, <uint16_t> code
        late_rows_of(page)[page.late] = <uint8_t> row
        page.late += 1
        return 0

    cdef int settle(self, Page* page) noexcept nogil:
        """Take in the entries that wait; whoever reads a page does so first."""
        return self.take_in(page) if page.late else 0

    cdef int take_in(self, Page* page) noexcept nogil:
        cdef Late late[MOST_LATE]
        cdef Late others[MOST_LATE]
        cdef Py_ssize_t places[MOST_LATE]
        cdef Py_ssize_t num, each, index = 0, stop = 0, num_entries = 0, left, half
        cdef Py_ssize_t num_new = 0, num_others = 0
        cdef int64_t row = -1, sum_
        cdef uint8_t* kinds = <uint8_t*> page.data
        cdef int32_t* sums = sums_of(page)
        cdef uint16_t* codes = codes_of(page)
        cdef uint16_t code
        # Each search ends somewhere else, and what is behind is moved: lines that come together.
        fetch(page.data, HEAD + 4 * <Py_ssize_t> page.used)
        fetch(<const char*> codes, 2 * <Py_ssize_t> page.used)
        num = late_of(page, late)
        page.late = 0
        for each in range(num):
            code, sum_ = <uint16_t> late[each].place, late[each].sum_
            if row != late[each].place >> 16:
                row = late[each].place >> 16
                index, num_entries = start_of(page, row), kinds[row]
                stop = index + num_entries
            left = stop - index
            while left > 0:  # To where the code is, or would be; without a branch that nothing foretells.
                half = (left + 1) // 2
                index += half if codes[index + half - 1] < code else 0
                left -= half
            if index < stop and codes[index] == code:
                sum_ += sums[index]
                if sum_ != 0 and INT32_MIN <= sum_ <= INT32_MAX:
                    sums[index] = <int32_t> sum_
                    continue
            elif sum_ == 0:
                continue
            elif num_entries < self.most_entries and INT32_MIN <= sum_ <= INT32_MAX:
                num_entries += 1
                late[num_new], places[num_new] = late[each], index  # It is behind ``each``, or there.
                num_new += 1
                continue
            others[num_others] = late[each]
            num_others += 1
        stop = page.used
        page.used += <uint16_t> num_new  # They have waited behind those in use: there is room.
        for each in range(num_new - 1, -1, -1):
            index = places[each]
            memmove(sums + index + each + 1, sums + index, 4 * (stop - index))
            memmove(codes + index + each + 1, codes + index, 2 * (stop - index))
            sums[index + each], codes[index + each] = <int32_t> late[each].sum_, <uint16_t> late[each].place
            kinds[late[each].place >> 16] += 1
            stop = index
        for each in range(num_others):  # What is rare: a row that becomes an array, or an entry that is 0 now.
            if self.add_locked(
                page, others[each].place >> 16, others[each].place & 0xFFFF, others[each].sum_
            ) != 0:
                return FAILED
        return 0

    cdef int add_locked(self, Page* page, Py_ssize_t row, Py_ssize_t code, int64_t sum_) noexcept nogil:
        """Add to a row of a page where nothing waits."""
        cdef Py_ssize_t index, stop, at = start_of(page, row)
        cdef uint8_t* kinds = <uint8_t*> page.data
        cdef int64_t total
        if kinds[row] < DENSE:
            index, stop = at, at + kinds[row]
            while index < stop and codes_of(page)[index] < code:
                index += 1
            if index < stop and codes_of(page)[index] == code:
                total = sums_of(page)[index] + sum_
                if total == 0:
                    self.remove(page, index, 1)
                    kinds[row] -= 1
                    return 0
                if INT32_MIN <= total <= INT32_MAX:
                    sums_of(page)[index] = <int32_t> total
                    return 0
            elif sum_ == 0:
                return 0
            elif kinds[row] < self.most_entries and INT32_MIN <= sum_ <= INT32_MAX:
                if self.insert(page, index, 1) != 0:
                    return FAILED
                sums_of(page)[index], codes_of(page)[index] = <int32_t> sum_, <uint16_t> code
                (<uint8_t*> page.data)[row] += 1
                return 0
            if self.spread(page, row, at) != 0:
                return FAILED
        return self.add_to_cells(page, row, at, code, sum_)

    cdef int spread(self, Page* page, Py_ssize_t row, Py_ssize_t at) noexcept nogil:
        """Make an array of a row's entries."""
        cdef int64_t* cells = <int64_t*> calloc(self.num_bins, sizeof(int64_t))
        cdef Py_ssize_t index, part, num = (<uint8_t*> page.data)[row]
        cdef const int16_t* bins
        if cells == NULL or (num < POINTER and self.insert(page, at + num, POINTER - num) != 0):
            free(cells)
            return FAILED
        for index in range(at, at + num):
            bins = self.bins_of + codes_of(page)[index] * self.num_parts
            for part in range(self.num_parts):
                if bins[part] >= 0:
                    cells[bins[part]] += sums_of(page)[index]
        if num > POINTER:
            self.remove(page, at + POINTER, num - POINTER)
        add_to(&self.nbytes, self.num_bins * sizeof(int64_t))
        (<uint8_t*> page.data)[row] = WIDE
        memcpy(sums_of(page) + at, &cells, sizeof(void*))
        self.narrow(page, row, at)
        return 0

    cdef void narrow(self, Page* page, Py_ssize_t row, Py_ssize_t at) noexcept nogil:
        """Let a row's array have 4 bytes for each bin, if its sums fit and there is memory."""
        cdef const int64_t* cells = <const int64_t*> cells_of(page, at)
        cdef int32_t* narrow
        cdef Py_ssize_t bin_
        for bin_ in range(self.num_bins):
            if cells[bin_] < INT32_MIN or cells[bin_] > INT32_MAX:
                return
        narrow = <int32_t*> malloc(self.num_bins * sizeof(int32_t))
        if narrow == NULL:
            return
        for bin_ in range(self.num_bins):
            narrow[bin_] = <int32_t> cells[bin_]
        free(<void*> cells)
        memcpy(sums_of(page) + at, &narrow, sizeof(void*))
        (<uint8_t*> page.data)[row] = DENSE
        add_to(&self.nbytes, -<Py_ssize_t> (self.num_bins * (sizeof(int64_t) - sizeof(int32_t))))

    cdef int widen(self, Page* page, Py_ssize_t row, Py_ssize_t at) noexcept nogil:
        cdef int32_t* cells = <int32_t*> cells_of(page, at)
        cdef int64_t* wide = <int64_t*> malloc(self.num_bins * sizeof(int64_t))
        cdef Py_ssize_t bin_
        if wide == NULL:
            return FAILED
        for bin_ in range(self.num_bins):
            wide[bin_] = cells[bin_]
        free(cells)
        memcpy(sums_of(page) + at, &wide, sizeof(void*))
        (<uint8_t*> page.data)[row] = WIDE
        add_to(&self.nbytes, self.num_bins * (sizeof(int64_t) - sizeof(int32_t)))
        return 0

    cdef int add_to_cells(
        self, Page* page, Py_ssize_t row, Py_ssize_t at, Py_ssize_t code, int64_t sum_
    ) noexcept nogil:
        cdef const int16_t* bins = self.bins_of + code * self.num_parts
        cdef int32_t* cells = <int32_t*> cells_of(page, at)
        cdef int64_t total
        cdef Py_ssize_t part
        cdef bint fits = True
        if (<uint8_t*> page.data)[row] == DENSE:
            for part in range(self.num_parts):
                if bins[part] >= 0:
                    total = cells[bins[part]] + sum_
                    fits = fits and INT32_MIN <= total <= INT32_MAX
            if fits:
                for part in range(self.num_parts):
                    if bins[part] >= 0:
                        cells[bins[part]] += <int32_t> sum_
                return 0
            if self.widen(page, row, at) != 0:
                return FAILED
        for part in range(self.num_parts):
            if bins[part] >= 0:
                (<int64_t*> cells_of(page, at))[bins[part]] += sum_
        return 0

    def forget(self, rows):
        """Make all sums of some rows 0; rows beyond all that was written to are left out.

        Args:
            rows: Integers ``[n]``.
        """
        cdef int64_t row
        cdef Page* page
        for row in rows.tolist():
            page = page_of(self, row) if row >= 0 else NULL
            if page != NULL:
                lock_page(&page.lock)
                page.stamp = self.look
                if page.data != NULL:
                    stamps_of(page)[row % ROWS] = page.stamp
                self.forget_locked(page, row % ROWS)
                unlock_page(&page.lock)

    cdef void forget_locked(self, Page* page, Py_ssize_t row) noexcept nogil:
        cdef Py_ssize_t at
        cdef uint8_t kind
        if page.data == NULL or self.settle(page) != 0:
            return
        at, kind = start_of(page, row), (<uint8_t*> page.data)[row]
        if kind >= DENSE:
            free(cells_of(page, at))
            add_to(&self.nbytes, -<Py_ssize_t> (self.num_bins * (sizeof(int32_t) if kind == DENSE else sizeof(int64_t))))
        self.remove(page, at, entries_of(kind))
        (<uint8_t*> page.data)[row] = 0
