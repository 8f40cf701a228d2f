"""Attributes against a naive table, in any order of arrival, and through checkpoints."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from springtide.checkpoint import files
from springtide.checkpoint.array_files import arrays_from_bytes, arrays_to_bytes
from springtide.checkpoint.arrow_files import attributes_from_arrow
from springtide.events.model import NodeUpsert
from springtide.graph import LiveGraph
from springtide.graph.attribute_times import AttributeTimes, TimesSnapshot
from springtide.graph.nodes import NodeTable

NAMES = ["a", "b", "c"]
values = st.one_of(
    st.tuples(st.just("category"), st.sampled_from([(), ("x",), ("x", "y"), ("y", "x")])),
    st.tuples(st.just("number"), st.sampled_from([0.0, 0.1, 2.0])),
    st.tuples(st.just("text"), st.sampled_from(["", "x", "y"])),
)
upserts = st.tuples(
    st.sampled_from(["n0", "n1", "n2"]),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=3),
    st.integers(-2, 4),
)
RANKS = {"category": 1, "number": 2, "text": 3}


def upsert_of(node_id, attributes, at_ms):
    of_kind = {
        kind: {name: value for name, (its, value) in attributes.items() if its == kind}
        for kind in ("category", "number", "text")
    }
    return NodeUpsert("item", node_id, of_kind["category"], of_kind["number"], of_kind["text"], at_ms)


def naive(events):
    """What readers see of each node: (kinds by attribute, attributes by node id)."""
    latest = {}
    for node_id, attributes, at_ms in events:
        for name, (kind, value) in attributes.items():
            rank = 0 if value == () else RANKS[kind]
            stored = float(value) if kind == "number" else value
            key = (node_id, name)
            latest[key] = max(latest.get(key, (at_ms, rank, stored)), (at_ms, rank, stored))
    kinds = {}
    for name in NAMES:
        ranks = [rank for (_, its), (_, rank, _) in latest.items() if its == name]
        if ranks:
            kinds[name] = max(RANKS, key=lambda kind: ranks.count(RANKS[kind]))  # Of equals, the first.
    seen = {
        (node_id, name): stored for (node_id, name), (_, rank, stored) in latest.items() if rank == RANKS[kinds[name]]
    }
    return kinds, seen


def naive_holders(events):
    """The nodes with a value of any kind, hidden or not."""
    latest = {}
    for node_id, attributes, at_ms in events:
        for name, (kind, value) in attributes.items():
            rank = 0 if value == () else RANKS[kind]
            latest[node_id, name] = max(latest.get((node_id, name), (at_ms, rank)), (at_ms, rank))
    return {node_id for (node_id, _), (_, rank) in latest.items() if rank}


def seen_in(table: NodeTable):
    seen = {}
    for node_id in table.ids.all_ids():
        row = table.ids.row(node_id)
        for name, value in table.category_values(row):
            seen[node_id, name] = (*seen.get((node_id, name), ()), value)
        seen |= {(node_id, name): number for name, number in table.number_values(row).items()}
        texts = {(node_id, name): table.text(name, row) for name in NAMES}
        seen |= {key: text for key, text in texts.items() if text is not None}
    return table.kinds, seen


def through_a_checkpoint(table: NodeTable) -> NodeTable:
    saved = table.snapshot()
    again = NodeTable("item")
    content = arrays_to_bytes(files.attribute_arrays(saved))
    again.restore(table.ids.all_ids(), "lineage", files.attributes_from(arrays_from_bytes(content), saved.version))
    return again


@pytest.mark.usefixtures("most_few")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(upserts, max_size=14), st.randoms(use_true_random=False), st.integers(0, 14))
def test_order_of_arrival_and_restarts_change_nothing(events, random, restart_at):
    wanted = naive(events)
    shuffled = events.copy()
    random.shuffle(shuffled)
    table = LiveGraph().nodes("item")
    for position, event in enumerate(shuffled):
        if position == restart_at:
            table = through_a_checkpoint(table)
        table.upsert(upsert_of(*event))
    assert seen_in(table) == wanted
    assert set(table.ids.ids(np.flatnonzero(table.has_attributes()))) == naive_holders(events)
    assert seen_in(through_a_checkpoint(table)) == wanted


@pytest.mark.usefixtures("most_few")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(upserts, max_size=14), st.integers(-2, 4))
def test_late_deletion_leaves_what_was_set_after_it(events, until_ms):
    table = LiveGraph().nodes("item")
    for event in events:
        table.upsert(upsert_of(*event))
    if len(table):
        table.cut(range(len(table)), [until_ms] * len(table))
    latest = LiveGraph().nodes("item")
    for node_id, attributes, at_ms in events:
        latest.upsert(upsert_of(node_id, attributes if at_ms > until_ms else {}, at_ms))
    assert seen_in(table) == seen_in(latest)


def file_without_times() -> bytes:
    """Return a file as it was written before times were kept: no column for them, and no null in a category."""
    values = pa.list_(pa.dictionary(pa.int32(), pa.string()))
    columns = {
        "category:tag": pa.array([["x"]], values),
        "category:brand": pa.array([[]], values),
        "number:price": pa.array([1.0], pa.float32()),
    }
    kinds = {"tag": "category", "brand": "category", "price": "number"}
    table = pa.table(columns).replace_schema_metadata({"kinds": json.dumps(kinds)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_checkpoint_without_times_has_the_time_0():
    again = NodeTable("item")
    saved = attributes_from_arrow(file_without_times(), "lineage:3")
    again.restore(["a", "b"], "lineage", saved)
    again.upsert(NodeUpsert("item", "a", {"brand": ("own",)}, {"price": 2.0}, timestamp_ms=1))
    again.upsert(NodeUpsert("item", "a", {"tag": ("y",)}, timestamp_ms=-1))
    assert seen_in(again)[1] == {("a", "tag"): ("x",), ("a", "brand"): ("own",), ("a", "price"): 2.0}


def test_schema_hides_what_a_checkpoint_has_of_other_kinds():
    table = LiveGraph().nodes("item")
    table.upsert(NodeUpsert("item", "a", texts={"price": "cheap", "c": "a"}, timestamp_ms=50))
    table.upsert(NodeUpsert("item", "b", {"price": ("low",)}, timestamp_ms=50))
    table.upsert(NodeUpsert("item", "c", numbers={"price": 2.0}, timestamp_ms=50))
    saved = table.snapshot()
    again = NodeTable("item", {"price": "number"})
    again.restore(["a", "b", "c"], "lineage", saved)
    again.upsert(NodeUpsert("item", "a", numbers={"price": 1.0}, timestamp_ms=10))
    assert seen_in(again) == (
        {"price": "number", "c": "text"},
        {("a", "price"): 1.0, ("a", "c"): "a", ("c", "price"): 2.0},
    )


@pytest.mark.parametrize("num_nodes", [10, 3_000])
def test_one_attribute_that_is_set_alone_has_times_of_its_own(num_nodes):
    times = AttributeTimes()
    catalogue = ["brand", "name", "price"]
    for row in range(num_nodes):
        times.set(row, catalogue, 3, iter(()), 100 + row)
        times.set(row, ["price"], 0, iter(["brand", "name"]), 500 + row)
    assert {name: times.of(name, num_nodes - 1) for name in catalogue} == {
        "brand": 99 + num_nodes,
        "name": 99 + num_nodes,
        "price": 499 + num_nodes,
    }
    assert list(times.own) == ["price"]
    times.set(0, catalogue, 0, iter(()), 700)
    assert times.own["price"].num_held == num_nodes - 1
    assert times.own["price"].held()[0].tolist() == list(range(1, num_nodes))


def test_times_of_their_own_that_are_many_are_an_array_again_after_a_restart():
    """The first change must not have to turn a dictionary of a million times into one."""
    rows = np.arange(3_000, dtype=np.int32)
    saved = TimesSnapshot(np.zeros(3_000, np.int64), {"price": (rows, rows + 5), "brand": (rows[:9], rows[:9] + 7)})
    times = AttributeTimes()
    times.restore(saved, np.full(3_000, 2, np.int32))
    assert {name: isinstance(own.entries, dict) for name, own in times.own.items()} == {"price": False, "brand": True}
    assert [times.of(name, row) for name in ("price", "brand") for row in (8, 9)] == [13, 14, 15, 0]
