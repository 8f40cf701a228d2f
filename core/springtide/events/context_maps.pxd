"""Reading the context map of an interaction from protobuf's wire format."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t

from springtide.events.row_store cimport Rules
from springtide.events.wire cimport Span, is_utf8, read_once, read_span


cdef enum:
    ENTRY = 0x2A  # Tags.
    NAME = 0x0A
    VALUE_OF_NAME = 0x12


cdef inline bint read_following(const uint8_t** at, const uint8_t* end, Span* entries) noexcept nogil:
    """Read an entry, whose tag was read, if it is the first, or follows the others at once."""
    cdef Span entry
    if entries.start == NULL:
        entries.start = at[0] - 1
    elif entries.stop != at[0] - 1:
        return False
    if not read_span(at, end, &entry):
        return False
    entries.stop = at[0]
    return True


cdef inline dict known_context(dict known, const Span* entries, const Rules* rules):
    """Return ``read_context`` of entries, as it was read before if maps that are known have it, by their bytes."""
    cdef bytes written = PyBytes_FromStringAndSize(<const char*> entries.start, entries.stop - entries.start)
    cdef dict context = known.get(written)
    if context is None:
        context = read_context(entries, rules)
        if context is not None:
            known[written] = context
    return context


cdef inline dict read_context(const Span* entries, const Rules* rules):
    """Return names and values of a map's entries, which follow one another, tags included; None if any is unusual."""
    cdef const uint8_t* at = entries.start
    cdef Span entry, name, value
    cdef dict context = {}
    while at < entries.stop:
        at += 1  # The tag.
        if not read_span(&at, entries.stop, &entry):
            return None
        name, value = Span(NULL, NULL), Span(NULL, NULL)
        while entry.start < entry.stop:
            if entry.start[0] == NAME:
                entry.start += 1
                if not read_once(&entry.start, entry.stop, &name):
                    return None
            elif entry.start[0] == VALUE_OF_NAME:
                entry.start += 1
                if not read_once(&entry.start, entry.stop, &value):
                    return None
            else:
                return None
        if name.stop == name.start or name.stop - name.start > rules.max_id_bytes:
            return None
        if value.stop - value.start > rules.max_text_bytes:
            return None
        if not is_utf8(name.start, name.stop) or not is_utf8(value.start, value.stop):
            return None
        key = PyUnicode_DecodeUTF8(<const char*> name.start, name.stop - name.start, NULL)
        if key in context:
            return None
        context[key] = (
            "" if value.start == NULL
            else PyUnicode_DecodeUTF8(<const char*> value.start, value.stop - value.start, NULL)
        )
    return context if len(context) <= rules.max_context_entries else None
