"""Reading a packed batch from protobuf's wire format into rows."""

from libc.math cimport NAN, isinf, isnan
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from springtide.events.hashing cimport hashed, mixed
from springtide.events.row_store cimport (
    NO_TYPE, Row, RowStore, Rules, add_answer, add_mark, code_of, find_type, make_room, match, push_row,
)
from springtide.events.wire cimport Span, is_id, is_utf8, read_once, read_span, read_varint


cdef enum:
    INTERACTION = 1  # Of ``identity``: where the keys of interactions begin.
    UNKNOWN = -2  # Of a type that was not looked up yet.
    UNUSUAL = 0
    READ = 1
    NO_MEMORY = 2


ctypedef struct Entry:
    Span text
    uint64_t hash
    int32_t user_code  # -1 until it is looked up.
    int32_t item_code
    int32_t type_number
    bint is_hashed


# Where the columns of a batch stand; the memory of the dictionary's entries and of the ids is kept for the next one.
ctypedef struct PackedBatch:
    Entry* entries
    Span* ids
    Span* answers
    Py_ssize_t num_entries
    Py_ssize_t num_ids
    Py_ssize_t num_answers
    Py_ssize_t entry_room
    Py_ssize_t id_room
    Py_ssize_t answer_room
    Span columns[7]  # By the number of the field.


cdef inline int _add_text(
    const uint8_t** at, const uint8_t* end, Span** texts, Py_ssize_t* room, Py_ssize_t* num, const Rules* rules
) noexcept nogil:
    """Read one more text of a column of texts, each of which may be empty."""
    cdef Span* text
    if not make_room(<void**> texts, room, num[0] + 1, sizeof(Span)):
        return NO_MEMORY
    text = texts[0] + num[0]
    if not read_span(at, end, text) or text.stop - text.start > rules.max_id_bytes:
        return UNUSUAL
    if not is_utf8(text.start, text.stop):
        return UNUSUAL
    num[0] += 1
    return READ


cdef inline int find_columns(PackedBatch* batch, const Span* payload, const Rules* rules) noexcept nogil:
    """Find the dictionary, the ids, and the columns."""
    cdef const uint8_t* at = payload.start
    cdef uint8_t tag
    cdef int answer
    cdef Entry* entry
    batch.num_entries = batch.num_ids = batch.num_answers = 0
    memset(batch.columns, 0, sizeof(batch.columns))
    while at < payload.stop:
        tag = at[0]
        at += 1
        if tag == 0x0A:
            if not make_room(<void**> &batch.entries, &batch.entry_room, batch.num_entries + 1, sizeof(Entry)):
                return NO_MEMORY
            entry = batch.entries + batch.num_entries
            if not read_span(&at, payload.stop, &entry.text) or not is_id(&entry.text, rules.max_id_bytes):
                return UNUSUAL
            entry.user_code = entry.item_code = -1
            entry.type_number = UNKNOWN
            entry.is_hashed = False
            batch.num_entries += 1
        elif tag == 0x3A:
            answer = _add_text(&at, payload.stop, &batch.ids, &batch.id_room, &batch.num_ids, rules)
            if answer != READ:
                return answer
        elif tag == 0x42:
            answer = _add_text(&at, payload.stop, &batch.answers, &batch.answer_room, &batch.num_answers, rules)
            if answer != READ:
                return answer
        elif tag & 7 != 2 or not 2 <= tag >> 3 <= 6 or not read_once(&at, payload.stop, batch.columns + (tag >> 3)):
            return UNUSUAL
    return READ


cdef inline Entry* read_entry(PackedBatch* batch, const uint8_t** at, const uint8_t* end) noexcept nogil:
    """Read the index of an entry; NULL if there is no such entry."""
    cdef uint64_t index
    if not read_varint(at, end, &index) or index >= <uint64_t> batch.num_entries:
        return NULL
    return batch.entries + index


cdef inline uint64_t _hash_of(Entry* entry) noexcept nogil:
    if not entry.is_hashed:
        entry.hash = hashed(entry.text.start, entry.text.stop - entry.text.start)
        entry.is_hashed = True
    return entry.hash


cdef inline uint64_t _key_of(const Span* event_id, Entry* user, Entry* item, Entry* kind) noexcept nogil:
    cdef uint64_t key = mixed(INTERACTION, hashed(event_id.start, event_id.stop - event_id.start))
    return mixed(mixed(mixed(key, _hash_of(user)), _hash_of(item)), _hash_of(kind))


cdef inline int read_rows(
    PackedBatch* batch, RowStore* store, const Rules* rules, int64_t published_ms, int64_t latest_ms
) noexcept nogil:
    """Add the rows of a batch, with the indices of their users and items; what was added is taken back by the caller.

    Anything that must be refused, or may have to be, is unusual.
    """
    cdef const uint8_t* user_at = batch.columns[2].start
    cdef const uint8_t* item_at = batch.columns[3].start
    cdef const uint8_t* type_at = batch.columns[4].start
    cdef const uint8_t* time_at = batch.columns[5].start
    cdef const uint8_t* value_at = batch.columns[6].start
    cdef Py_ssize_t num = 0
    cdef bint has_one_type
    cdef uint64_t time
    cdef float value = NAN
    cdef int16_t code
    cdef Entry* user
    cdef Entry* item
    cdef Entry* kind
    cdef Span* answered
    if user_at == NULL or item_at == NULL or type_at == NULL or time_at == NULL:
        return UNUSUAL
    # An index takes a byte or more.
    if not make_room(
        <void**> &store.rows, &store.row_room, store.num + (batch.columns[2].stop - user_at), sizeof(Row)
    ):
        return NO_MEMORY
    kind = read_entry(batch, &type_at, batch.columns[4].stop)
    has_one_type = type_at == batch.columns[4].stop
    if kind == NULL:
        return UNUSUAL
    while user_at < batch.columns[2].stop:
        user = read_entry(batch, &user_at, batch.columns[2].stop)
        item = read_entry(batch, &item_at, batch.columns[3].stop)
        if num and not has_one_type:
            kind = read_entry(batch, &type_at, batch.columns[4].stop)
        if user == NULL or item == NULL or kind == NULL or not read_varint(&time_at, batch.columns[5].stop, &time):
            return UNUSUAL
        if time > <uint64_t> latest_ms:  # Also one before 1970.
            return UNUSUAL
        if value_at != NULL:
            if batch.columns[6].stop - value_at < 4:
                return UNUSUAL
            memcpy(&value, value_at, 4)
            value_at += 4
            if isinf(value):
                return UNUSUAL
        if kind.type_number == UNKNOWN:
            kind.type_number = find_type(rules, kind.text.start, kind.text.stop - kind.text.start)
        if kind.type_number == NO_TYPE:
            return UNUSUAL
        code = match(rules, kind.type_number, value, True)
        if code < 0:
            if isnan(value):
                return UNUSUAL
            store.num_ignored += 1
        else:
            if num < batch.num_ids and batch.ids[num].stop > batch.ids[num].start:
                if not add_mark(store, store.num, _key_of(batch.ids + num, user, item, kind), 0, published_ms):
                    return NO_MEMORY
            if num < batch.num_answers and batch.answers[num].stop > batch.answers[num].start:
                answered = batch.answers + num
                if not add_answer(store, store.num, answered.start, answered.stop - answered.start):
                    return NO_MEMORY
            push_row(
                store,
                Row(<int64_t> time, <int32_t> (user - batch.entries), <int32_t> (item - batch.entries), value, code),
            )
        num += 1
    if num == 0 or (batch.num_ids and batch.num_ids != num) or (batch.num_answers and batch.num_answers != num):
        return UNUSUAL
    if item_at != batch.columns[3].stop:
        return UNUSUAL
    if (type_at != batch.columns[4].stop and not has_one_type) or time_at != batch.columns[5].stop:
        return UNUSUAL
    return READ if value_at == batch.columns[6].stop else UNUSUAL


cdef inline int recode(PackedBatch* batch, RowStore* store, Py_ssize_t first) noexcept nogil:
    """Give the rows from the first on the store's codes instead of their indices in the dictionary."""
    cdef Py_ssize_t at
    cdef Entry* entry
    for at in range(first, store.num):
        entry = batch.entries + store.rows[at].user
        if entry.user_code < 0:
            entry.user_code = code_of(&store.users, entry.text.start, entry.text.stop - entry.text.start)
        store.rows[at].user = entry.user_code
        entry = batch.entries + store.rows[at].item
        if entry.item_code < 0:
            entry.item_code = code_of(&store.items, entry.text.start, entry.text.stop - entry.text.start)
        store.rows[at].item = entry.item_code
        if store.rows[at].user < 0 or store.rows[at].item < 0:
            return NO_MEMORY
    return READ
