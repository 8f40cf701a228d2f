"""Linking new edges into the chains of their nodes (``kernels``), wherever in time they belong.

Most edges are newer than all others of their node, or nearly so: they are found a place by a few steps from the head.
An edge that lies farther back is late. A walk for late edges leaves landmarks, edges of the chain some steps apart, so
that the next one begins close by; the chain is never walked through again, however long it is.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc

from springtide.arrays cimport int32s, int64s, out_int32s


cdef extern from "<stdatomic.h>":
    const int memory_order_release
    void atomic_thread_fence(int order) noexcept nogil


cdef extern from *:
    """
    #define PREFETCH(address) __builtin_prefetch(address)
    """
    void PREFETCH(const void* address) noexcept nogil


cdef enum:
    NEAR = 12  # Steps from the head after which an edge is late.
    SPACING = 16  # Steps between two landmarks: half a byte an edge where all came late.
    AHEAD = 16  # Edges whose nodes are fetched from memory before they are needed; what these point at, half as many.
    FIRST_SLOTS = 64
    MAX_KEPT = 1_024  # Late edges for which room is kept.


# The landmarks of one row, in the order of its chain: newest first.
cdef struct Landmarks:
    int32_t* edges
    int32_t num, room
    int32_t row


cdef struct Late:
    int64_t time
    int32_t row, edge


cdef inline void release() noexcept nogil:
    """Make other threads see earlier stores before later ones; it costs nothing on x86."""
    atomic_thread_fence(memory_order_release)


cdef inline bint is_newer(const int64_t* times, int32_t edge, int32_t other) noexcept nogil:
    """Return whether an edge comes before another one in a chain: of one time, the one that came later does."""
    return times[edge] > times[other] or (times[edge] == times[other] and edge > other)


cdef int in_order(const void* left, const void* right) noexcept nogil:
    """Compare late edges: by row, then from the newest to the oldest."""
    cdef const Late* a = <const Late*> left
    cdef const Late* b = <const Late*> right
    if a.row != b.row:
        return -1 if a.row < b.row else 1
    if a.time != b.time:
        return -1 if a.time > b.time else 1
    return -1 if a.edge > b.edge else (a.edge < b.edge)


cdef class ChainLinker:
    """Links new edges on one side of an edge type; one thread calls it, and others may read the chains meanwhile.

    It knows edges by their indices: when these change, another one takes its place.
    """

    cdef Landmarks* slots  # By row, an open-addressing hash table; a free one has no room.
    cdef Py_ssize_t num_slots, num_rows, landmark_room
    cdef Late* late
    cdef int32_t* passed  # The landmarks of one walk.
    cdef Py_ssize_t late_room, passed_room

    def __dealloc__(self):
        cdef Py_ssize_t slot
        for slot in range(self.num_slots):
            free(self.slots[slot].edges)
        free(self.slots)
        free(self.late)
        free(self.passed)

    @property
    def nbytes(self):
        """Bytes that it holds."""
        return (
            self.num_slots * sizeof(Landmarks) + self.landmark_room * sizeof(int32_t) + self.late_room * sizeof(Late)
            + self.passed_room * sizeof(int32_t)
        )

    def link(self, int start, int stop, rows, times, head, prev, degree):
        """Link edges ``start`` to ``stop`` into the chains of their rows.

        Args:
            start: Index of the first new edge.
            stop: One past the index of the last.
            rows: int32 ``[capacity]``, each edge's node on this side.
            times: int64 ``[capacity]``, milliseconds.
            head: int32 ``[num_rows]``.
            prev: int32 ``[capacity]``.
            degree: int32 ``[num_rows]``, number of edges.

        Returns:
            Number of steps that were taken along chains.
        """
        cdef const int32_t* row_of = int32s(rows)
        cdef const int64_t* time_of = int64s(times)
        cdef int32_t* heads = out_int32s(head)
        cdef int32_t* prevs = out_int32s(prev)
        cdef int32_t* degrees = out_int32s(degree)
        cdef Py_ssize_t num_late
        cdef int64_t num_steps = 0
        self.make_room(stop - start)
        with nogil:
            num_late = link_near(start, stop, row_of, time_of, heads, prevs, degrees, self.late, &num_steps)
            self.link_rows(num_late, time_of, heads, prevs, &num_steps)
        self.give_room_back()
        return num_steps

    def link_late(self, late, rows, times, head, prev):
        """Link edges that were found to lie far back, and are counted in their degrees; for the rest see ``link``.

        Args:
            late: int32 ``[n]``, indices of edges.
        """
        cdef const int32_t* edges = int32s(late)
        cdef const int32_t* row_of = int32s(rows)
        cdef const int64_t* time_of = int64s(times)
        cdef int32_t* heads = out_int32s(head)
        cdef int32_t* prevs = out_int32s(prev)
        cdef Py_ssize_t number, num_late = len(late)
        cdef int64_t num_steps = 0
        self.make_room(num_late)
        with nogil:
            for number in range(num_late):
                self.late[number] = Late(time_of[edges[number]], row_of[edges[number]], edges[number])
            self.link_rows(num_late, time_of, heads, prevs, &num_steps)
        self.give_room_back()
        return num_steps

    cdef int make_room(self, Py_ssize_t room) except -1:
        cdef Late* moved
        if room > self.late_room:
            moved = <Late*> realloc(self.late, room * sizeof(Late))
            if moved == NULL:
                raise MemoryError
            self.late, self.late_room = moved, room
        return 0

    cdef void give_room_back(self) noexcept:
        if self.late_room > MAX_KEPT:
            free(self.late)
            self.late, self.late_room = NULL, 0

    cdef void link_rows(
        self, Py_ssize_t num_late, const int64_t* times, int32_t* head, int32_t* prev, int64_t* num_steps
    ) noexcept nogil:
        """Link the late edges, row by row."""
        cdef Py_ssize_t start = 0, stop
        qsort(self.late, num_late, sizeof(Late), &in_order)
        while start < num_late:
            stop = start + 1
            while stop < num_late and self.late[stop].row == self.late[start].row:
                stop += 1
            self.link_row(self.late + start, stop - start, times, head, prev, num_steps)
            start = stop

    cdef void link_row(
        self, const Late* late, Py_ssize_t num, const int64_t* times, int32_t* head, int32_t* prev, int64_t* num_steps
    ) noexcept nogil:
        """Link late edges of one row, given from the newest to the oldest."""
        cdef int32_t row = late[0].row, newer = -1, older = head[row], edge, landmark
        cdef const Landmarks* landmarks = self.find(row)
        cdef Py_ssize_t number, num_passed = 0
        cdef int steps = 0
        for number in range(num):
            edge = late[number].edge
            landmark = last_before(landmarks, times, edge) if landmarks != NULL else -1
            if landmark >= 0 and (newer < 0 or is_newer(times, newer, landmark)):
                newer, older, steps = landmark, prev[landmark], 0
            while older >= 0 and is_newer(times, older, edge):
                newer = older
                older = prev[older]
                steps += 1
                num_steps[0] += 1
                if steps == SPACING:
                    steps = 0
                    num_passed = self.note_passed(newer, num_passed)
            prev[edge] = older
            release()
            if newer < 0:
                head[row] = edge
            else:
                prev[newer] = edge
            newer = edge
        if num_passed:
            self.add_landmarks(row, num_passed, times)

    cdef Landmarks* find(self, int32_t row) noexcept nogil:
        """Return the landmarks of a row, or NULL."""
        cdef Py_ssize_t slot
        if self.num_slots == 0:
            return NULL
        slot = slot_of(self.slots, self.num_slots, row)
        return self.slots + slot if self.slots[slot].room else NULL

    cdef Py_ssize_t note_passed(self, int32_t edge, Py_ssize_t num_passed) noexcept nogil:
        """Note a landmark of the walk, and return how many there are; without memory, it is left out."""
        cdef Py_ssize_t room = max(<Py_ssize_t> 64, 2 * self.passed_room)
        cdef int32_t* moved
        if num_passed == self.passed_room:
            moved = <int32_t*> realloc(self.passed, room * sizeof(int32_t))
            if moved == NULL:
                return num_passed
            self.passed, self.passed_room = moved, room
        self.passed[num_passed] = edge
        return num_passed + 1

    cdef void add_landmarks(self, int32_t row, Py_ssize_t num_passed, const int64_t* times) noexcept nogil:
        """Merge the landmarks of a walk into those of its row; without memory, they are left out."""
        cdef Landmarks* landmarks = self.find(row)
        cdef Py_ssize_t old, new = num_passed - 1, at, wanted
        cdef int32_t* moved
        if landmarks == NULL:
            landmarks = self.new_row(row)
            if landmarks == NULL:
                return
        wanted = landmarks.num + num_passed
        if wanted > landmarks.room:
            moved = <int32_t*> realloc(landmarks.edges, (wanted + wanted // 4) * sizeof(int32_t))
            if moved == NULL:
                return
            self.landmark_room += wanted + wanted // 4 - landmarks.room
            landmarks.edges, landmarks.room = moved, <int32_t> (wanted + wanted // 4)
        old, at = landmarks.num - 1, wanted - 1
        while new >= 0:  # From the oldest, at the end.
            if old >= 0 and is_newer(times, self.passed[new], landmarks.edges[old]):
                landmarks.edges[at] = landmarks.edges[old]
                old -= 1
            else:
                landmarks.edges[at] = self.passed[new]
                new -= 1
            at -= 1
        landmarks.num = <int32_t> wanted

    cdef Landmarks* new_row(self, int32_t row) noexcept nogil:
        """Return landmarks for a row that has none; NULL without memory."""
        cdef Landmarks* slots
        cdef Landmarks* landmarks
        cdef Py_ssize_t num_slots, slot
        if 2 * (self.num_rows + 1) > self.num_slots:
            num_slots = max(<Py_ssize_t> FIRST_SLOTS, 2 * self.num_slots)
            slots = <Landmarks*> calloc(num_slots, sizeof(Landmarks))
            if slots == NULL:
                return NULL
            for slot in range(self.num_slots):
                if self.slots[slot].room:
                    slots[slot_of(slots, num_slots, self.slots[slot].row)] = self.slots[slot]
            free(self.slots)
            self.slots, self.num_slots = slots, num_slots
        landmarks = self.slots + slot_of(self.slots, self.num_slots, row)
        landmarks.edges = <int32_t*> malloc(sizeof(int32_t))
        if landmarks.edges == NULL:
            return NULL
        landmarks.row, landmarks.num, landmarks.room = row, 0, 1
        self.num_rows += 1
        self.landmark_room += 1
        return landmarks


cdef Py_ssize_t link_near(
    int32_t start, int32_t stop, const int32_t* rows, const int64_t* times, int32_t* head, int32_t* prev,
    int32_t* degree, Late* late, int64_t* num_steps,
) noexcept nogil:
    """Link edges close to their heads, and return how many others were written to ``late``."""
    cdef int32_t edge, row, newer, older
    cdef int64_t time
    cdef int steps
    cdef Py_ssize_t num_late = 0
    for edge in range(start, stop):
        if edge + AHEAD < stop:
            PREFETCH(&head[rows[edge + AHEAD]])
            PREFETCH(&degree[rows[edge + AHEAD]])
            older = head[rows[edge + AHEAD // 2]]
            if older >= 0:
                PREFETCH(&times[older])
        row = rows[edge]
        time = times[edge]
        degree[row] += 1
        newer = -1
        older = head[row]
        steps = 0
        while older >= 0 and times[older] > time and steps < NEAR:
            newer = older
            older = prev[older]
            steps += 1
        num_steps[0] += steps
        if older >= 0 and times[older] > time:
            late[num_late] = Late(time, row, edge)
            num_late += 1
            continue
        prev[edge] = older
        release()
        if newer < 0:
            head[row] = edge
        else:
            prev[newer] = edge
    return num_late


cdef inline Py_ssize_t slot_of(const Landmarks* slots, Py_ssize_t num_slots, int32_t row) noexcept nogil:
    """Return the slot of a row, or the free one where it belongs; the table is never full."""
    cdef Py_ssize_t slot = (<uint32_t> row * <uint32_t> 0x9E3779B1U) & (num_slots - 1)
    while slots[slot].room and slots[slot].row != row:
        slot = (slot + 1) & (num_slots - 1)
    return slot


cdef int32_t last_before(const Landmarks* landmarks, const int64_t* times, int32_t edge) noexcept nogil:
    """Return the oldest landmark that is newer than an edge; -1 if there is none."""
    cdef Py_ssize_t low = 0, high = landmarks.num, middle
    while low < high:
        middle = (low + high) // 2
        if is_newer(times, landmarks.edges[middle], edge):
            low = middle + 1
        else:
            high = middle
    return landmarks.edges[low - 1] if low else -1
