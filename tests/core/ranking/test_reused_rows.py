"""A row that was given to another node answers for that node alone, even before anything was refreshed."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.errors import InvalidRequestError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.explaining.terms import explain
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 24
LATER_MS = even_odd_events(SIZE)[-1][2] + MS_PER_DAY
NOW = Moment(LATER_MS + MS_PER_DAY)
PLUGINS = load_plugins()


@pytest.fixture(scope="module")
def artifact():
    return quick_model(even_odd_state(SIZE))


@pytest.fixture
def state() -> LiveState:
    return even_odd_state(SIZE)


def take(state: LiveState, *pairs: tuple[str, str], after_ms: int = 1_000) -> None:
    state.apply(EventBatch(interactions_of([(user, item, LATER_MS + after_ms) for user, item in pairs])))


def give_row_away(state: LiveState, node_type: str, old_id: str, new: EventBatch, after_ms: int = 0) -> int:
    """Delete a node, release its row as if it had rested, and let a batch's first new node have it; return the row."""
    table = state.graph.nodes(node_type)
    row = table.ids.row(old_id)
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete(node_type, old_id, LATER_MS + after_ms)]))
    table.ids.release(table.take_forgotten())
    state.apply(new)
    assert table.ids.id(row) not in ("", old_id)
    return row


def ranker_of(state: LiveState, artifact=None) -> Ranker:
    ranker = Ranker(state, quick_settings().ranking)
    if artifact is not None:
        ranker.swap(ServingModel.from_artifact(artifact, PLUGINS))
    return ranker


def items_for(ranker: Ranker, user: str, **query) -> list[str]:
    [ranking] = ranker.recommend([Query(NOW, user, count=SIZE, **query)])
    return [item.item_id for item in ranking.items]


def test_new_item_in_an_old_row_waits_for_its_own_vector(state, artifact):
    ranker = ranker_of(state, artifact)
    assert "i4" in items_for(ranker, "u4")
    old = ranker.scorer().serving.table.vectors[4].copy()
    row = give_row_away(
        state, "item", "i4", EventBatch(interactions_of([(f"u{n}", "new", LATER_MS + n) for n in (1, 3, 5)]))
    )
    assert row == 4
    for query in ({}, {"allow_items": ("new", "i6")}):
        found = items_for(ranker, "u4", **query)
        assert not {"i4", "new", ""} & set(found)
        assert "i6" in found
    assert "new" not in [item for item, _ in ranker.similar("i6", SIZE)[0]]
    with pytest.raises(InvalidRequestError):
        ranker.similar("new", 3)
    with pytest.raises(InvalidRequestError):
        explain(ranker.scorer(), Query(NOW, "u4"), "new")
    ranker.refresh()
    assert "new" in items_for(ranker, "u4")
    assert "new" in items_for(ranker, "u4", allow_items=("new",))
    assert float(ranker.scorer().serving.table.vectors[4] @ old) < 0.9, "odd users took it, even ones the old item"
    assert next(item for item, _ in ranker.similar("new", SIZE)[0])[1:] in {str(odd) for odd in range(1, SIZE, 2)}


def test_user_is_not_folded_in_by_the_vector_of_an_item_whose_row_another_one_has(state, artifact):
    ranker = ranker_of(state, artifact)
    give_row_away(state, "item", "i4", EventBatch(interactions_of([("stranger", "new", LATER_MS + 1)])))
    [ranking] = ranker.recommend([Query(NOW, "stranger", count=3)])
    assert ranking.personalization == "context_only", "nothing is known of the new item yet"


def test_new_user_in_an_old_row_gets_nothing_of_the_old_one(state, artifact):
    ranker = ranker_of(state, artifact)
    old = ranker.scorer().score([Query(NOW, "u4")]).users[0]
    give_row_away(state, "user", "u4", EventBatch(interactions_of([("stranger", "i5", LATER_MS + 1)])))
    scored = ranker.scorer().score([Query(NOW, "stranger"), Query(NOW, "u4")])
    stranger, forgotten = scored.users
    assert stranger.history.item_rows.tolist() == [5]
    assert float(stranger.vector @ old.vector) < 0.9
    assert (len(forgotten.history.item_rows), forgotten.is_person) == (0, False)
    users = ranker.scorer().serving.users
    assert len(users) == 1
    give_row_away(state, "user", "stranger", EventBatch(interactions_of([("other", "i5", LATER_MS + 9)])), after_ms=5)
    ranker.refresh()
    assert len(users) == 0, "no cached user stays whose row has gone to somebody else"


def test_same_edges_of_another_user_are_not_taken_for_the_old_one(state):
    """A user without a model, so that only the history is cached: the id decides, whatever the edges look like."""
    ranker = ranker_of(state)
    first = ranker.scorer().score([Query(NOW, "u4")]).users[0]
    assert ranker.scorer().score([Query(NOW, "u4")]).users[0] is first
    row = state.graph.nodes("user").ids.row("u4")
    state.graph.nodes("user").ids.forget(row)  # Without touching an edge.
    state.graph.nodes("user").ids.release([row])
    state.graph.nodes("user").ids.intern(["twin"])
    assert ranker.scorer().score([Query(NOW, "twin")]).users[0] is not first


def test_items_without_edges_and_attributes_are_not_recommended_unless_asked_for(artifact):
    state = LiveState(Settings.model_validate({"graph": {"max_age_days": 30}}), {})
    state.apply(EventBatch(interactions_of(even_odd_events(SIZE))))
    described = NodeUpsert("item", "i6", {"tag": ("red",)}, timestamp_ms=LATER_MS)
    far_ms = LATER_MS + 60 * MS_PER_DAY
    ranker = ranker_of(state, artifact)
    state.apply(EventBatch(interactions_of([("u0", "i2", far_ms), ("u1", "i3", far_ms)]), [described]))
    ranker.refresh()
    assert sorted(items_for(ranker, "u0")) == ["i2", "i3", "i6"]
    assert items_for(ranker, "u0", allow_items=("i8",)) == ["i8"]
    assert {item for item, _ in ranker.similar("i8", SIZE)[0]} == {"i2", "i3", "i6"}
    assert explain(ranker.scorer(), Query(NOW, "u0"), "i8").rank >= 1
    take(state, ("u5", "i9"), after_ms=60 * MS_PER_DAY)
    state.apply(EventBatch(interactions_of([]), [NodeUpsert("item", "i11", {"tag": ("blue",)}, timestamp_ms=far_ms)]))
    assert sorted(items_for(ranker, "u0")) == ["i11", "i2", "i3", "i6", "i9"], "what came to life needs no refresh"


def test_item_that_only_deleted_users_had_is_not_recommended():
    state = LiveState(Settings(), {})
    state.apply(EventBatch(interactions_of([("ann", "x", LATER_MS), *((f"u{n}", "y", LATER_MS) for n in range(20))])))
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", "ann", LATER_MS)]))
    assert state.graph.store(("user", "purchase", "item")).num_dead == 1, "not swept yet"
    assert items_for(ranker_of(state), "u0") == ["y"]
    assert np.isneginf(ranker_of(state).scorer().score([Query(NOW, "u0")]).scores).tolist() == [[True, False]]
