import decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springtide.checkpoint import files
from springtide.checkpoint.array_files import arrays_from_bytes, arrays_to_bytes
from springtide.events.model import NodeUpsert
from springtide.graph import LiveGraph
from springtide.graph.row_entries import RowNumbers

names = st.sampled_from(["a", "b", "c"])
values = st.lists(st.text(max_size=3), max_size=4).map(tuple)
upserts = st.builds(
    NodeUpsert,
    node_type=st.just("item"),
    node_id=st.sampled_from([f"i{number}" for number in range(6)]),
    categories=st.dictionaries(names.map("category {}".format), values),
    numbers=st.dictionaries(names.map("number:{}".format), st.floats(allow_nan=False, allow_infinity=False)),
    texts=st.dictionaries(names.map("text {}".format), st.text(max_size=5)),
    timestamp_ms=st.integers(-3, 3),
    vectors=st.dictionaries(
        names.map("vector {}".format),
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=0)
        | st.tuples(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 3),
    ),
)


def parts(column):
    return [None if part is None else part.tolist() for part in column]


@example(
    [
        NodeUpsert("item", "i0", {"category a": ("0",)}, timestamp_ms=-1),
        NodeUpsert("item", "i0", {"category a": ()}),
        NodeUpsert("item", "i1"),
    ],
    {"i1"},
)
@given(st.lists(upserts, max_size=12), st.sets(st.sampled_from([f"i{number}" for number in range(6)]), max_size=3))
def test_attributes_come_back_as_they_were(upserts, forgotten):
    graph = LiveGraph()
    for upsert in upserts:
        graph.upsert(upsert)
    sum([graph.forget("item", node_id) for node_id in forgotten])
    saved = graph.nodes("item").snapshot()
    again = files.attributes_from(arrays_from_bytes(arrays_to_bytes(files.attribute_arrays(saved))), saved.version)
    assert again.kinds == saved.kinds
    assert again.texts.keys() == saved.texts.keys()
    assert [each.as_dict() for each in again.texts.values()] == [each.as_dict() for each in saved.texts.values()]
    assert again.categories.keys() == saved.categories.keys()
    for name, category in saved.categories.items():
        assert parts(again.categories[name].first) == parts(category.first)
        assert again.categories[name].more.as_dict() == category.more.as_dict()
        assert again.categories[name].vocabulary == category.vocabulary
    assert {name: parts(each) for name, each in again.vectors.items()} == {
        name: parts(each) for name, each in saved.vectors.items()
    }
    assert again.times.of_nodes.tolist() == saved.times.of_nodes.tolist()
    assert {name: sorted(zip(*own, strict=True)) for name, own in again.times.own.items()} == {
        name: sorted(zip(*own, strict=True)) for name, own in saved.times.own.items()
    }
    assert again.numbers.keys() == saved.numbers.keys()
    assert {name: parts(column) for name, column in again.numbers.items()} == {
        name: parts(column) for name, column in saved.numbers.items()
    }


@given(st.lists(upserts, max_size=12), st.sets(st.sampled_from([f"i{number}" for number in range(6)]), max_size=3))
def test_vocabulary_holds_no_value_of_forgotten_nodes_alone(upserts, forgotten):
    graph = LiveGraph()
    for upsert in upserts:
        graph.upsert(upsert)
    if not sum([graph.forget("item", node_id) for node_id in forgotten]):
        return
    for column in graph.nodes("item").categories.values():
        used = set(column.vocabulary.ids(column.pairs()[1]))
        assert set(column.vocabulary.all_ids()) - {""} == used


@given(st.decimals(-999_999, 999_999, allow_nan=False, places=2), st.integers(-6, 2))
@example(decimal.Decimal("19.99"), 0)
@example(decimal.Decimal("0.1"), 0)
def test_decimals_of_six_digits_are_themselves_again_after_32_bits(number, exponent):
    number = float(f"{number:.6g}e{exponent}")
    (found,) = files.in_64_bits(RowNumbers(None, np.array([number], np.float32))).numbers.tolist()
    if number == int(number) and abs(number) >= 2**24:
        assert np.float32(found) == np.float32(number)
    else:
        assert found == number


@given(st.floats(width=32))
def test_numbers_of_32_bits_stay_what_32_bits_keep(number):
    kept = np.array([number], np.float32)
    found = files.in_64_bits(RowNumbers(None, kept)).numbers
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found.astype(np.float32), kept)


def test_numbers_of_64_bits_stay_as_they_are():
    kept = np.array([0.1 + 0.2, np.nan, 1_790_000_001.25])
    np.testing.assert_array_equal(files.in_64_bits(RowNumbers(None, kept)).numbers, kept)


def test_arrays_of_any_kind_come_back_as_they_were():
    arrays = {
        "counts/hour": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "clock": np.array(5),
        "names": np.array(["ü"]),
        "days": np.array(["2026-11-28"], "datetime64[D]"),
        "big-endian": np.array([1, 2], ">i4"),
        "none": np.empty((0, 3), np.uint16),
        "fields": np.array([(1, (2.0, 3.0))], [("row", "<i4"), ("of", "<f4", (2,))]),
        "nested": np.array([((1, 2),)], [("pair", [("a", "<i2"), ("b", "<u8")])]),
    }
    again = arrays_from_bytes(arrays_to_bytes(arrays))
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
    assert arrays_from_bytes(arrays_to_bytes({})) == {}


def test_arrays_lie_aligned_and_one_that_holds_python_objects_is_refused():
    content = arrays_to_bytes({"a": np.arange(3, dtype=np.int8), "b": np.array([7], np.int64)})
    assert len(content) % 64 == 0
    assert content.index(np.array([7], np.int64).tobytes()) % 64 == 0
    with pytest.raises(ValueError, match="notes: wanted numbers or texts, got Python objects"):
        arrays_to_bytes({"notes": np.array([None])})
