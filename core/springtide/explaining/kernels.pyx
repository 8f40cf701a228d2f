"""The compiled loops of paths: who had the items that are explained, and who of them had another item.

Both walk chains of edges (see ``graph.kernels``), at most some steps at a time, so that the caller can look at the time.
A note says when a person last had an item. The notes of one person are a list: ``head[person]`` is the number of the
latest note plus 1, 0 for none; ``older[note]`` the same for the note before it.
"""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t

from springtide.arrays cimport int32s, int64s, out_int32s, out_int64s


def note_holders(
    int edge, int length, prev, sources, times, dead_since, int generation, int64_t before_ms, int max_steps,
    int left_out, int item, int num_notes, head, older, items, latest_ms, people,
):
    """Note who had an item, walking the chain of its edges; notes of one item are made by calls in a row.

    Args:
        edge: Where to begin.
        length: Edges from this index on arrived after the view.
        prev: int32 ``[capacity]``.
        sources: int32 ``[capacity]``, the people.
        times: int64 ``[capacity]``.
        dead_since: int32 ``[capacity]``; not read if ``generation`` is 0.
        generation: The view's generation; 0 if none of its edges is dead.
        before_ms: Only edges before this time count.
        max_steps: Edges to walk at most.
        left_out: A person who is not noted; -1 for none.
        item: The item's number in the notes.
        num_notes: Number of notes so far; the arrays must have room for ``max_steps`` more.
        head: int32 ``[num_people]``.
        older: int32 ``[room]``.
        items: int32 ``[room]``, the item of each note.
        latest_ms: int64 ``[room]``, when the person last had the item.
        people: int32 ``[room]``, the person of each note.

    Returns:
        The edge to go on from, -1 at the end of the chain; and the number of notes.
    """
    cdef Py_ssize_t num_people = len(head)
    cdef const int32_t* prev_of = int32s(prev)
    cdef const int32_t* source_of = int32s(sources)
    cdef const int64_t* time_of = int64s(times)
    cdef const int32_t* died = int32s(dead_since)
    cdef int32_t* head_of = out_int32s(head)
    cdef int32_t* older_of = out_int32s(older)
    cdef int32_t* item_of = out_int32s(items)
    cdef int64_t* latest_of = out_int64s(latest_ms)
    cdef int32_t* person_of = out_int32s(people)
    cdef int32_t person, note
    cdef int steps = 0
    with nogil:
        while edge >= 0 and steps < max_steps:
            steps += 1
            if edge < length and time_of[edge] < before_ms and not (generation > 0 and 0 < died[edge] <= generation):
                person = source_of[edge]
                if person != left_out and person < num_people:
                    note = head_of[person] - 1
                    if note >= 0 and item_of[note] == item:
                        latest_of[note] = max(latest_of[note], time_of[edge])
                    else:
                        person_of[num_notes] = person
                        older_of[num_notes] = note + 1
                        item_of[num_notes] = item
                        latest_of[num_notes] = time_of[edge]
                        num_notes += 1
                        head_of[person] = num_notes
            edge = prev_of[edge]
    return edge, num_notes


def count_shared(
    int edge, int length, prev, sources, times, dead_since, int generation, int64_t before_ms, int max_steps,
    int left_out, int mark, marks, head, older, items, latest_ms, int64_t recent_ms, num_shared, num_recent, last_ms,
):
    """Count who of those that had an item had the noted ones, walking the chain of its edges.

    Args:
        edge: Where to begin; also ``length`` to ``max_steps``, as of ``note_holders``.
        left_out: A person who does not count; -1 for none.
        mark: A number that no other item's walk has: a person who has it in ``marks`` is counted already.
        marks: int32 ``[num_people]``.
        head: int32 ``[num_people]``; it and the next three are the notes, see ``note_holders``.
        recent_ms: A noted item counts as had lately from this time on.
        num_shared: Counts are added to it: int32 ``[num_items]``, people who had both.
        num_recent: The same, of those who had the noted item lately.
        last_ms: int64 ``[num_items]``, when one of them last had the noted item; greater ones replace what is there.

    Returns:
        The edge to go on from, -1 at the end of the chain.
    """
    cdef Py_ssize_t num_people = len(head)
    cdef const int32_t* prev_of = int32s(prev)
    cdef const int32_t* source_of = int32s(sources)
    cdef const int64_t* time_of = int64s(times)
    cdef const int32_t* died = int32s(dead_since)
    cdef int32_t* mark_of = out_int32s(marks)
    cdef const int32_t* head_of = int32s(head)
    cdef const int32_t* older_of = int32s(older)
    cdef const int32_t* item_of = int32s(items)
    cdef const int64_t* latest_of = int64s(latest_ms)
    cdef int32_t* shared_of = out_int32s(num_shared)
    cdef int32_t* recent_of = out_int32s(num_recent)
    cdef int64_t* last_of = out_int64s(last_ms)
    cdef int32_t person
    cdef int steps = 0
    with nogil:
        while edge >= 0 and steps < max_steps:
            steps += 1
            if edge < length and time_of[edge] < before_ms and not (generation > 0 and 0 < died[edge] <= generation):
                person = source_of[edge]
                if person != left_out and person < num_people and mark_of[person] != mark:
                    mark_of[person] = mark
                    _count(head_of[person] - 1, older_of, item_of, latest_of, recent_ms, shared_of, recent_of, last_of)
            edge = prev_of[edge]
    return edge


def pairs_with_own(
    people, int first, int length, head, prev, targets, times, dead_since, int generation, int64_t before_ms,
    int max_steps, own_of, marks, out_people, out_own,
):
    """Find which of the user's own items some people had, walking the chains of their edges.

    Args:
        people: int32 ``[n]``, rows of people.
        first: Position of the first person to walk.
        length: As of ``note_holders``; so are the edges' other arrays.
        head: int32 ``[num_rows]``, of the people.
        targets: int32 ``[capacity]``, the items.
        max_steps: Edges to walk in all, at most; and of one person.
        own_of: int32 ``[num_items]``, the number of each of the user's items plus 1, 0 for other items.
        marks: int32 ``[num_own]``, not above ``first`` before the first call.
        out_people: Output, int32 ``[room]``: positions in ``people``, ascending; room for ``max_steps``.
        out_own: Output, int32 ``[room]``: the number of an own item which that person had, once for each.

    Returns:
        The position of the person to go on with; how many pairs there are; and whether a person had too many edges.
    """
    cdef Py_ssize_t num_rows = len(head), num_items = len(own_of), num_people = len(people)
    cdef const int32_t* person_of = int32s(people)
    cdef const int32_t* head_of = int32s(head)
    cdef const int32_t* prev_of = int32s(prev)
    cdef const int32_t* target_of = int32s(targets)
    cdef const int64_t* time_of = int64s(times)
    cdef const int32_t* died = int32s(dead_since)
    cdef const int32_t* number_of = int32s(own_of)
    cdef int32_t* mark_of = out_int32s(marks)
    cdef int32_t* people_out = out_int32s(out_people)
    cdef int32_t* own_out = out_int32s(out_own)
    cdef int steps = 0, num_pairs = 0, position = first, before, pairs_before
    cdef int32_t edge, own
    cdef bint is_cut = False
    with nogil:
        while position < num_people and steps < max_steps:
            before, pairs_before = steps, num_pairs
            edge = head_of[person_of[position]] if person_of[position] < num_rows else -1
            while edge >= 0 and steps < max_steps:
                steps += 1
                if edge < length and time_of[edge] < before_ms and not (generation > 0 and 0 < died[edge] <= generation):
                    if target_of[edge] < num_items:
                        own = number_of[target_of[edge]] - 1
                        if own >= 0 and mark_of[own] != position + 1:
                            mark_of[own] = position + 1
                            people_out[num_pairs] = position
                            own_out[num_pairs] = own
                            num_pairs += 1
                edge = prev_of[edge]
            if edge >= 0:
                if before > 0:  # The next call has room for all of this person's edges, or as many as for anybody.
                    num_pairs = pairs_before
                    break
                is_cut = True
            position += 1
    return position, num_pairs, is_cut


def count_pairs(
    people, pair_people, pair_own, head, older, items, latest_ms, int64_t recent_ms, num_shared, num_recent, last_ms,
):
    """Count, for each of the user's own items, who of those that had it had the noted items.

    Args:
        people: int32 ``[n]``, rows of people.
        pair_people: int32 ``[num_pairs]``, positions in ``people``; each pair is there once.
        pair_own: int32 ``[num_pairs]``, the number of an own item which that person had.
        head: int32 ``[num_people]``; it and the next three are the notes, see ``note_holders``.
        recent_ms: A noted item counts as had lately from this time on.
        num_shared: Counts are added to it: int32 ``[num_own, num_items]``, people who had both.
        num_recent: The same, of those who had the noted item lately.
        last_ms: int64 ``[num_own, num_items]``, when one of them last had the noted item.
    """
    cdef Py_ssize_t pair, at, num_pairs = len(pair_people), width = num_shared.shape[1]
    cdef const int32_t* person_of = int32s(people)
    cdef const int32_t* position_of = int32s(pair_people)
    cdef const int32_t* own_of = int32s(pair_own)
    cdef const int32_t* head_of = int32s(head)
    cdef const int32_t* older_of = int32s(older)
    cdef const int32_t* item_of = int32s(items)
    cdef const int64_t* latest_of = int64s(latest_ms)
    cdef int32_t* shared_of = out_int32s(num_shared)
    cdef int32_t* recent_of = out_int32s(num_recent)
    cdef int64_t* last_of = out_int64s(last_ms)
    with nogil:
        for pair in range(num_pairs):
            at = own_of[pair] * width
            _count(
                head_of[person_of[position_of[pair]]] - 1, older_of, item_of, latest_of, recent_ms,
                shared_of + at, recent_of + at, last_of + at,
            )


cdef inline void _count(
    int32_t note, const int32_t* older, const int32_t* items, const int64_t* latest_ms, int64_t recent_ms,
    int32_t* num_shared, int32_t* num_recent, int64_t* last_ms,
) noexcept nogil:
    """Count the noted items of one person, from their latest note on."""
    cdef int32_t item
    while note >= 0:
        item = items[note]
        num_shared[item] += 1
        if latest_ms[note] >= recent_ms:
            num_recent[item] += 1
        last_ms[item] = max(last_ms[item], latest_ms[note])
        note = older[note] - 1
