"""Columns, attributes, lifetimes and tombstones are copied later, as they were when the copy began."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from springtide.events.model import NodeUpsert
from springtide.graph import late_columns
from springtide.graph.late_columns import LateColumn, in_parts
from springtide.graph.lifetimes import Lifetimes
from springtide.graph.nodes import NodeTable
from springtide.graph.tombstones import Tombstones

NAMES = ("brand", "price", "title")
VALUES = st.one_of(
    st.tuples(st.just("categories"), st.lists(st.sampled_from("abcdef"), max_size=3).map(tuple)),
    st.tuples(st.just("numbers"), st.integers(0, 3).map(float)),
    st.tuples(st.just("texts"), st.sampled_from(["", "x", "y", "long " * 9])),
    st.tuples(st.just("vectors"), st.sampled_from([(), (0.5, 1.0), (-2.0, 3.0)])),
)
UPSERTS = st.tuples(st.integers(0, 11), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3), st.integers(0, 5))
CHANGES = st.lists(st.one_of(UPSERTS, st.sampled_from(["forget", "cut", "reclaim"])), max_size=40)


def change(table: NodeTable, what, number: int) -> None:
    if isinstance(what, tuple):
        node, given_values, at_ms = what
        kinds = {kind: {} for kind in ("categories", "numbers", "texts", "vectors")}
        for name, (kind, value) in given_values.items():
            kinds[kind][name] = value
        table.upsert(NodeUpsert("item", f"i{node}", **kinds, timestamp_ms=at_ms))
    elif what == "reclaim":
        table.ids.release(table.take_forgotten())
        for column, codes in table.take_forgotten_values():
            column.release(codes)
    elif len(table) and table.ids.id(row := number % len(table)):
        if what == "forget":
            table.forget([row])
        else:
            table.cut([row], [number % 5])


def parts(column) -> list:
    """Return rows and numbers of a column as lists."""
    return [None if part is None else np.nan_to_num(part, nan=-1).tolist() for part in column]


def content(saved) -> object:
    """Return all that a snapshot has, as values that can be compared."""
    return (
        saved.version,
        saved.kinds,
        {
            name: (list(each.vocabulary), parts(each.first), each.more.as_dict())
            for name, each in sorted(saved.categories.items())
        },
        {name: parts(each) for name, each in sorted(saved.numbers.items())},
        {name: each.as_dict() for name, each in sorted(saved.texts.items())},
        {name: [part.tolist() for part in each] for name, each in sorted(saved.vectors.items())},
        saved.times.of_nodes.tolist(),
        {
            name: sorted(zip(*(column.tolist() for column in own), strict=True))
            for name, own in sorted(saved.times.own.items())
        },
    )


@pytest.mark.usefixtures("most_few")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, CHANGES, CHANGES)
def test_attributes_are_copied_as_they_were_whatever_happens_before_and_after(before, meanwhile, later):
    table = NodeTable("item")
    for number, what in enumerate(before):
        change(table, what, number)
    wanted, late = content(table.snapshot()), table.late_attributes()
    for number, what in enumerate(meanwhile):
        change(table, what, number)
    copy = late.copied()
    for number, what in enumerate(later):
        change(table, what, number)
    assert content(copy) == wanted
    assert late.copied() is copy


@settings(max_examples=50, deadline=None)
@given(*[st.lists(st.tuples(st.integers(0, 30), st.integers(-5, 50), st.sampled_from("nbf")), max_size=30)] * 2)
def test_lifetimes_are_copied_as_they_were(before, meanwhile):
    lifetimes = Lifetimes()

    def change_lifetimes(changes) -> None:
        for row, at_ms, what in changes:
            if what == "n":
                lifetimes.note(np.array([row, row % 7], np.int32), np.array([at_ms, at_ms + 1], np.int64))
            elif what == "b":
                lifetimes.bear([row], [at_ms])
            else:
                lifetimes.forget(row)

    change_lifetimes(before)
    wanted, late = lifetimes.snapshot(20), lifetimes.late_snapshot(20)
    change_lifetimes(meanwhile)
    copy = late.copied()
    for name in ("newest_ms", "first_ms", "born_rows", "born_ms"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(wanted, name))


@settings(max_examples=50, deadline=None)
@given(*[st.lists(st.tuples(st.integers(0, 90), st.integers(0, 50), st.booleans()), max_size=60)] * 2)
def test_tombstones_are_copied_as_they_were(before, meanwhile):
    tombstones = Tombstones(keep_ms=40)

    def delete(changes) -> None:
        for node, at_ms, expires in changes:
            tombstones.add("user" if node % 3 else "item", [f"n{node}", f"m{node % 5}"], [at_ms, at_ms + 2])
            if expires:
                tombstones.expire(at_ms + 60)

    delete(before)
    wanted, late = tombstones.snapshot(), tombstones.late_snapshot()
    delete(meanwhile)
    copy = late.copied()
    assert [each.node_type for each in copy] == [each.node_type for each in wanted]
    for each, was in zip(copy, wanted, strict=True):
        np.testing.assert_array_equal(each.digests, was.digests)
        np.testing.assert_array_equal(each.deleted_ms, was.deleted_ms)


def test_a_column_that_another_thread_copies_while_it_changes_is_as_it_was():
    column = np.arange(300_000)
    for _ in range(20):
        wanted, late = column.copy(), LateColumn(column)
        copies = []
        copier = threading.Thread(target=lambda late=late, copies=copies: copies.append(late.copied()))
        copier.start()
        random = np.random.default_rng(0)
        while copier.is_alive():
            rows = random.integers(0, len(column), 50)
            late.keep(rows)
            column[rows] += 1
        copier.join()
        np.testing.assert_array_equal(copies[0], wanted)


def test_what_a_copy_is_told_to_keep_is_as_much_as_changes():
    """A snapshot on the thread that applies events copies no column: that is for the thread that writes it."""
    table = NodeTable("item")
    table.upsert(NodeUpsert("item", "a", numbers={"price": 1.0}))
    table.ids.intern([f"i{number}" for number in range(100_000)])
    late, lifetimes = table.late_attributes(), table.lifetimes.late_snapshot(100_000)
    table.upsert(NodeUpsert("item", "a", numbers={"price": 2.0}))
    assert list(late._kept) == [0]
    assert lifetimes._newest_ms._kept == []
    assert parts(late.copied().numbers["price"]) == [[0], [1.0]]
    table.upsert(NodeUpsert("item", "a", numbers={"price": 3.0}))
    assert late._kept == {}  # What was copied is told nothing any more.


@pytest.mark.parametrize("step", [2, 1_000])
def test_a_dictionary_is_copied_in_parts_between_which_others_run(step: int, monkeypatch: pytest.MonkeyPatch):
    pauses: list[int] = []
    monkeypatch.setattr(late_columns, "let_others_run", lambda: pauses.append(1))
    wanted = {row: row + 1 for row in range(0, 99_000, step)}
    entries, kept = {**wanted, 99_001: 5}, {}
    for row, entry in ((0, 7), (1, 8), (98_000, None), (50_000, 9)):  # Changed, new, gone, changed.
        kept[row] = {0: "of another column"} | ({1: wanted[row]} if row in wanted else {})
        entries[row] = entry
    entries = {row: entry for row, entry in entries.items() if entry is not None}
    found: dict[int, int] = {}
    for rows, part in in_parts(entries, 99_000, kept, 1):
        assert len(rows) <= 2_048
        found |= zip(rows, part, strict=True)
    assert found == wanted
    assert len(pauses) == (49 if step == 2 else 0)
