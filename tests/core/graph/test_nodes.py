import threading

import numpy as np
import pytest

from springtide.errors import EventRefusedError
from springtide.events.model import NodeUpsert
from springtide.graph import LiveGraph


def item(node_id: str, categories=None, numbers=None, texts=None, at_ms: int = 0) -> NodeUpsert:
    return NodeUpsert("item", node_id, categories or {}, numbers or {}, texts or {}, at_ms)


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
    np.testing.assert_array_equal(table.numbers["price"], np.array([1.5, np.nan, np.nan]))
    assert (table.text("name", 0), table.text("name", 1), table.text("other", 0)) == ("bread", None, None)
    assert table.kinds == {"department": "category", "price": "number", "name": "text"}


def test_numbers_keep_their_cents_and_seconds():
    table = table_of(item("a", numbers={"price": 19.99, "available_from": 1_790_000_001.0}))
    assert table.number_values(0) == {"price": 19.99, "available_from": 1_790_000_001.0}
    price = table.number("price")
    assert price is not None
    assert (price.dtype, (price == 19.99).tolist()) == (np.float64, [True])
    assert table.numbers_at("available_from", np.array([0])).tolist() == [1_790_000_001.0]


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
        item("a", {"tag": ("z",), "brand": ()}, {"price": 2.0}, {"name": "new"}, at_ms=1),
    )
    assert table.has_category("tag", ["x", "y"]).tolist() == [False]
    assert table.has_category("tag", ["z"]).tolist() == [True]
    assert table.categories["brand"].first_codes().tolist() == [-1]
    assert (table.numbers["price"].tolist(), table.numbers["size"].tolist()) == ([2.0], [3.0])
    assert table.text("name", 0) == "new"


def test_value_that_stands_twice_or_is_empty_counts_once_or_not():
    table = table_of(item("a", {"tag": ("x", "", "x")}))
    assert [column.tolist() for column in table.categories["tag"].pairs()] == [[0], [0]]


def test_kind_of_the_schema_is_the_only_one():
    graph = LiveGraph(attribute_kinds={"item": {"price": "number"}})
    with pytest.raises(EventRefusedError, match="attribute 'price of item b': wanted a number, got a text") as caught:
        graph.upsert(item("b", texts={"price": "cheap", "name": "b"}))
    assert caught.value.reason == "wrong_attribute_kind"
    assert graph.nodes("item").ids.row("b") == -1
    graph.upsert(item("a", numbers={"price": 1.0}, at_ms=1))
    graph.upsert(item("a", {"price": ()}, at_ms=2))  # An empty list clears an attribute of any kind.
    assert graph.nodes("item").number_values(0) == {}
    assert graph.nodes("item").kinds == {"price": "number"}


def test_attribute_has_the_kind_that_most_nodes_have():
    graph = LiveGraph()
    table = graph.nodes("item")
    graph.upsert(item("a", texts={"price": "cheap"}))
    graph.upsert(item("b", numbers={"price": 2.0}))
    assert table.kinds == {"price": "number"}, "of equals, a number goes before a text"
    assert table.text("price", 0) is None
    graph.upsert(item("c", {"price": ("low",)}))
    graph.upsert(item("d", {"price": ("low",)}))
    assert table.kinds == {"price": "category"}
    assert table.numbers == {}
    assert table.has_category("price", ["low"]).tolist() == [False, False, True, True]
    graph.upsert(item("c", numbers={"price": 3.0}, at_ms=1))
    assert table.kinds == {"price": "number"}
    assert table.categories == {}
    assert table.numbers["price"].tolist()[1:3] == [2.0, 3.0]


def test_kind_goes_with_the_nodes_that_have_it():
    graph = LiveGraph()
    graph.upsert(item("a", texts={"price": "cheap"}))
    assert graph.nodes("item").settled_kind("price") == "text"
    graph.forget("item", "a")
    assert graph.nodes("item").kinds == {}
    assert graph.nodes("item").settled_kind("price") is None


@pytest.mark.parametrize("is_reversed", [False, True])
def test_value_with_the_latest_event_time_stays(is_reversed):
    upserts = [
        item("a", {"tag": ("old",), "brand": ("own",), "size": ("L",)}, {"price": 1.0}, {"name": "old"}, at_ms=10),
        item("a", {"tag": ("new",), "brand": ()}, at_ms=30),
        item("a", {"size": ()}, {"price": 2.0}, at_ms=20),
        item("a", {"size": ("M",)}, texts={"name": "mid"}, at_ms=15),
    ]
    table = table_of(*(reversed(upserts) if is_reversed else upserts))
    assert table.category_values(0) == [("tag", "new")]
    assert table.number_values(0) == {"price": 2.0}
    assert table.text("name", 0) == "mid"


def test_replayed_catalogue_changes_nothing():
    catalogue = [item(f"i{n}", {"tag": (f"t{n}",)}, {"price": 1.0}, {"name": "n"}, at_ms=10) for n in range(3)]
    graph = LiveGraph()
    for upsert in [*catalogue, item("i0", numbers={"price": 5.0}, at_ms=20)]:
        graph.upsert(upsert)
    table = graph.nodes("item")
    version, saved_version = table.attributes_version, table.snapshot().version
    for upsert in catalogue:
        graph.upsert(upsert)
    assert table.numbers["price"].tolist() == [5.0, 1.0, 1.0]
    assert (table.attributes_version, table.snapshot().version) == (version, saved_version)


def test_same_value_at_a_later_time_is_no_change_for_readers_and_one_for_checkpoints():
    graph = LiveGraph()
    graph.upsert(item("a", numbers={"price": 5.0}, at_ms=20))
    table = graph.nodes("item")
    version, snapshot = table.attributes_version, table.snapshot()
    graph.upsert(item("a", numbers={"price": 5.0}, at_ms=40))
    graph.upsert(item("a", numbers={"price": 6.0}, at_ms=30))
    assert table.number_values(0) == {"price": 5.0}
    assert table.attributes_version == version
    assert table.snapshot().version != snapshot.version


def test_late_deletion_forgets_the_attributes_that_were_set_before_it():
    graph = LiveGraph()
    graph.upsert(item("a", {"tag": ("x",), "brand": ("own",)}, {"price": 1.0}, {"name": "a"}, at_ms=10))
    graph.upsert(item("a", {"brand": ()}, {"price": 2.0}, at_ms=30))
    table = graph.nodes("item")
    table.cut([0], [20])
    assert (table.category_values(0), table.number_values(0), table.text("name", 0)) == ([], {"price": 2.0}, None)
    assert table.ids.row("a") == 0
    graph.upsert(item("a", {"brand": ("late",)}, at_ms=25))
    assert table.category_values(0) == [], "it is still known that the brand was cleared"
    table.cut([0], [30])
    assert table.number_values(0) == {}


def test_number_that_is_not_finite_is_no_upsert():
    with pytest.raises(ValueError, match="numbers\\['price'\\]: wanted a finite number, got nan"):
        item("a", numbers={"price": float("nan")})


def test_forgotten_node_leaves_no_trace():
    graph = LiveGraph()
    graph.upsert(item("a", {"tag": ("only-a", "shared")}, {"price": 1.0}, {"name": "a"}))
    graph.upsert(item("b", {"tag": ("shared",)}))
    assert graph.forget("item", "a")
    table = graph.nodes("item")
    assert table.ids.all_ids() == ["", "b"]
    assert table.categories["tag"].vocabulary.all_ids() == ["", "shared"]
    assert table.categories["tag"].first_codes().tolist() == [-1, 1]
    assert table.numbers == {}
    assert table.text("name", 0) is None
    assert table.kinds == {"tag": "category"}


def test_snapshot_does_not_change_and_its_version_tells_whether_another_would_differ():
    graph = LiveGraph()
    graph.upsert(item("a", {"tag": ("x",)}, {"price": 1.0}, {"name": "a"}))
    table = graph.nodes("item")
    snapshot = table.snapshot()
    assert table.snapshot().version == snapshot.version
    graph.upsert(item("a", {"tag": ("y", "z")}, {"price": 2.0}, {"name": "b"}, at_ms=1))
    assert snapshot.categories["tag"].first.dense(1, -1).tolist() == [0]
    assert snapshot.categories["tag"].vocabulary == ["x"]
    assert snapshot.numbers["price"].dense(1, np.nan).tolist() == [1.0]
    assert {name: texts.as_dict() for name, texts in snapshot.texts.items()} == {"name": {0: "a"}}
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


def with_vector(node_id: str, vector: tuple[float, ...], at_ms: int = 0) -> NodeUpsert:
    return NodeUpsert("item", node_id, vectors={"image": vector}, timestamp_ms=at_ms)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_latest_vector_stays_and_of_two_with_one_time_the_greater(is_reversed):
    upserts = [
        with_vector("a", (1.0, 2.0), 10),
        with_vector("a", (0.0, 5.0), 20),
        with_vector("a", (-0.0, 6.0), 20),
        with_vector("b", (1.0, 1.0), 10),
        with_vector("b", (), 20),
        with_vector("c", (0.1, 0.2), 5),
    ]
    table = table_of(*(reversed(upserts) if is_reversed else upserts))
    vector_of = {name: table.vector("image", table.ids.row(name)) for name in "abc"}
    assert vector_of == {"a": (0.0, 6.0), "b": None, "c": tuple(np.array([0.1, 0.2], np.float32).tolist())}
    assert (table.kind("image"), table.num_with("image"), table.vector_length("image")) == ("vector", 2, 2)
    assert table.has_value("image").sum() == 2


def test_vector_of_another_length_is_refused_until_no_node_has_one():
    graph = LiveGraph()
    graph.upsert(with_vector("a", (1.0, 2.0)))
    with pytest.raises(EventRefusedError, match="wanted 2 numbers, as the first vector of this name has, got 3"):
        graph.upsert(with_vector("b", (1.0, 2.0, 3.0)))
    table = graph.nodes("item")
    assert table.ids.row("b") == -1, "nothing changes"
    graph.forget("item", "a")
    assert (table.kinds, table.vector_length("image")) == ({}, None)
    assert not table.snapshot().vectors
    graph.upsert(with_vector("b", (1.0, 2.0, 3.0)))
    assert table.vector_length("image") == 3


def test_vectors_are_read_by_ascending_row_and_by_position():
    table = table_of(with_vector("a", (1.0,)), item("b"), with_vector("c", (3.0,)))
    rows, vectors = table.vectors("image", 3)
    assert (rows.tolist(), vectors.tolist(), vectors.dtype) == ([0, 2], [[1.0], [3.0]], np.float32)
    assert table.vectors("image", 2).rows.tolist() == [0]
    rows, vectors = table.vectors_at("image", np.array([2, 1, 0]))
    assert (rows.tolist(), vectors.tolist()) == ([0, 2], [[3.0], [1.0]])
    assert table.vectors("sound", 3) is None


def test_vector_that_is_not_finite_is_no_upsert():
    with pytest.raises(ValueError, match="vectors\\['image'\\]: wanted finite numbers"):
        with_vector("a", (float("inf"),))
