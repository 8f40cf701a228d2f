"""A baseline as what is served: published, taken up again, and lined up with a graph that has gone on since."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from springtide.errors import InvalidRequestError, ModelError, UnknownPartError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.explaining.terms import explain
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.contracts import Baseline, History, Moment, Observed
from springtide.plugins.loading import Plugins, load_plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.ranking.item_ranks import item_ranks
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import ServingBaseline, load_served
from springtide.ranking.serving_model import ServingModel
from springtide.state import LiveState
from springtide.testing import interactions_of, quick_model, quick_settings, state_of
from springtide.training.artifact import fits_settings

HOUR_MS = 3_600_000
EVENTS = [
    *[("ann", "milk", HOUR_MS * hour) for hour in (1, 2, 3)],
    ("ann", "tea", 4 * HOUR_MS),
    ("bob", "bread", 5 * HOUR_MS),
    ("bob", "milk", 6 * HOUR_MS),
]
NOW = Moment(10 * HOUR_MS)


class Counting(Baseline):
    """Counts what each user took in the fit; each item of the live history adds ``live``, each hour of now 0.001."""

    def __init__(self, live: float = 10.0) -> None:
        self.live = live
        self.counts = np.zeros((0, 0), np.float32)

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        self.counts = np.zeros((num_users, num_items), np.float32)
        np.add.at(self.counts, (interactions.user_rows, interactions.item_rows), 1.0)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        num_items = self.counts.shape[1]
        found = np.zeros((len(user_rows), num_items), np.float32) + np.float32(now_ms / HOUR_MS * 0.001)
        for scores, row, history in zip(found, user_rows.tolist(), histories, strict=True):
            if row >= 0:
                scores += self.counts[row]
            for item_row in history.item_rows.tolist():
                if item_row < num_items:
                    scores[item_row] += self.live
        return found

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {"counts": self.counts.copy()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self.counts = np.array(state["counts"], np.float32)


PLUGINS = load_plugins().with_part("baseline", "counting", Counting)
SETTINGS = quick_settings()


def artifact_of(state: LiveState, live: float = 0.0, plugins: Plugins = PLUGINS) -> ModelArtifact:
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    baseline = Counting(live)
    baseline.fit(interactions, view.num_nodes("user"), view.num_nodes("item"))
    return baseline_artifact(
        "counting", {"live": live}, baseline, view, interactions, SETTINGS, plugins, metrics={"ndcg@20": 0.5}
    )


def served_of(state: LiveState, live: float = 0.0) -> ServingBaseline:
    return dataclasses.replace(ServingBaseline.from_artifact(artifact_of(state, live), PLUGINS), version="000007")


def ranker_of(state: LiveState, served: ServingBaseline) -> Ranker:
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.swap(served)
    return ranker


def scores(ranker: Ranker, user_id: str = "ann", **query: Any) -> dict[str, float]:
    [ranking] = ranker.recommend([Query(**{"moment": NOW, "user_id": user_id, **query})])
    return {item.item_id: round(item.score, 3) for item in ranking.items}


def take(state: LiveState, *events: tuple[str, str, int]) -> None:
    state.apply(EventBatch(interactions_of(events)))


def forget(state: LiveState, kind: str, *ids: str) -> None:
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete(kind, node_id, 7 * HOUR_MS) for node_id in ids]))


@pytest.fixture
def state() -> LiveState:
    return state_of(EVENTS)


def test_a_baseline_ranks_by_its_own_score(state):
    ranker = ranker_of(state, served_of(state))
    [ranking] = ranker.recommend([Query(NOW, "ann")])
    assert [item.item_id for item in ranking.items] == ["milk", "tea", "bread"]
    assert [(item.cosine, item.weights) for item in ranking.items] == [(0.0, {})] * 3
    assert [item.score for item in ranking.items] == pytest.approx([3.01, 1.01, 0.01])
    assert (ranking.model_version, ranker.model_version) == ("000007", "000007")


def test_a_baseline_comes_out_of_the_registry_as_it_went_in(state, tmp_path):
    store = ModelStore(str(tmp_path))
    version = store.publish(artifact_of(state, live=2.0))
    artifact = store.load(version)
    served = load_served(artifact, PLUGINS)
    assert isinstance(served, ServingBaseline)
    assert (served.version, served.name, served.baseline.live) == (version, "counting", 2.0)
    assert scores(ranker_of(state, served)) == {"milk": 9.01, "tea": 3.01, "bread": 0.01}
    assert artifact.manifest.parts["baseline"] == {"name": "counting", "origin": "here", "options": {"live": 2.0}}
    assert artifact.manifest.graph_cut == {"checkpoint": "", "num_interactions": 6, "newest_ms": 6 * HOUR_MS}
    assert artifact.manifest.metrics == {"ndcg@20": 0.5}


def test_a_model_comes_out_of_the_registry_as_a_model(state):
    model = quick_model(state, quick_settings(training={"min_interactions": 1}))
    assert isinstance(load_served(model, PLUGINS), ServingModel)


def test_rows_are_found_by_ids_in_another_graph():
    served = served_of(state_of(EVENTS), live=10.0)
    # The same people and things in another order, and some that the fit did not know.
    other = state_of([("eve", "soap", HOUR_MS), ("bob", "tea", HOUR_MS), ("ann", "bread", HOUR_MS)])
    take(other, ("ann", "milk", 2 * HOUR_MS), ("ann", "soap", 3 * HOUR_MS))
    ranker = ranker_of(other, served)
    # Of the fit 3 milk and 1 tea, of the live history 10 each for bread and milk; soap came after the fit.
    assert scores(ranker) == {"milk": 13.01, "bread": 10.01, "tea": 1.01, "soap": 0.0}
    assert scores(ranker, "eve") == {"milk": 0.01, "bread": 0.01, "tea": 0.01, "soap": 0.0}


def test_items_that_came_after_the_fit_get_the_lowest_score_and_never_more_than_zero(state):
    served = served_of(state, live=-5.0)
    take(state, ("bob", "soap", 7 * HOUR_MS))
    ranker = ranker_of(state, served)
    # Of bob's own, bread and milk were lowered by 5 each: soap stands with the lowest.
    assert scores(ranker, "bob") == {"tea": 0.01, "bread": -3.99, "milk": -3.99, "soap": -3.99}
    assert scores(ranker, "nobody")["soap"] == 0.0


def test_new_items_are_ranked_from_the_next_refresh_on(state):
    ranker = ranker_of(state, served_of(state))
    take(state, ("bob", "soap", 7 * HOUR_MS))
    assert "soap" not in scores(ranker)
    ranker.refresh()
    assert scores(ranker)["soap"] == 0.0


def test_forgotten_items_are_not_ranked_and_others_keep_their_scores(state):
    ranker = ranker_of(state, served_of(state))
    forget(state, "item", "milk")
    for _ in range(2):  # Before the items are lined up anew, and after.
        assert scores(ranker) == {"tea": 1.01, "bread": 0.01}
        ranker.refresh()


def test_item_that_comes_back_under_its_id_is_a_new_one(state):
    ranker = ranker_of(state, served_of(state))
    forget(state, "item", "milk")
    take(state, ("bob", "milk", 8 * HOUR_MS))
    ranker.refresh()
    assert scores(ranker) == {"tea": 1.01, "bread": 0.01, "milk": 0.0}


def test_forgotten_user_is_unknown_whatever_the_fit_knows(state):
    ranker = ranker_of(state, served_of(state))
    forget(state, "user", "ann")
    assert scores(ranker) == {"milk": 0.01, "bread": 0.01, "tea": 0.01}


def test_the_next_event_changes_the_answer_at_once(state):
    ranker = ranker_of(state, served_of(state, live=10.0))
    before = scores(ranker)
    take(state, ("ann", "bread", 9 * HOUR_MS))
    assert scores(ranker) == {**before, "bread": before["bread"] + 10.0}


def test_recent_items_speak_for_who_has_no_id(state):
    ranker = ranker_of(state, served_of(state, live=10.0))
    assert scores(ranker, "", recent_items=("tea", "never seen")) == {"tea": 10.01, "milk": 0.01, "bread": 0.01}


def test_filters_hold_for_baselines(state):
    ranker = ranker_of(state, served_of(state))
    assert scores(ranker, exclude_seen=("*",)) == {"bread": 0.01}
    assert scores(ranker, allow_items=("tea", "bread"), exclude_items=("bread",)) == {"tea": 1.01}
    state.apply(
        EventBatch(interactions_of([]), upserts=[NodeUpsert("item", "tea", categories={"department": ("DRINKS",)})])
    )
    assert scores(ranker, category_filters=(("department", ("DRINKS",)),)) == {"tea": 1.01}


def test_each_query_is_scored_at_its_own_moment(state):
    ranker = ranker_of(state, served_of(state))
    queries = [Query(Moment(hour * HOUR_MS), "nobody") for hour in (10, 20, 10)]
    assert [round(ranking.items[0].score, 3) for ranking in ranker.recommend(queries)] == [0.01, 0.02, 0.01]


def test_a_moment_in_the_past_sees_no_history_that_came_after(state):
    ranker = ranker_of(state, served_of(state, live=10.0))
    take(state, ("bob", "tea", 100 * HOUR_MS))
    found = scores(ranker, moment=Moment(4 * HOUR_MS - 1))
    assert found == {"milk": 33.004, "tea": 1.004, "bread": 0.004}  # The tea of ann's came an instant later.


def test_ranks_go_through_the_baseline(state):
    ranker = ranker_of(state, served_of(state))
    queries = [Query(NOW, "ann"), Query(NOW, "bob"), Query(NOW, "bob"), Query(NOW, "ann")]
    # To bob, bread and milk are alike and share the first two places.
    assert item_ranks(ranker.scorer(), queries, ["bread", "bread", "tea", "soap"]).tolist() == [3, 1, 3, 4]


def test_explain_says_which_baseline_ranked(state):
    explanation = explain(ranker_of(state, served_of(state)).scorer(), Query(NOW, "ann"), "tea")
    assert (explanation.rank, explanation.cosine, explanation.cosine_exponent, explanation.terms) == (2, 0.0, 0.0, ())
    assert math.isclose(explanation.score, 1.01, rel_tol=1e-6)
    assert (explanation.sentence, explanation.model_version) == ("ranked by the baseline counting", "000007")


def test_explain_of_an_unknown_item_is_refused(state):
    with pytest.raises(InvalidRequestError, match="no item with the id 'soap'"):
        explain(ranker_of(state, served_of(state)).scorer(), Query(NOW, "ann"), "soap")


def test_similar_items_need_a_model(state):
    with pytest.raises(ModelError, match="the baseline 'counting' is served: similar items need a model"):
        ranker_of(state, served_of(state)).similar("milk", 3)


def test_swaps_go_from_the_fallback_to_a_baseline_to_a_model_and_back(state):
    ranker = Ranker(state, SETTINGS.ranking)
    model = ServingModel.from_artifact(quick_model(state, quick_settings(training={"min_interactions": 1})), PLUGINS)
    found = []
    for served in (None, served_of(state), dataclasses.replace(model, version="000008"), None):
        ranker.swap(served)
        [ranking] = ranker.recommend([Query(NOW, "ann")])
        found.append((ranking.model_version, ranking.personalization))
    assert found == [("", "fallback"), ("000007", "fallback"), ("000008", "learned"), ("", "fallback")]


def test_in_a_graph_of_users_nobody_is_told_to_follow_themselves():
    settings = quick_settings(graph={"item_type": "user"}, interactions={"follow": {}})
    state = state_of([("ann", "bob", 1), ("bob", "eve", 2)], settings, relation="follow")
    view, interactions = state.graph.view(), state.positive_interactions(state.graph.view())
    baseline = Counting(0.0)
    baseline.fit(interactions, view.num_nodes("user"), view.num_nodes("user"))
    artifact = baseline_artifact("counting", {"live": 0.0}, baseline, view, interactions, settings, PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingBaseline.from_artifact(artifact, PLUGINS))
    assert scores(ranker) == {"bob": 1.01, "eve": 0.01}


def test_nothing_goes_on_training_from_a_baseline(state):
    assert not fits_settings(artifact_of(state), PLUGINS.resolved(SETTINGS))


def test_a_baseline_that_no_plugin_offers_cannot_be_taken_up(state):
    with pytest.raises(UnknownPartError, match="no baseline named 'counting'"):
        ServingBaseline.from_artifact(artifact_of(state), load_plugins())


@pytest.mark.parametrize("lost", ["tensors", "parts", "node_ids"])
def test_an_artifact_that_lacks_something_is_refused(state, lost):
    artifact = artifact_of(state)
    if lost == "parts":
        artifact = dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, parts={}))
    else:
        artifact = dataclasses.replace(artifact, **{lost: {}})
    with pytest.raises(ModelError, match="does not fit its own manifest"):
        ServingBaseline.from_artifact(artifact, PLUGINS)
