"""What is around a node: its nearest by steps, the edges between all of them, and no more than was asked for."""

import pytest

from springtide.events.model import EventBatch, NodeDelete, Relation
from springtide.inspecting.summaries import Inspected
from springtide.inspecting.surroundings import MAX_NODES, Surroundings, surroundings_of
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, state_of


@pytest.fixture
def shop() -> LiveState:
    """Ann bought a twice, then b; ben bought a and c; cy bought c. Item a is made by x."""
    bought = [("ann", "a"), ("ann", "a"), ("ann", "b"), ("ben", "a"), ("ben", "c"), ("cy", "c")]
    state = state_of([(user, item, START_MS + hour) for hour, (user, item) in enumerate(bought)])
    relation = Relation("item", "a", "made_by", "brand", "x", START_MS + 9, 1.0)
    state.apply(EventBatch(interactions_of([]), relations=[relation]))
    return state


def around(state: LiveState, node_type: str, node_id: str, max_edges: int = 12, depth: int = 2) -> Surroundings:
    view = state.graph.view()
    row = view.nodes(node_type).ids.row(node_id)
    return surroundings_of(Inspected(view, "item"), node_type, row, max_edges, depth, lambda: False)


def nodes_of(found: Surroundings) -> dict[str, int]:
    return {node.node_id: depth for node, depth in zip(found.nodes, found.depths, strict=True)}


def edges_of(found: Surroundings) -> dict[tuple[str, str, str], int]:
    ids = [node.node_id for node in found.nodes]
    return {(ids[edges.source], edges.relation, ids[edges.target]): edges.count for edges in found.edges}


def test_each_step_leads_to_the_next_nodes(shop: LiveState) -> None:
    found = around(shop, "user", "ann")

    assert nodes_of(found) == {"ann": 0, "b": 1, "a": 1, "x": 2, "ben": 2}
    assert list(nodes_of(found))[:3] == ["ann", "b", "a"], "the latest first"
    assert edges_of(found) == {
        ("ann", "purchase", "a"): 2,
        ("ann", "purchase", "b"): 1,
        ("ben", "purchase", "a"): 1,
        ("a", "made_by", "x"): 1,
    }
    assert max(edges.latest_ms for edges in found.edges if edges.count == 2) == START_MS + 1
    assert not found.is_cut
    assert nodes_of(around(shop, "user", "ann", depth=3))["c"] == 3


def test_fewer_edges_are_the_latest_and_said_to_be_cut(shop: LiveState) -> None:
    found = around(shop, "user", "ann", max_edges=1, depth=1)

    assert (nodes_of(found), found.is_cut) == ({"ann": 0, "b": 1}, True)


def test_a_deleted_neighbour_is_not_there(shop: LiveState) -> None:
    shop.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", "ben", START_MS + 99)]))

    assert nodes_of(around(shop, "item", "a")) == {"a": 0, "x": 1, "ann": 1, "b": 2}


def test_no_more_than_the_most_nodes_are_returned() -> None:
    """A user of 100 items, each of which 100 others had."""
    events = [("u", f"i{item}", START_MS + item) for item in range(100)]
    events += [(f"u{item}-{number}", f"i{item}", START_MS) for item in range(100) for number in range(100)]

    found = around(state_of(events), "user", "u", max_edges=100)

    assert (len(found.nodes), found.is_cut) == (MAX_NODES, True)
    assert {(edges.source, edges.target) for edges in found.edges} >= {(0, at) for at in range(1, 101)}


def test_a_look_whose_time_is_over_ends(shop: LiveState) -> None:
    with pytest.raises(TimeoutError):
        surroundings_of(Inspected(shop.graph.view(), "item"), "user", 0, 12, 2, lambda: True)
