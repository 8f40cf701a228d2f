"""Ids are copied later, in parts, as they were when the copy began."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.events.model import NodeUpsert
from springtide.graph import late_ids
from springtide.graph.nodes import NodeTable
from springtide.ids import IdMap
from springtide.packed_texts import unpack

CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "forget", "release", "copy"]), st.integers(0, 30)), min_size=1, max_size=40
)


def add(table: NodeTable, *ids: str) -> None:
    for node_id in ids:
        table.upsert(NodeUpsert("item", node_id))


@settings(max_examples=150, deadline=None)
@given(CHANGES, CHANGES)
def test_a_copy_is_what_was_whatever_happens_before_each_part_of_it(before, meanwhile):
    table = NodeTable("item")
    add(table, *(f"i{number}" for number in range(20)))
    names = iter(f"new{number}" for number in range(100))

    def change(what: str, number: int) -> None:
        if what == "add":
            add(table, next(names))
        elif what == "forget" and table.ids.id(row := number % len(table)):
            table.forget([row])
        elif what == "release":
            table.ids.release(table.take_forgotten())

    for each in before:
        change(*each)
    wanted, copy, parts = table.ids.all_ids(), table.late_ids(), {}
    for what, number in meanwhile:
        change(what, number)
        if what == "copy":
            start, stop = sorted((number % (len(wanted) + 1), (number * 7) % (len(wanted) + 1)))
            parts[start, stop] = copy.packed(start, stop)
    for (start, stop), part in parts.items():
        assert unpack(*part) == wanted[start:stop]
    assert unpack(*copy.packed(0, copy.num_rows)) == wanted


def test_few_rows_are_copied_at_once(monkeypatch):
    """No other thread runs while rows are copied: the server must not stop for all of a million at once."""
    counts = []

    class Counted(IdMap):
        def packed(self, start, stop):
            counts.append(stop - start)
            return super().packed(start, stop)

    ids = Counted([f"item-{number}" for number in range(100_000)])
    copy = late_ids.LateIds(ids)
    assert counts == []  # Nothing is copied while the writer waits.
    packed = copy.packed(10, 100_000)
    assert max(counts) <= 16_384
    assert sum(counts) == 99_990
    np.testing.assert_array_equal(packed.offsets, np.array(ids.packed(10, 100_000)[1]))
