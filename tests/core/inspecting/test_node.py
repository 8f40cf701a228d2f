"""A node is shown as the graph has it: counted by hand, also after deletions and over long spans."""

from dataclasses import replace

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert, Relation
from springtide.inspecting.node import counts_in_time, node_details
from springtide.inspecting.summaries import Inspected, NodeSummary
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, state_of

DAY = MS_PER_DAY
MIDNIGHT_MS = START_MS // DAY * DAY


@pytest.fixture
def shop() -> LiveState:
    """Ann bought a twice and b once; ben bought a. Item a is made by x."""
    events = [("ann", "a", START_MS), ("ann", "b", START_MS + DAY), ("ann", "a", START_MS + 3 * DAY)]
    state = state_of([*events, ("ben", "a", START_MS + 2 * DAY)])
    upsert = NodeUpsert("item", "a", {"kind": ["tea", "gift"]}, {"price": 2.5}, {"title": "Green tea"}, START_MS)
    relation = Relation("item", "a", "made_by", "brand", "x", START_MS + 1, 1.0)
    state.apply(EventBatch(interactions_of([]), upserts=[upsert], relations=[relation]))
    return state


def details(state: LiveState, node_type: str, node_id: str, count: int = 50):
    view = state.graph.view()
    row = view.nodes(node_type).ids.row(node_id)
    found = node_details(Inspected(view, "item"), state.circumstances, node_type, row, count)
    assert found is not None
    return found


def test_a_user_has_their_interactions_with_what_items_are_called(shop: LiveState) -> None:
    ann = details(shop, "user", "ann")

    tea = NodeSummary("item", "a", "Green tea", 3, START_MS + 3 * DAY)
    assert ann.summary == NodeSummary("user", "ann", "ann", 3, START_MS + 3 * DAY)
    assert [(each.other, each.relation, each.timestamp_ms, each.weight) for each in ann.interactions] == [
        (tea, "purchase", START_MS + 3 * DAY, 1.0),
        (NodeSummary("item", "b", "b", 1, START_MS + DAY), "purchase", START_MS + DAY, 1.0),
        (tea, "purchase", START_MS, 1.0),
    ]
    assert ann.num_edges == {("user", "purchase", "item"): 3}
    assert ann.first_ms == START_MS


def test_an_item_has_attributes_and_edges_of_all_types(shop: LiveState) -> None:
    tea = details(shop, "item", "a", count=2)

    assert tea.attributes == {"kind": ("tea", "gift"), "price": 2.5, "title": "Green tea"}
    assert tea.num_edges == {("user", "purchase", "item"): 3, ("item", "made_by", "brand"): 1}
    assert [each.other.node_id for each in tea.interactions] == ["ann", "ben"]
    assert tea.counts.starts_ms.tolist() == [MIDNIGHT_MS, MIDNIGHT_MS + 2 * DAY, MIDNIGHT_MS + 3 * DAY]
    assert (tea.counts.counts.tolist(), tea.counts.days, tea.counts.num_counted) == ([1, 1, 1], 1, 3)


def test_a_node_that_is_neither_user_nor_item_shows_its_relations(shop: LiveState) -> None:
    brand = details(shop, "brand", "x")

    assert brand.summary.num_interactions == 1
    assert [(each.relation, each.other.name) for each in brand.interactions] == [("made_by", "Green tea")]


def test_what_was_deleted_is_shown_and_counted_no_more(shop: LiveState) -> None:
    shop.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", "ben", START_MS + 9 * DAY)]))

    tea = details(shop, "item", "a")
    assert (tea.summary.num_interactions, tea.counts.num_counted) == (2, 2)
    assert {each.other.node_id for each in tea.interactions} == {"ann"}
    view = shop.graph.view()
    assert node_details(Inspected(view, "item"), shop.circumstances, "user", 1, 50) is None, "ben was in row 1"


def test_circumstances_are_told_as_far_as_they_are_kept() -> None:
    settings = Settings.model_validate({"ranking": {"context_weights": {"place": {}}}})
    state = state_of(settings=settings)
    two = interactions_of([("ann", "a", START_MS), ("ann", "b", START_MS + 1)])
    state.apply(EventBatch(replace(two, contexts=[{"place": "Graz"}, {}])))

    assert [each.context for each in details(state, "user", "ann").interactions] == [{}, {"place": "Graz"}]


@pytest.mark.parametrize(("num_days", "days", "num_spans"), [(400, 1, 400), (401, 7, 58), (2_801, 28, 101)])
def test_longer_spans_are_taken_where_days_were_too_many(num_days: int, days: int, num_spans: int) -> None:
    monday = 4 * DAY  # 1970-01-05.
    counts = counts_in_time(monday + np.arange(num_days, dtype=np.int64) * DAY + 5)

    assert (counts.days, len(counts.counts), int(counts.counts.sum())) == (days, num_spans, num_days)
    assert counts.starts_ms[0] == monday if days < 28 else counts.starts_ms[0] <= monday
    assert (np.diff(counts.starts_ms) == days * DAY).all()
