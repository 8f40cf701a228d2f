"""Nodes are found by id and by name, in their order, and as a slow reference finds them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.errors import InvalidRequestError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.inspecting.search import Pattern, near_ids, search_nodes
from springtide.inspecting.summaries import Inspected
from springtide.packed_texts import pack
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, state_of


def never() -> bool:
    return False


def found(state: LiveState, node_type: str, text: str, count: int = 20) -> list[str]:
    inspected = Inspected(state.graph.view(), "item")
    rows = search_nodes(inspected, node_type, text, count, never).rows
    return inspected.view.nodes(node_type).ids.ids(rows)


def titled(item: str, title: str) -> NodeUpsert:
    return NodeUpsert("item", item, texts={"title": title}, timestamp_ms=START_MS)


@pytest.fixture
def shop() -> LiveState:
    """Milk-1 was bought once, milk-10 twice, oat thrice and bread four times."""
    bought = ["milk-1", "milk-10", "milk-10", *["oat"] * 3, *["bread"] * 4]
    state = state_of([(f"u{number}", item, START_MS + number) for number, item in enumerate(bought)])
    upserts = [titled("oat", "Oat Milk"), titled("bread", "Äpfelbrot"), titled("cream", "milk")]
    state.apply(EventBatch(interactions_of([]), upserts=upserts))
    return state


def test_the_id_itself_comes_first_then_beginnings_then_the_rest(shop: LiveState) -> None:
    assert found(shop, "item", "milk-1") == ["milk-1", "milk-10"]
    # A name that is the text; then what begins with it, the most bought first; then what has it.
    assert found(shop, "item", "MILK") == ["cream", "milk-10", "milk-1", "oat"]


def test_case_does_not_matter_beyond_ascii_either(shop: LiveState) -> None:
    assert found(shop, "item", "äPFEL") == ["bread"]
    assert found(shop, "item", "apfel") == []


def test_no_text_lists_the_nodes_with_the_most_interactions(shop: LiveState) -> None:
    assert found(shop, "item", "", 3) == ["bread", "oat", "milk-10"]


def test_a_category_is_a_name_too() -> None:
    state = state_of([("u", "a", START_MS), ("u", "b", START_MS), ("u", "b", START_MS)])
    upserts = [NodeUpsert("item", item, categories={"name": ["Tea"]}, timestamp_ms=START_MS) for item in "ab"]
    state.apply(EventBatch(interactions_of([]), upserts=upserts))

    assert found(state, "item", "tea") == ["b", "a"]


def test_deleted_nodes_are_not_found(shop: LiveState) -> None:
    shop.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "milk-10", START_MS + 100)]))

    assert found(shop, "item", "milk") == ["cream", "milk-1", "oat"]
    assert found(shop, "item", "") == ["bread", "oat", "milk-1", "cream"]


def test_there_is_more_when_there_is(shop: LiveState) -> None:
    inspected = Inspected(shop.graph.view(), "item")
    assert search_nodes(inspected, "item", "milk", 3, never).has_more
    assert not search_nodes(inspected, "item", "milk", 4, never).has_more


def test_a_search_whose_time_is_over_ends(shop: LiveState) -> None:
    with pytest.raises(TimeoutError):
        search_nodes(Inspected(shop.graph.view(), "item"), "item", "milk", 4, lambda: True)


def test_an_unknown_type_is_refused_with_the_choices(shop: LiveState) -> None:
    with pytest.raises(InvalidRequestError, match="choices: item, user"):
        found(shop, "brand", "milk")


def test_ids_near_to_one_that_is_missing_have_its_beginning(shop: LiveState) -> None:
    inspected = Inspected(shop.graph.view(), "item")
    assert near_ids(inspected, "item", "milk-12", never) == ["milk-1", "milk-10"]
    assert near_ids(inspected, "item", "zzz", never, count=2) == ["bread", "oat"], "nothing is like it"


@given(
    texts=st.lists(st.text("abAB-éÉд", max_size=6), max_size=30),
    wanted=st.text("abAB-éÉдД", min_size=1, max_size=4),
)
def test_a_pattern_is_where_a_slow_search_finds_it(texts: list[str], wanted: str) -> None:
    lower = wanted.lower()
    slow = [
        1 if text.lower() == lower else 2 if text.lower().startswith(lower) else 3 if lower in text.lower() else 4
        for text in texts
    ]
    # A place that is found last is kept: only one that begins, or is whole, may stand before another of the same text.
    fast = Pattern(wanted).places(pack(texts)).tolist()
    assert fast == slow


def test_parts_of_a_large_table_are_one_list() -> None:
    state = state_of([(f"u{number:05}", "i", START_MS + number) for number in range(40_000)])
    state.apply(EventBatch(interactions_of([("u39999", "i", START_MS), ("u20000", "i", START_MS)])))

    ends = found(state, "user", "0000", 4)
    assert ends[0] == "u20000", "it has two"
    assert found(state, "user", "U3999") == [
        "u39999", *itertools.islice((f"u{number}" for number in range(39_990, 39_999)), 9)
    ]  # fmt: skip
