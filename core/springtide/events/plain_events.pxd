"""Single events as compiled loops read them, from their bytes alone: interactions without anything unusual."""

from libc.math cimport NAN, fabs, isnan
from libc.stdint cimport int16_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from springtide.events.context_maps cimport ENTRY, read_following
from springtide.events.hashing cimport hashed, mixed
from springtide.events.packed_rows cimport INTERACTION, NO_MEMORY, READ, UNUSUAL
from springtide.events.row_store cimport NO_TYPE, Row, RowStore, Rules, add_answer, add_mark, add_row, find_type, match
from springtide.events.wire cimport Span, is_id, is_utf8, read_once, read_time


cdef enum:
    NEEDS_LOCK = 1_000  # Beside ``READ``, ``UNUSUAL`` and ``NO_MEMORY``.
    EVENT_ID = 0x0A  # Tags: the field's number times 8, plus 1 for 8 bytes, 2 for a size and bytes.
    EVENT_TIME = 0x12
    OF_INTERACTION = 0x1A
    OF_BATCH = 0x3A
    USER = 0x0A
    ITEM = 0x12
    TYPE = 0x1A
    OF_VALUE = 0x21
    OF_ANSWER = 0x32


ctypedef struct Written:
    const uint8_t* value
    Py_ssize_t size
    int64_t published_ms


ctypedef struct Parsed:
    Span event_id
    Span payload
    Span texts[3]  # User, item and type.
    Span entries
    Span answer  # The id of the answer that it came of.
    double value
    int64_t timestamp_ms
    int type_number
    int16_t code
    bint is_batch


cdef inline bint parse_interaction(Parsed* event, const Rules* rules) noexcept nogil:
    cdef const uint8_t* at = event.payload.start
    cdef uint8_t tag
    memset(event.texts, 0, sizeof(event.texts))
    event.entries = event.answer = Span(NULL, NULL)
    event.value = NAN
    while at < event.payload.stop:
        tag = at[0]
        at += 1
        if tag == USER or tag == ITEM or tag == TYPE:
            if not read_once(&at, event.payload.stop, event.texts + (tag >> 3) - 1):
                return False
        elif tag == OF_VALUE and isnan(event.value) and event.payload.stop - at >= 8:
            memcpy(&event.value, at, 8)
            at += 8
            if not fabs(event.value) <= 3.4028234e38:  # MAX_NUMBER of ``limits``.
                return False
        elif tag == ENTRY:
            if not read_following(&at, event.payload.stop, &event.entries):
                return False
        elif tag == OF_ANSWER:
            if not read_once(&at, event.payload.stop, &event.answer):
                return False
            if event.answer.stop - event.answer.start > rules.max_id_bytes:
                return False
            if not is_utf8(event.answer.start, event.answer.stop):
                return False
        else:
            return False
    if not is_id(event.texts, rules.max_id_bytes) or not is_id(event.texts + 1, rules.max_id_bytes):
        return False
    event.type_number = find_type(rules, event.texts[2].start, event.texts[2].stop - event.texts[2].start)
    return event.type_number != NO_TYPE


cdef inline bint parse_event(const Written* written, const Rules* rules, int64_t latest_ms, Parsed* event) noexcept nogil:
    """Find what is in an event; return whether nothing in it is unusual so far."""
    cdef const uint8_t* at = written.value
    cdef const uint8_t* end = at + written.size
    cdef Span time = Span(NULL, NULL)
    cdef uint8_t tag, payload_tag = 0
    event.event_id, event.payload, event.timestamp_ms = time, time, 0
    while at < end:
        tag = at[0]
        at += 1
        if tag == EVENT_ID:
            if not read_once(&at, end, &event.event_id):
                return False
        elif tag == EVENT_TIME:
            if not read_once(&at, end, &time) or not read_time(&time, &event.timestamp_ms):
                return False
        elif tag == OF_INTERACTION or tag == OF_BATCH:
            payload_tag = tag
            if not read_once(&at, end, &event.payload):
                return False
        else:
            return False
    if event.event_id.stop == event.event_id.start:
        event.event_id.start = NULL
    elif event.event_id.stop - event.event_id.start > rules.max_id_bytes:
        return False
    elif not is_utf8(event.event_id.start, event.event_id.stop):
        return False
    event.is_batch = payload_tag == OF_BATCH
    if event.is_batch:
        return event.event_id.start == NULL
    if payload_tag != OF_INTERACTION or time.start == NULL or event.timestamp_ms > latest_ms:
        return False
    return parse_interaction(event, rules)


cdef inline bint has_rule(Parsed* event, const Rules* rules) noexcept nogil:
    """Find the rule that takes an interaction; return whether that is clear."""
    event.code = match(rules, event.type_number, event.value, False)
    return event.code >= 0 or not isnan(event.value)


cdef inline bint add_event(RowStore* store, const Parsed* event, uint64_t context, int64_t published_ms) noexcept nogil:
    """Add a row, and its mark if it has an id; return whether there was memory."""
    cdef uint64_t key
    cdef int field
    if not add_row(
        store, Row(event.timestamp_ms, 0, 0, <float> event.value, event.code),
        event.texts[0].start, event.texts[0].stop - event.texts[0].start,
        event.texts[1].start, event.texts[1].stop - event.texts[1].start,
    ):
        return False
    if event.answer.start != event.answer.stop:
        if not add_answer(store, store.num - 1, event.answer.start, event.answer.stop - event.answer.start):
            return False
    if event.event_id.start == NULL:
        return True
    key = mixed(INTERACTION, hashed(event.event_id.start, event.event_id.stop - event.event_id.start))
    for field in range(3):
        key = mixed(key, hashed(event.texts[field].start, event.texts[field].stop - event.texts[field].start))
    return add_mark(store, store.num - 1, key, context, published_ms)


cdef inline Py_ssize_t read_plain(
    RowStore* store, const Written* written, Py_ssize_t num, const Rules* rules, int64_t latest_ms, int* answer
) noexcept nogil:
    """Read single interactions without a context; return how many, and why no more in ``answer``."""
    cdef Parsed event
    cdef Py_ssize_t number
    answer[0] = READ
    for number in range(num):
        if not parse_event(written + number, rules, latest_ms, &event):
            answer[0] = UNUSUAL
            return number
        if event.is_batch or event.entries.start != NULL:
            answer[0] = NEEDS_LOCK
            return number
        if not has_rule(&event, rules):
            answer[0] = UNUSUAL
            return number
        if event.code < 0:
            store.num_ignored += 1
        elif not add_event(store, &event, 0, written[number].published_ms):
            answer[0] = NO_MEMORY
            return number
    return num
