"""The compiled loops that count pairs in tables (``pair_tables``)."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from springtide.arrays cimport int32s, out_bools
from springtide_plugins.context_weights.pair_tables cimport (
    FAILED, FOUND, Outcome, PairTable, Place, Sought, Table, count_at, count_of, fetch_next, find, hash_of, key_of,
    put, seek, set_count,
)

cdef enum:
    AT_ONCE = 32  # Pairs whose buckets come from memory side by side.

cnp.import_array()


cdef inline cnp.ndarray _rows(object array):
    """Return rows as loops take them: the array itself, or a copy where it is of strides."""
    return <cnp.ndarray> cnp.PyArray_FROMANY(array, cnp.NPY_INT32, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)


def add_pairs(PairTable young, PairTable old, user_rows, item_rows, Py_ssize_t start, int64_t room, occurred):
    """Count pairs in the young table, from the old one's count on, and mark those that occurred before.

    Args:
        young: The table that pairs are put into.
        old: Another one, with as many parts.
        user_rows: int32 ``[n]``, 0 or more.
        item_rows: int32 ``[n]``, 0 or more.
        start: Position of the first pair to count.
        room: How many pairs may be added to the young table, at least 1; after the last of them the loop ends.
        occurred: Output, bool ``[n]``.

    Returns:
        The position of the first pair that was not counted, n if there is none.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(occurred) or start < 0 or room < 1:
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    if young is old or young.table.num_parts != old.table.num_parts:
        raise ValueError("wanted two tables with as many parts")
    cdef Py_ssize_t stop = add(
        &young.table, &old.table, start, len(occurred), room, int32s(user_rows), int32s(item_rows), out_bools(occurred)
    )
    if stop == FAILED:
        raise MemoryError
    if stop < FAILED:
        raise ValueError(f"wanted rows of 0 or more, got user {user_rows[-2 - stop]} and item {item_rows[-2 - stop]}")
    return stop


cdef Py_ssize_t add(
    Table* young, Table* old, Py_ssize_t start, Py_ssize_t n, int64_t room, const int32_t* user_rows,
    const int32_t* item_rows, uint8_t* occurred,
) noexcept:
    cdef Sought[AT_ONCE] sought
    cdef Sought[AT_ONCE] former
    cdef Py_ssize_t done = start, index, num
    cdef int32_t user_row, item_row
    cdef int has_grown
    with nogil:
        while done < n:
            num = min(<Py_ssize_t> AT_ONCE, n - done)
            for index in range(num):
                user_row, item_row = user_rows[done + index], item_rows[done + index]
                if user_row < 0 or item_row < 0:
                    if index == 0:
                        return -2 - done
                    num = index  # Those before it are counted.
                    break
                seek_in_both(young, old, user_row, item_row, &sought[index], &former[index])
            for index in range(num):
                fetch_next(&sought[index])
            for index in range(num):
                has_grown = count(young, old, &sought[index], &former[index], &room, occurred + done)
                if has_grown == FAILED:
                    return FAILED
                done += 1
                if room == 0:
                    return done
                if has_grown:
                    break
    return n


cdef inline void seek_in_both(
    const Table* young, const Table* old, int32_t user_row, int32_t item_row, Sought* sought, Sought* former
) noexcept nogil:
    cdef uint64_t hash_ = hash_of(<uint64_t> item_row)
    seek(young, user_row, item_row, hash_, sought)
    if old.num_keys:
        seek(old, user_row, item_row, hash_, former)


cdef inline int count(
    Table* young, const Table* old, Sought* sought, const Sought* former, int64_t* room, uint8_t* occurred
) noexcept nogil:
    """Count a pair; return whether the part of the young table has grown, so that others are sought anew; or ``FAILED``."""
    cdef Place place, other
    cdef uint64_t count = 0
    cdef int has_grown = 0
    cdef Outcome outcome = find(sought, &place)
    if outcome == FOUND:
        count = count_of(young, sought, &place)
    else:
        has_grown = put(young, sought, outcome, &place)
        if has_grown == FAILED:
            return FAILED
        if old.num_keys and find(former, &other) == FOUND:
            count = count_of(old, former, &other)
        room[0] -= 1
    occurred[0] = count > 0
    if set_count(
        young, count_at(sought.part, place.bucket, place.slot), key_of(sought.user_row, sought.item_row), count + 1
    ) != 0:
        return FAILED
    return has_grown


def remove_pairs(PairTable young, PairTable old, user_rows, item_rows, is_left):
    """Take each pair back once, from the table that counts it, and mark whether it is left.

    Args:
        young: The table that counts pairs.
        old: The table that counts those that the young one does not have.
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        is_left: Output, bool ``[n]``, filled with true before.
    """
    user_rows, item_rows = _rows(user_rows), _rows(item_rows)
    if not len(user_rows) == len(item_rows) == len(is_left):
        raise ValueError(f"wanted pairs of one length, got {len(user_rows)} and {len(item_rows)}")
    if remove(&young.table, &old.table, len(is_left), int32s(user_rows), int32s(item_rows), out_bools(is_left)) != 0:
        raise MemoryError


cdef int remove(
    Table* young, Table* old, Py_ssize_t n, const int32_t* user_rows, const int32_t* item_rows, uint8_t* is_left
) noexcept:
    cdef Py_ssize_t number
    cdef uint64_t count, key
    cdef bint is_young, is_old
    cdef Sought sought, former
    cdef Place place, other
    with nogil:
        for number in range(n):
            if user_rows[number] < 0 or item_rows[number] < 0:
                continue
            key = key_of(user_rows[number], item_rows[number])
            seek_in_both(young, old, user_rows[number], item_rows[number], &sought, &former)
            is_young = find(&sought, &place) == FOUND
            is_old = old.num_keys > 0 and find(&former, &other) == FOUND
            if is_young and is_old:  # It was counted on in the young table.
                if set_count(old, count_at(former.part, other.bucket, other.slot), key, 0) != 0:
                    return FAILED
                former.part.has_gone = True
            elif is_old:
                sought, place = former, other
            elif not is_young:
                continue
            count = count_of(young if is_young else old, &sought, &place)
            if count == 0:
                continue
            if set_count(
                young if is_young else old, count_at(sought.part, place.bucket, place.slot), key, count - 1
            ) != 0:
                return FAILED
            sought.part.has_gone = True
            is_left[number] = count > 1
    return 0
