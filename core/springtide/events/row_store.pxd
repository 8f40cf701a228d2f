"""Interactions in the order in which they came, as compiled loops keep them: rows, marks of those with an id, rules."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from springtide.events.text_table cimport TextTable, code_of, free_table, make_table


cdef enum:
    FIRST_ROWS = 64
    NO_TYPE = -1


ctypedef struct Row:
    int64_t timestamp_ms
    int32_t user
    int32_t item
    float value
    int16_t relation


ctypedef struct Mark:
    int64_t row
    uint64_t key
    uint64_t context
    uint32_t published_s


ctypedef struct Answer:
    int64_t row
    int32_t code  # Of its id.


ctypedef struct Rule:
    int type_number
    int comparison  # 0 takes every value; 1 is >=, 2 <=, 3 >, 4 <.
    double bound


ctypedef struct Rules:
    const uint8_t** types  # The names of the types that have rules.
    Py_ssize_t* type_sizes
    Py_ssize_t num_types
    Rule* rules
    Py_ssize_t num_rules
    Py_ssize_t max_id_bytes
    Py_ssize_t max_event_bytes
    Py_ssize_t max_context_entries
    Py_ssize_t max_text_bytes


ctypedef struct RowStore:
    TextTable users
    TextTable items
    TextTable answer_ids  # Made for the first of them: most streams have none.
    Row* rows
    Mark* marks
    Answer* answers  # In the order of the rows.
    Py_ssize_t num
    Py_ssize_t num_marks
    Py_ssize_t num_answers
    Py_ssize_t num_ignored  # Interactions that no rule takes, though their type is known.
    Py_ssize_t row_room
    Py_ssize_t mark_room
    Py_ssize_t answer_room
    uint64_t seed
    bint is_sorted  # By time.


cdef inline bint make_store(RowStore* store, uint64_t seed) noexcept nogil:
    """Make an empty store, filled with 0 before; return whether there was memory for it."""
    store.is_sorted = True
    store.seed = seed
    return make_table(&store.users, seed) and make_table(&store.items, seed)


cdef inline void free_store(RowStore* store) noexcept nogil:
    free_table(&store.users)
    free_table(&store.items)
    free_table(&store.answer_ids)
    free(store.rows)
    free(store.marks)
    free(store.answers)


cdef inline bint make_room(void** array, Py_ssize_t* room, Py_ssize_t wanted, size_t size) noexcept nogil:
    """Give an array room for ``wanted`` entries, if there is memory."""
    cdef Py_ssize_t larger
    cdef void* moved
    if wanted <= room[0]:
        return True
    larger = max(FIRST_ROWS, 2 * room[0], wanted)
    moved = realloc(array[0], larger * size)
    if moved == NULL:
        return False
    array[0] = moved
    room[0] = larger
    return True


cdef inline void push_row(RowStore* store, Row row) noexcept nogil:
    """Add a row, for which there is room."""
    if store.num and row.timestamp_ms < store.rows[store.num - 1].timestamp_ms:
        store.is_sorted = False
    store.rows[store.num] = row
    store.num += 1


cdef inline bint add_row(
    RowStore* store, Row row, const uint8_t* user, Py_ssize_t user_size, const uint8_t* item, Py_ssize_t item_size
) noexcept nogil:
    """Add a row of a user and an item, if there is memory."""
    row.user = code_of(&store.users, user, user_size)
    row.item = code_of(&store.items, item, item_size)
    if row.user < 0 or row.item < 0:
        return False
    if not make_room(<void**> &store.rows, &store.row_room, store.num + 1, sizeof(Row)):
        return False
    push_row(store, row)
    return True


cdef inline bint add_mark(
    RowStore* store, Py_ssize_t row, uint64_t key, uint64_t context, int64_t published_ms
) noexcept nogil:
    """Mark a row, if there is memory."""
    cdef int64_t published_s = published_ms // 1_000 if published_ms > 0 else 0, max_s = 0xFFFFFFFFLL
    if not make_room(<void**> &store.marks, &store.mark_room, store.num_marks + 1, sizeof(Mark)):
        return False
    store.marks[store.num_marks] = Mark(row, key, context, <uint32_t> min(published_s, max_s))
    store.num_marks += 1
    return True


cdef inline bint add_answer(RowStore* store, Py_ssize_t row, const uint8_t* text, Py_ssize_t size) noexcept nogil:
    """Note the answer that a row came of, by its id, if there is memory."""
    cdef int32_t code
    if store.answer_ids.slots == NULL and not make_table(&store.answer_ids, store.seed):
        return False
    code = code_of(&store.answer_ids, text, size)
    if code < 0:
        return False
    if not make_room(<void**> &store.answers, &store.answer_room, store.num_answers + 1, sizeof(Answer)):
        return False
    store.answers[store.num_answers] = Answer(row, code)
    store.num_answers += 1
    return True


cdef inline int find_type(const Rules* rules, const uint8_t* text, Py_ssize_t size) noexcept nogil:
    """Return the number of a type, or ``NO_TYPE``."""
    cdef int number
    for number in range(rules.num_types):
        if rules.type_sizes[number] == size and memcmp(rules.types[number], text, size) == 0:
            return number
    return NO_TYPE


cdef inline int16_t match(const Rules* rules, int type_number, double value, bint in_32_bits) noexcept nogil:
    """Return the first rule that takes a value, NaN for none; -1 if none does.

    In 32 bits it is compared as NumPy compares an array of float32 with a number of Python's.
    """
    cdef Py_ssize_t number
    cdef double bound
    cdef int how
    for number in range(rules.num_rules):
        if rules.rules[number].type_number != type_number:
            continue
        how = rules.rules[number].comparison
        bound = <float> rules.rules[number].bound if in_32_bits else rules.rules[number].bound
        if (
            how == 0 or (how == 1 and value >= bound) or (how == 2 and value <= bound)
            or (how == 3 and value > bound) or (how == 4 and value < bound)
        ):
            return <int16_t> number
    return -1
