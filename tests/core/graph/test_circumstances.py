"""The circumstances that are kept with edges."""

import dataclasses
from pathlib import Path

import numpy as np

from springtide.checkpoint import CheckpointStore
from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.nodes import NodeTable
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import RankingSettings, Settings
from springtide.state import LiveState
from springtide.testing import interactions_of


def test_maps_that_events_share_count_as_maps_of_their_own() -> None:
    bern, basel = {"place": "Bern"}, {"place": "Basel", "weather": "rain"}
    contexts = [bern, {}, basel, bern, basel]
    values, rows, users = np.full(5, np.nan, np.float32), np.zeros(5, np.int32), NodeTable("user")
    shared, own = CircumstanceTable(["place", "weather"]), CircumstanceTable(["place", "weather"])

    features = shared.features(values, contexts, rows, users)

    assert features is not None
    np.testing.assert_array_equal(features[:, 1], [0, np.nan, 1, 0, 1])
    np.testing.assert_array_equal(features[:, 2], [np.nan, np.nan, 0, np.nan, 0])
    np.testing.assert_array_equal(features, own.features(values, [dict(each) for each in contexts], rows, users))
    assert shared.snapshot() == own.snapshot()


def deleted(state: LiveState, *users: str) -> None:
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", user, 9 * MS_PER_DAY) for user in users]))


def state_of_places() -> LiveState:
    """Return users in Bern and Basel; `ann` alone was in Thun, and `bob` alone has it in an attribute too: Chur."""
    state = LiveState(Settings(), make_context_weights(RankingSettings(context_weights={"place": {}}), load_plugins()))
    visits = [("ann", "Bern"), ("ann", "Thun"), ("bob", "Bern"), ("bob", ""), ("cid", "Basel")]
    interactions = interactions_of([(user, "tea", MS_PER_DAY + number) for number, (user, _) in enumerate(visits)])
    contexts = [{"place": place} if place else {} for _, place in visits]
    upsert = NodeUpsert("user", "bob", {"place": ("Chur",)})
    state.apply(EventBatch(dataclasses.replace(interactions, contexts=contexts), [upsert]))
    return state


def labels(state: LiveState) -> list[str]:
    return state.context_weights["place"].state()["place/labels"].tolist()


def test_places_that_only_deleted_users_had_leave_checkpoint_table_and_weight() -> None:
    state = state_of_places()
    assert sorted(state.snapshot().circumstances["values"]["place"]) == ["Basel", "Bern", "Chur", "Thun"]
    assert sorted(labels(state)) == ["Basel", "Bern", "Chur", "Thun"]
    deleted(state, "ann")
    assert sorted(state.snapshot().circumstances["values"]["place"]) == ["", "Basel", "Bern", "Chur"]
    assert sorted(labels(state)) == ["Basel", "Bern", "Chur"]
    deleted(state, "bob")
    assert sorted(filter(None, state.snapshot().circumstances["values"]["place"])) == ["Basel"]
    assert labels(state) == ["Basel"]


def test_freed_codes_are_given_to_other_places_and_edges_keep_theirs(tmp_path: Path) -> None:
    state = state_of_places()
    deleted(state, "ann")
    CheckpointStore(str(tmp_path)).write(state.snapshot())
    restored = state_of_nothing()
    store = CheckpointStore(str(tmp_path))
    store.restore(store.latest(), restored)
    for each in (state, restored):
        deleted(each, "bob")
        each.snapshot()
        deleted(each, "nobody")
        each.snapshot()
        new = interactions_of([("dan", "tea", 10 * MS_PER_DAY), ("eve", "tea", 10 * MS_PER_DAY)])
        each.apply(EventBatch(dataclasses.replace(new, contexts=[{"place": "Zug"}, {"place": "Basel"}])))
        assert len(each.circumstances.values("place")) <= 4
        observed = each.positive_interactions(each.graph.view())
        of_place = observed.circumstances["place"]
        assert [of_place.values[code] for code in of_place.codes.tolist()] == ["Basel", "Zug", "Basel"]


def state_of_nothing() -> LiveState:
    return LiveState(Settings(), make_context_weights(RankingSettings(context_weights={"place": {}}), load_plugins()))


def test_deleting_a_user_whom_the_graph_does_not_have_counts_since_older_checkpoints_may_have_them(
    tmp_path: Path,
) -> None:
    state = state_of_places()
    store = CheckpointStore(str(tmp_path))
    store.write(state.snapshot())
    state.graph.forget("user", "ann")  # As by `max_nodes`.
    state.graph.num_forgotten = 0
    store.write(state.snapshot())
    assert len(store.names()) == 2
    deleted(state, "ann")
    store.write(state.snapshot())
    assert len(store.names()) == 1, "the first one has the user"
    deleted(state, "ann")  # The same deletion again, as after a crash.
    store.write(state.snapshot())
    assert len(store.names()) == 2
