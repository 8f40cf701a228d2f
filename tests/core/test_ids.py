import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.ids import IdMap


def test_rows_come_in_order_of_arrival():
    ids = IdMap()
    rows = ids.intern(["b", "a", "b", "c"])
    assert rows.tolist() == [0, 1, 0, 2]
    assert rows.dtype == np.int32
    assert ids.intern(["c", "d"]).tolist() == [2, 3]
    assert len(ids) == 4
    assert ids.all_ids() == ["b", "a", "c", "d"]


def test_unknown_id_has_row_minus_one():
    ids = IdMap(["a"])
    assert ids.rows(["a", "b"]).tolist() == [0, -1]
    assert (ids.row("a"), ids.row("b")) == (0, -1)
    assert len(ids) == 1


def test_rows_turn_back_into_ids():
    ids = IdMap(["a", "b"])
    assert ids.id(1) == "b"
    assert ids.ids(np.array([1, 0, 1])) == ["b", "a", "b"]
    assert ids.ids([0]) == ["a"]


def test_forgotten_id_gets_a_new_row():
    ids = IdMap(["a", "b"])
    ids.forget(0)
    assert (ids.id(0), ids.row("a"), len(ids)) == ("", -1, 2)
    assert ids.intern(["a", "b"]).tolist() == [2, 1]
    assert IdMap(ids.all_ids()).rows(["a", "b"]).tolist() == [2, 1]


def test_released_row_is_given_to_the_next_new_id():
    ids = IdMap(["a", "b", "c"])
    ids.forget(0)
    ids.forget(1)
    assert ids.forgotten_rows(3).tolist() == [0, 1]
    assert ids.forgotten_rows(1).tolist() == [0]
    ids.release([1])
    assert ids.intern(["d", "a", "d"]).tolist() == [1, 3, 1]
    assert (ids.forgotten_rows(9).tolist(), ids.num_known, len(ids)) == ([0], 3, 4)
    assert ids.reused_since(0, 4).tolist() == [1]
    assert ids.reused_since(ids.num_reuses, 4).tolist() == []
    ids.forget(1)
    ids.release([0])
    ids.release([1])
    assert ids.intern(["e"]).tolist() == [1]
    assert ids.reused_since(1, 2).tolist() == [1]
    assert ids.all_ids() == ["", "e", "c", "a"]


def test_empty_id_is_refused():
    with pytest.raises(ValueError, match="empty"):
        IdMap().intern(["a", ""])


def test_id_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        IdMap(["a", "a"])


@given(st.lists(st.lists(st.text(min_size=1, max_size=3), max_size=8), max_size=8))
def test_interning_again_changes_nothing(batches):
    ids = IdMap()
    rows = [ids.intern(batch).tolist() for batch in batches]
    assert [ids.intern(batch).tolist() for batch in batches] == rows
    assert [ids.ids(batch_rows) for batch_rows in rows] == batches
    assert len(set(ids.all_ids())) == len(ids)


def test_reader_beside_the_writer_sees_whole_entries_only():
    ids, wanted = IdMap(), [f"id-{number}" for number in range(20_000)]
    writer = threading.Thread(target=lambda: [ids.intern(wanted[at : at + 100]) for at in range(0, len(wanted), 100)])
    writer.start()
    while writer.is_alive():
        rows = ids.rows(wanted)
        known = rows[rows >= 0]
        assert ids.ids(known) == wanted[: len(known)]
    writer.join()


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 15, 16, 17, 24, 63, 64, 65, 100])
def test_ids_that_differ_in_one_letter_are_told_apart(length):
    ids = ["a" * length, *("a" * place + "b" + "a" * (length - place - 1) for place in range(length))]
    ids += [id_ + "a" for id_ in ids] + [id_[1:] for id_ in ids[:2] if length > 1]
    ids = list(dict.fromkeys(ids))
    map_ = IdMap(ids)
    assert map_.rows(ids).tolist() == list(range(len(ids)))
    assert map_.intern(list(reversed(ids))).tolist() == list(reversed(range(len(ids))))
    assert map_.all_ids() == ids
    assert map_.rows(["a" * (length + 3), "c" * length]).tolist() == [-1, -1]
