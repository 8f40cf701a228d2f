"""The rows of interactions: read from serialized events without a Python object for each, or added one by one."""

import os

import numpy as np

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from springtide.arrays cimport (
    float32s, int32s, int64s, out_float32s, out_int16s, out_int32s, out_int64s, out_uint32s, out_uint64s, out_uint8s,
    uint8s, uint64s,
)
from springtide.events.context_maps cimport known_context
from springtide.events.hashing cimport hashed, mixed
from springtide.events.packed_rows cimport NO_MEMORY, READ, UNUSUAL, PackedBatch, find_columns, read_rows, recode
from springtide.events.plain_events cimport (
    NEEDS_LOCK, Parsed, Written, add_event, has_rule, parse_event, read_plain,
)
from springtide.events.row_store cimport (
    Mark, Row, RowStore, Rule, Rules, add_answer, add_mark, add_row, free_store, make_store,
)
from springtide.events.text_table cimport TextTable
from springtide.events.wire cimport Span


cdef extern from "Python.h":
    PyObject* PyTuple_GET_ITEM(object record, Py_ssize_t index)
    PyObject* PyList_GET_ITEM(object records, Py_ssize_t index)
    bint PyBytes_CheckExact(object value)


cdef enum:
    VALUE = 0  # Places in a RawEvent.
    HEADERS = 2
    TIMESTAMP = 6
    AT_ONCE = 1_024  # Records, which are read in .2 ms; to gather what is read holds Python's lock for a tenth of that.

cdef uint64_t SEED = int.from_bytes(os.urandom(8), "little")  # So that nobody can choose ids that collide.


cdef class WireRules:
    """What is accepted, as the reading of events wants it.

    Args:
        types: Names of the types that have rules, in UTF-8.
        rules: Of each rule, in order: the number of its type, how it compares a value (``row_store.Rule``), and to what.
        max_id_bytes: Most bytes of an id.
        max_event_bytes: Most bytes of an event.
        max_context_entries: Most entries of a context map.
        max_text_bytes: Most bytes of a value in it.
    """

    cdef Rules rules
    cdef list _types  # They own the names.

    def __cinit__(
        self, list types, list rules, Py_ssize_t max_id_bytes, Py_ssize_t max_event_bytes,
        Py_ssize_t max_context_entries, Py_ssize_t max_text_bytes,
    ):
        cdef bytes name
        self._types = types
        self.rules.num_types, self.rules.num_rules = len(types), len(rules)
        self.rules.max_id_bytes, self.rules.max_event_bytes = max_id_bytes, max_event_bytes
        self.rules.max_context_entries, self.rules.max_text_bytes = max_context_entries, max_text_bytes
        self.rules.types = <const uint8_t**> malloc((len(types) + 1) * sizeof(void*))
        self.rules.type_sizes = <Py_ssize_t*> malloc((len(types) + 1) * sizeof(Py_ssize_t))
        self.rules.rules = <Rule*> malloc((len(rules) + 1) * sizeof(Rule))
        if self.rules.types == NULL or self.rules.type_sizes == NULL or self.rules.rules == NULL:
            raise MemoryError
        for number, name in enumerate(types):
            self.rules.types[<Py_ssize_t> number] = <const uint8_t*> PyBytes_AS_STRING(name)
            self.rules.type_sizes[<Py_ssize_t> number] = len(name)
        for number, (type_number, comparison, bound) in enumerate(rules):
            self.rules.rules[<Py_ssize_t> number] = Rule(type_number, comparison, bound)

    def __dealloc__(self):
        free(self.rules.types)
        free(self.rules.type_sizes)
        free(self.rules.rules)


cdef class InteractionRows:
    """Interactions in the order in which they came, and the marks of those with an id.

    Args:
        hash_context: Hashes a context map, for the marks.

    Attributes:
        contexts: Context maps by row, of those that have one; rows may share a map.
    """

    cdef RowStore _store
    cdef PackedBatch _batch
    cdef readonly dict contexts
    cdef dict _known_contexts  # By their bytes: most events have one that others have, too.
    cdef object _hash_context

    def __cinit__(self, hash_context=hash):
        self.contexts, self._known_contexts, self._hash_context = {}, {}, hash_context
        if not make_store(&self._store, SEED):
            raise MemoryError

    def __dealloc__(self):
        free_store(&self._store)
        free(self._batch.entries)
        free(self._batch.ids)
        free(self._batch.answers)

    def __len__(self):
        return self._store.num

    @property
    def num_ignored(self):
        """Number of interactions so far that no rule takes, though their type is known."""
        return self._store.num_ignored

    def read(self, list records, Py_ssize_t start, WireRules rules, int64_t latest_ms):
        """Read records as long as each is an interaction, or a packed batch of them, with nothing unusual in it.

        Args:
            records: RawEvents.
            start: Index of the first to read.
            rules: What is accepted.
            latest_ms: The latest event time that is accepted, in milliseconds since the Unix epoch.

        Returns:
            The index of the first record that was not read; of it, nothing was taken.
        """
        cdef Py_ssize_t number = start, stop = len(records), num, done
        cdef Written written[AT_ONCE]
        cdef int answer
        while number < stop and latest_ms >= 0:
            num = _gathered(records, number, min(<Py_ssize_t> AT_ONCE, stop - number), &rules.rules, written)
            if num == 0:
                break
            with nogil:  # Other threads answer meanwhile.
                done = read_plain(&self._store, written, num, &rules.rules, latest_ms, &answer)
            while answer == NEEDS_LOCK and done < num:  # For all that are left: to give it up again takes time, too.
                if not self._read_event(written + done, &rules.rules, latest_ms):
                    answer = UNUSUAL
                    break
                done += 1
            if answer == NO_MEMORY:
                raise MemoryError
            number += done
            if answer == UNUSUAL:
                break
        return number

    def append(self, bytes user, bytes item, int16_t relation_code, int64_t timestamp_ms, double value):
        """Add an interaction, and return the number of its row."""
        if not add_row(
            &self._store, Row(timestamp_ms, 0, 0, <float> value, relation_code),
            <const uint8_t*> PyBytes_AS_STRING(user), PyBytes_GET_SIZE(user),
            <const uint8_t*> PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item),
        ):
            raise MemoryError
        return self._store.num - 1

    def append_packed(self, utf8, offsets, users, items, relation_codes, timestamps_ms, values):
        """Add many interactions, arrays ``[n]``.

        Args:
            utf8: uint8 ``[num_bytes]``, the dictionary, text after text.
            offsets: int64 ``[num_texts + 1]``, where the texts begin, and where the last one ends.
            users: int32, indices in the dictionary.
            items: int32, indices in the dictionary.
            relation_codes: int32.
            timestamps_ms: int64.
            values: float32.

        Returns:
            The number of the first row.
        """
        cdef const uint8_t* text = uint8s(utf8)
        cdef const int64_t* bounds = int64s(offsets)
        cdef const int32_t* user = int32s(users)
        cdef const int32_t* item = int32s(items)
        cdef const int32_t* code = int32s(relation_codes)
        cdef const int64_t* time = int64s(timestamps_ms)
        cdef const float* number = float32s(values)
        cdef Py_ssize_t first = self._store.num, at
        for at in range(len(timestamps_ms)):
            if not add_row(
                &self._store, Row(time[at], 0, 0, number[at], <int16_t> code[at]),
                text + bounds[user[at]], bounds[user[at] + 1] - bounds[user[at]],
                text + bounds[item[at]], bounds[item[at] + 1] - bounds[item[at]],
            ):
                raise MemoryError
        return first

    def mark(self, Py_ssize_t row, uint64_t key, uint64_t context, int64_t published_ms):
        """Note what tells a row apart; rows are marked in their order.

        Args:
            row: Its number.
            key: See ``EventMarks``.
            context: Hash of its context.
            published_ms: Time of its record, in milliseconds since the Unix epoch.
        """
        if not add_mark(&self._store, row, key, context, published_ms):
            raise MemoryError

    def mark_packed(self, Py_ssize_t first, keys, int64_t published_ms):
        """Note what tells rows apart, from the first on: keys are uint64 ``[n]``, 0 for a row without an id."""
        cdef const uint64_t* key = uint64s(keys)
        cdef Py_ssize_t at
        for at in range(len(keys)):
            if key[at] and not add_mark(&self._store, first + at, key[at], 0, published_ms):
                raise MemoryError

    def answer(self, Py_ssize_t row, bytes answer_id):
        """Note the answer that a row came of, by its id; rows are told in their order."""
        if not add_answer(
            &self._store, row, <const uint8_t*> PyBytes_AS_STRING(answer_id), PyBytes_GET_SIZE(answer_id)
        ):
            raise MemoryError

    def answers(self):
        """Return the answers that rows came of; None if no row has one.

        Returns:
            Numbers of the rows, int64 ``[m]``, ascending; the code of each answer, int32 ``[m]``; and the answers' ids:
            UTF-8, uint8, and where each begins, int64 ``[num + 1]``, of which some may be of no row.
        """
        cdef Py_ssize_t at, num = self._store.num_answers
        if num == 0:
            return None
        rows, codes = np.empty(num, np.int64), np.empty(num, np.int32)
        cdef int64_t* row = out_int64s(rows)
        cdef int32_t* code = out_int32s(codes)
        for at in range(num):
            row[at], code[at] = self._store.answers[at].row, self._store.answers[at].code
        return rows, codes, _texts_of(&self._store.answer_ids)

    def texts(self):
        """Return the ids of users, and those of items: UTF-8, uint8, and where each begins, int64 ``[num + 1]``."""
        return _texts_of(&self._store.users), _texts_of(&self._store.items)

    def order(self):
        """Return the rows in the order of their time, int64 ``[n]``; None if they are in it."""
        if self._store.is_sorted:
            return None
        cdef Py_ssize_t at
        times = np.empty(self._store.num, np.int64)
        cdef int64_t* time = out_int64s(times)
        for at in range(self._store.num):
            time[at] = self._store.rows[at].timestamp_ms
        return np.argsort(times, kind="stable")

    def columns(self, order):
        """Return the columns in an order, int64 ``[n]`` or None for that in which they came, ``[n]`` each.

        Returns:
            Users' and items' codes, int32; relation codes, int16; times in milliseconds, int64; and values, float32.
        """
        cdef Py_ssize_t at, num = self._store.num
        cdef Row* row
        cdef const int64_t* places = NULL if order is None else int64s(order)
        users, items, relations = np.empty(num, np.int32), np.empty(num, np.int32), np.empty(num, np.int16)
        times, values = np.empty(num, np.int64), np.empty(num, np.float32)
        cdef int32_t* user = out_int32s(users)
        cdef int32_t* item = out_int32s(items)
        cdef int16_t* relation = out_int16s(relations)
        cdef int64_t* time = out_int64s(times)
        cdef float* value = out_float32s(values)
        with nogil:
            for at in range(num):
                row = self._store.rows + (at if places == NULL else places[at])
                user[at], item[at], relation[at] = row.user, row.item, row.relation
                time[at], value[at] = row.timestamp_ms, row.value
        return users, items, relations, times, values

    def marks(self):
        """Return the marks in the order in which they came, ``[m]`` each; None without any.

        Returns:
            Numbers of the rows, int64; keys, uint64; hashes of contexts and answers, uint64; times of the records in seconds since
            the Unix epoch, uint32; the rows' times in milliseconds, int64; and their values, float32.
        """
        cdef Py_ssize_t at, answer = 0, num = self._store.num_marks
        cdef Mark* mark
        cdef const TextTable* ids = &self._store.answer_ids
        if num == 0:
            return None
        rows, keys, contexts = np.empty(num, np.int64), np.empty(num, np.uint64), np.empty(num, np.uint64)
        published_s, times, values = np.empty(num, np.uint32), np.empty(num, np.int64), np.empty(num, np.float32)
        cdef int64_t* row = out_int64s(rows)
        cdef uint64_t* key = out_uint64s(keys)
        cdef uint64_t* context = out_uint64s(contexts)
        cdef uint32_t* published = out_uint32s(published_s)
        cdef int64_t* time = out_int64s(times)
        cdef float* value = out_float32s(values)
        for at in range(num):
            mark = self._store.marks + at
            row[at], key[at], context[at], published[at] = mark.row, mark.key, mark.context, mark.published_s
            while answer < self._store.num_answers and self._store.answers[answer].row < mark.row:
                answer += 1
            if answer < self._store.num_answers and self._store.answers[answer].row == mark.row:
                context[at] = mixed(context[at], _hash_of_text(ids, self._store.answers[answer].code))
            time[at], value[at] = self._store.rows[mark.row].timestamp_ms, self._store.rows[mark.row].value
        return rows, keys, contexts, published_s, times, values

    cdef int _read_event(self, const Written* written, const Rules* rules, int64_t latest_ms) except -1:
        """Read an event; return whether nothing in it is unusual, else nothing was taken."""
        cdef Parsed event
        cdef dict context = None
        if not parse_event(written, rules, latest_ms, &event):
            return False
        if event.is_batch:
            return self._read_batch(&event.payload, written.published_ms, rules, latest_ms)
        if event.entries.start != NULL:
            context = known_context(self._known_contexts, &event.entries, rules)
            if context is None:
                return False
        if not has_rule(&event, rules):
            return False
        if event.code < 0:
            self._store.num_ignored += 1
            return True
        hash_ = 0 if context is None or event.event_id.start == NULL else self._hash_context(context)
        if not add_event(&self._store, &event, hash_, written.published_ms):
            raise MemoryError
        if context is not None:
            self.contexts[self._store.num - 1] = context
        return True

    cdef int _read_batch(
        self, const Span* payload, int64_t published_ms, const Rules* rules, int64_t latest_ms
    ) except -1:
        """Read a packed batch in two passes: the first adds rows with indices in the dictionary, and may give up."""
        cdef RowStore* store = &self._store
        cdef Py_ssize_t num = store.num, num_marks = store.num_marks, num_ignored = store.num_ignored
        cdef Py_ssize_t num_answers = store.num_answers
        cdef bint was_sorted = store.is_sorted
        cdef int answer
        with nogil:  # Other threads answer meanwhile.
            answer = find_columns(&self._batch, payload, rules)
            if answer == READ:
                answer = read_rows(&self._batch, store, rules, published_ms, latest_ms)
            if answer == READ:
                answer = recode(&self._batch, store, num)
        if answer == NO_MEMORY:
            raise MemoryError
        if answer == UNUSUAL:
            store.num, store.num_marks, store.num_ignored, store.is_sorted = num, num_marks, num_ignored, was_sorted
            store.num_answers = num_answers
        return answer == READ


cdef uint64_t _hash_of_text(const TextTable* table, int32_t code) noexcept:
    return hashed(table.texts + table.offsets[code], table.offsets[code + 1] - table.offsets[code])


cdef _texts_of(const TextTable* table):
    utf8, offsets = np.empty(table.offsets[table.num], np.uint8), np.empty(table.num + 1, np.int64)
    memcpy(out_uint8s(utf8), table.texts, len(utf8))
    memcpy(out_int64s(offsets), table.offsets, len(offsets) * sizeof(int64_t))
    return utf8, offsets


cdef Py_ssize_t _gathered(list records, Py_ssize_t start, Py_ssize_t most, const Rules* rules, Written* written) except -1:
    """Note where the values of records are; return how many, up to the first that is unusual from outside."""
    cdef object record, value
    cdef Py_ssize_t number
    for number in range(most):
        record = <object> PyList_GET_ITEM(records, start + number)
        value = <object> PyTuple_GET_ITEM(record, VALUE)
        if not PyBytes_CheckExact(value) or <object> PyTuple_GET_ITEM(record, HEADERS):
            return number
        written[number].value = <const uint8_t*> PyBytes_AS_STRING(value)
        written[number].size = PyBytes_GET_SIZE(value)
        if written[number].size > rules.max_event_bytes:
            return number
        written[number].published_ms = <object> PyTuple_GET_ITEM(record, TIMESTAMP)
    return most
