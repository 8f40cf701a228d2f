import threading

import numpy as np
import pytest

from springtide.errors import EventRefusedError
from springtide.events.model import NodeUpsert
from springtide.graph import LiveGraph


def item(node_id: str, categories=None, numbers=None, texts=None) -> NodeUpsert:
    return NodeUpsert("item", node_id, categories or {}, numbers or {}, texts or {})


def table_of(*upserts: NodeUpsert):
    graph = LiveGraph()
    for upsert in upserts:
        graph.upsert(upsert)
    return graph.nodes("item")


def test_attributes_become_columns():
    table = table_of(
        item("a", {"department": ("DELI", "BAKERY")}, {"price": 1.5}, {"name": "bread"}),
        item("b", {"department": ("DELI",)}),
        item("c"),
    )
    department = table.categories["department"]
    assert department.vocabulary.all_ids() == ["DELI", "BAKERY"]
    assert department.first_codes().tolist() == [0, 0, -1]
    assert sorted(zip(*(column.tolist() for column in department.pairs()), strict=True)) == [(0, 0), (0, 1), (1, 0)]
    np.testing.assert_array_equal(table.numbers["price"], np.array([1.5, np.nan, np.nan], np.float32))
    assert (table.text("name", 0), table.text("name", 1), table.text("other", 0)) == ("bread", None, None)
    assert table.kinds == {"department": "category", "price": "number", "name": "text"}


def test_columns_are_as_long_as_the_table_even_for_nodes_without_attributes():
    table = table_of(item("a", {"department": ("DELI",)}, {"price": 1.0}))
    table.ids.intern([f"other-{number}" for number in range(500)])
    assert len(table.categories["department"].first_codes()) == 501
    assert len(table.numbers["price"]) == 501
    assert len(table.has_category("department", ["DELI"])) == 501


def test_filter_finds_nodes_that_have_any_of_the_values():
    table = table_of(item("a", {"tag": ("x", "y")}), item("b", {"tag": ("y",)}), item("c", {"tag": ("z",)}), item("d"))
    assert table.has_category("tag", ["y"]).tolist() == [True, True, False, False]
    assert table.has_category("tag", ["z", "x"]).tolist() == [True, False, True, False]
    assert table.has_category("tag", ["unknown"]).tolist() == [False] * 4
    assert table.has_category("unknown", ["y"]).tolist() == [False] * 4


def test_named_attribute_replaces_and_others_stay():
    table = table_of(
        item("a", {"tag": ("x", "y"), "brand": ("own",)}, {"price": 1.0, "size": 3.0}, {"name": "old"}),
        item("a", {"tag": ("z",), "brand": ()}, {"price": 2.0}, {"name": "new"}),
    )
    assert table.has_category("tag", ["x", "y"]).tolist() == [False]
    assert table.has_category("tag", ["z"]).tolist() == [True]
    assert table.categories["brand"].first_codes().tolist() == [-1]
    assert (table.numbers["price"].tolist(), table.numbers["size"].tolist()) == ([2.0], [3.0])
    assert table.text("name", 0) == "new"


def test_value_that_stands_twice_or_is_empty_counts_once_or_not():
    table = table_of(item("a", {"tag": ("x", "", "x")}))
    assert [column.tolist() for column in table.categories["tag"].pairs()] == [[0], [0]]


def test_attribute_of_another_kind_is_refused_and_nothing_is_taken_up():
    graph = LiveGraph()
    graph.upsert(item("a", numbers={"price": 1.0}))
    wrong = item("b", {"price": ("cheap",)}, texts={"name": "b"})
    for refuse in (graph.check, graph.upsert):
        with pytest.raises(
            EventRefusedError, match="attribute 'price' of item 'b': wanted a number as before"
        ) as caught:
            refuse(wrong)
        assert caught.value.reason == "wrong_attribute_kind"
    assert graph.nodes("item").ids.row("b") == -1
    assert graph.nodes("item").kinds == {"price": "number"}


def test_one_upsert_with_two_kinds_for_a_name_is_refused():
    with pytest.raises(EventRefusedError, match="wanted a category"):
        LiveGraph().check(item("a", {"size": ("L",)}, {"size": 3.0}))


def test_forgotten_node_leaves_no_trace():
    graph = LiveGraph()
    graph.upsert(item("a", {"tag": ("only-a", "shared")}, {"price": 1.0}, {"name": "a"}))
    graph.upsert(item("b", {"tag": ("shared",)}))
    assert graph.forget("item", "a")
    table = graph.nodes("item")
    assert table.ids.all_ids() == ["", "b"]
    assert table.categories["tag"].vocabulary.all_ids() == ["", "shared"]
    assert table.categories["tag"].first_codes().tolist() == [-1, 1]
    assert np.isnan(table.numbers["price"]).all()
    assert table.text("name", 0) is None


def test_snapshot_does_not_change_and_is_made_once():
    graph = LiveGraph()
    graph.upsert(item("a", {"tag": ("x",)}, {"price": 1.0}, {"name": "a"}))
    table = graph.nodes("item")
    snapshot = table.snapshot()
    assert table.snapshot() is snapshot
    graph.upsert(item("a", {"tag": ("y", "z")}, {"price": 2.0}, {"name": "b"}))
    assert snapshot.categories["tag"].first.tolist() == [0]
    assert snapshot.categories["tag"].vocabulary == ["x"]
    assert snapshot.numbers["price"].tolist() == [1.0]
    assert snapshot.texts == {"name": {0: "a"}}
    assert table.snapshot().version != snapshot.version


def test_view_of_an_unknown_type_has_no_nodes_and_makes_none():
    graph = LiveGraph()
    view = graph.view()
    assert (len(view.nodes("item")), view.num_nodes("item")) == (0, 0)
    assert graph.node_types == ()


def test_readers_beside_the_writer_get_whole_columns():
    graph = LiveGraph()
    failures = []

    def write() -> None:
        for number in range(3_000):
            graph.upsert(item(f"i{number}", {"tag": ("all", f"t{number % 50}")}, {"price": 1.0}, {"name": "n"}))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        table = graph.view().nodes("item")
        count = len(table)
        if "tag" in table.categories and "price" in table.numbers:
            rows, codes = table.categories["tag"].pairs()
            if len(rows) != len(codes) or len(table.has_category("tag", ["all"])) < count:
                failures.append(count)
    writer.join()
    assert failures == []
    assert graph.nodes("item").has_category("tag", ["all"]).all()
