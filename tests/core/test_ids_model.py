"""The id map against a dictionary that does the same."""

import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from springtide.ids import IdMap
from springtide.packed_texts import PackedTexts, pack, unpack

SOME_IDS = st.lists(st.text("abä\0😀", min_size=1, max_size=2), max_size=6)


class Against(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.map = IdMap()
        self.ids: list[str] = []
        self.rested: list[int] = []  # Rows that were forgotten, and are not released yet.
        self.released: list[int] = []
        self.reused: list[int] = []

    def wanted_row(self, id_: str) -> int:
        return self.ids.index(id_) if id_ in self.ids else -1

    def interned(self, ids: list[str]) -> list[int]:
        for id_ in ids:
            if id_ in self.ids:
                continue
            if self.released:
                self.reused.append(self.released.pop())
                self.ids[self.reused[-1]] = id_
            else:
                self.ids.append(id_)
        return [self.wanted_row(id_) for id_ in ids]

    @rule(ids=SOME_IDS)
    def intern(self, ids):
        wanted = self.interned(ids)
        assert self.map.intern(ids).tolist() == wanted

    @rule(ids=SOME_IDS)
    def intern_packed(self, ids):
        wanted = self.interned(ids)
        assert self.map.intern_packed(*pack(ids)).tolist() == wanted

    @rule(ids=SOME_IDS)
    def look_up(self, ids):
        wanted = [self.wanted_row(id_) for id_ in ids]
        assert self.map.rows(ids).tolist() == self.map.rows_packed(*pack(ids)).tolist() == wanted
        assert [self.map.row(id_) for id_ in ids] == wanted

    @rule(data=st.data())
    def forget(self, data):
        if self.ids:
            row = data.draw(st.integers(0, len(self.ids) - 1))
            if self.ids[row]:
                self.rested.append(row)
            self.ids[row] = ""
            self.map.forget(row)

    @rule()
    def release(self):
        self.map.release(self.rested)
        self.released += self.rested
        self.rested = []

    @rule()
    def save_and_restore(self):
        if not self.released and not self.reused:
            self.map = IdMap(self.map.all_packed())

    @invariant()
    def same(self):
        assert self.map.all_ids() == self.ids == unpack(*self.map.all_packed())
        assert (len(self.map), self.map.num_known) == (len(self.ids), len(list(filter(None, self.ids))))
        assert self.map.forgotten_rows(99).tolist() == [row for row, id_ in enumerate(self.ids) if not id_]
        assert self.map.num_reuses == len(self.reused)
        for count in {0, len(self.reused) // 2}:
            assert self.map.reused_since(count, 99).tolist() == sorted(set(self.reused[count:]))


Against.TestCase.settings = settings(max_examples=60, deadline=None)
TestAgainstDictionary = Against.TestCase


def test_many_ids_come_and_go_as_in_a_dictionary():
    chance, ids, rows, living = random.Random(1), IdMap(), {}, []
    for _ in range(300):
        new = [f"{chance.random()}"[: chance.randint(3, 12)] for _ in range(100)]
        for id_, row in zip(new, ids.intern_packed(*pack(new)).tolist(), strict=True):
            assert rows.setdefault(id_, row) == row
        living = list(rows)
        gone = chance.sample(living, len(living) // 2 if chance.random() < 0.1 else len(living) // 60)
        for id_ in gone:
            ids.forget(rows[id_])
            assert ids.row(id_) == -1
        ids.release([rows.pop(id_) for id_ in gone])
    assert ids.rows(list(rows)).tolist() == list(rows.values())
    assert ids.ids(list(rows.values())) == list(rows)
    assert ids.num_known == len(rows)


def test_bytes_of_forgotten_ids_are_given_back():
    ids = IdMap()
    for generation in range(200):
        rows = ids.intern([f"{generation}-{number:0100}" for number in range(100)])
        for row in rows.tolist():
            ids.forget(row)
        ids.release(reversed(rows.tolist()))
    assert len(ids) == 100
    assert ids.nbytes < 100_000  # All of them together would be 2 MB.


def test_bytes_an_id_stay_few():
    ids = IdMap([f"item-{number:07}" for number in range(50_000)])
    assert ids.nbytes / 50_000 < 12 + 12 + 24  # The text, where it lies, and the hash table.


def test_packed_ids_are_refused_as_strings_are():
    ids = IdMap()
    with pytest.raises(ValueError, match="empty"):
        ids.intern_packed(*pack(["a", "", "b"]))
    assert ids.all_ids() == ["a"]
    with pytest.raises(UnicodeDecodeError):
        ids.intern_packed(np.frombuffer(b"\xff", np.uint8), np.array([0, 1]))
    assert ids.rows_packed(np.frombuffer(b"\xffa", np.uint8), np.array([0, 1, 2])).tolist() == [-1, 0]
    assert len(ids) == 1


@pytest.mark.parametrize("offsets", [[], [0, 2], [1, 0], [-1, 1], [0, 2, 1]])
def test_offsets_that_leave_the_bytes_are_refused(offsets):
    with pytest.raises(ValueError, match="ascending offsets"):
        IdMap().intern_packed(np.zeros(1, np.uint8), np.array(offsets, np.int64))


def test_part_of_packed_ids_is_interned():
    ids, packed = IdMap(), pack(["a", "bb", "ccc"])
    assert ids.intern_packed(packed.utf8, packed.offsets[1:]).tolist() == [0, 1]
    assert ids.all_ids() == ["bb", "ccc"]


def test_half_a_surrogate_pair_is_no_id():
    ids = IdMap(["a"])
    assert ids.row("\ud800") == -1
    assert ids.rows(["\ud800", "a"]).tolist() == [-1, 0]
    with pytest.raises(ValueError, match="surrogates"):
        ids.intern(["b", "\ud800"])
    assert ids.all_ids() == ["a", "b"]


def test_rows_that_are_not_there_are_refused():
    ids = IdMap(["a"])
    for wrong in (1, -1):
        with pytest.raises(IndexError):
            ids.id(wrong)
        with pytest.raises(IndexError):
            ids.ids([0, wrong])
        with pytest.raises(IndexError):
            ids.forget(wrong)
    with pytest.raises(ValueError, match="forgotten row"):
        ids.release([0])


def test_readers_see_whole_entries_while_ids_come_and_go():
    ids, stays = IdMap(), [f"stays-{number}" for number in range(2_000)]
    rows, failures, stopping = ids.intern(stays).tolist(), [], threading.Event()

    def read():
        while not stopping.is_set():
            if ids.rows(stays).tolist() != rows or ids.ids(rows) != stays:
                failures.append("stays")
            for id_ in ("goes-0", "goes-7"):
                row = ids.row(id_)
                if row >= 0 and ids.id(row) not in ("", id_) and not ids.id(row).startswith("goes-"):
                    failures.append(id_)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(200):
        gone = ids.intern([f"goes-{number}" for number in range(500)]).tolist()
        for row in gone:
            ids.forget(row)
        ids.release(gone)
    stopping.set()
    for reader in readers:
        reader.join()
    assert not failures


def test_map_starts_from_packed_ids():
    assert IdMap(PackedTexts(*pack(["b", "", "a"]))).rows(["a", "b"]).tolist() == [2, 0]
    with pytest.raises(ValueError, match="twice"):
        IdMap(pack(["a", "a"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=100))
def test_a_table_that_is_filled_at_once_is_one_that_was_filled_one_by_one(texts):
    """Some of them are empty, for forgotten ids, and some stand twice."""
    ids = [text for text in texts if text.isprintable()]
    known = [text for text in ids if text]
    if len(set(known)) < len(known):
        with pytest.raises(ValueError, match="distinct ids"):
            IdMap(ids)
        ids = list(dict.fromkeys(ids))
        known = [text for text in ids if text]
    filled, grown = IdMap(ids), IdMap()
    for text in ids:
        grown.append_packed(*pack([text]))
    assert filled.all_ids() == grown.all_ids() == ids
    assert (len(filled), filled.num_known) == (len(ids), len(known))
    assert filled.rows([*known, "none of them"]).tolist() == grown.rows([*known, "none of them"]).tolist()
    assert filled.intern(["another", *known]).tolist() == grown.intern(["another", *known]).tolist()


def test_what_is_no_utf8_is_refused_when_a_table_is_filled():
    broken = PackedTexts(np.frombuffer(b"a\xffb", np.uint8), np.array([0, 1, 2, 3]))
    with pytest.raises(UnicodeDecodeError):
        IdMap(broken)
