"""Weights that learn in trainings: from the training to the model, to what is served, and through deletions."""

import dataclasses

import numpy as np
import pytest

from springtide.events import EventBatch
from springtide.events.model import NodeDelete
from springtide.explaining.terms import explain
from springtide.model.exponents import Exponents, TermExponents
from springtide.model.fitted_weights import fitted_in, fitted_to_tensors, live_rows
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import make_context_weights
from springtide.state import LiveState
from springtide.testing import even_odd_events, interactions_of, quick_settings
from springtide.training.train import train

SIZE = 24
EVENTS = even_odd_events(SIZE)
NOW = Moment(EVENTS[-1][2] + 1_000)
SETTINGS = quick_settings(
    model={"width": 16}, ranking={"context_weights": {"popularity": {}, "item_item": {"l2": 2.0}}}
)
TOGETHER = {"item_item": {"together": 1.0}}
PLUGINS = load_plugins()


@pytest.fixture
def state() -> LiveState:
    state = LiveState(SETTINGS, make_context_weights(SETTINGS.ranking, PLUGINS))
    state.apply(EventBatch(interactions_of(EVENTS)))
    return state


@pytest.fixture
def artifact(state: LiveState) -> ModelArtifact:
    return train(state, SETTINGS, PLUGINS, mode="retrain")


def ranker_of(state: LiveState, artifact: ModelArtifact) -> Ranker:
    model = ServingModel.from_artifact(artifact, PLUGINS)
    ranker = Ranker(state, SETTINGS.ranking)
    exponents = Exponents(TermExponents(1.0, TOGETHER), TermExponents(1.0))
    ranker.swap(dataclasses.replace(model, exponents=exponents))
    return ranker


def lifted(ranker: Ranker, user_id: str, **fields: object) -> dict[str, float]:
    """Return the items that ``item_item`` speaks for, each with its factor."""
    [ranking] = ranker.recommend([Query(NOW, user_id=user_id, count=2 * SIZE, **fields)])
    return {item.item_id: item.weights["item_item"] for item in ranking.items if item.weights.get("item_item", 1) > 1}


def test_a_model_holds_what_its_weights_have_learned(artifact: ModelArtifact) -> None:
    fitted = fitted_in(artifact.tensors)
    assert list(fitted) == ["item_item"]
    assert fitted_to_tensors(fitted).keys() <= artifact.tensors.keys()
    assert len(fitted["item_item"]["kept"]) == SIZE


def test_what_people_had_together_is_served(state: LiveState, artifact: ModelArtifact) -> None:
    ranker = ranker_of(state, artifact)
    assert {int(item[1:]) % 2 for item in lifted(ranker, "u4", exclude_seen=("*",))} == {0}
    newcomer = lifted(ranker, "", recent_items=("i3",))
    assert newcomer
    assert {int(item[1:]) % 2 for item in newcomer} == {1}, "the history of a moment ago counts"


def test_explanations_speak_by_what_was_learned(state: LiveState, artifact: ModelArtifact) -> None:
    ranker = ranker_of(state, artifact)
    item, factor = next(iter(lifted(ranker, "u4", exclude_seen=("*",)).items()))
    explained = explain(ranker.scorer(), Query(NOW, user_id="u4"), item)
    [term] = explained.weights["item_item"]
    assert np.exp(term.log_weight) == pytest.approx(factor, rel=1e-4)
    assert "by people who had what you had" in explained.sentence


def test_an_item_that_took_the_row_of_a_deleted_one_is_not_spoken_of(state: LiveState, artifact: ModelArtifact) -> None:
    ranker = ranker_of(state, artifact)
    gone = next(iter(lifted(ranker, "u4", exclude_seen=("*",))))
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", gone, NOW.timestamp_ms)]))
    assert gone not in lifted(ranker, "u4")
    state.apply(EventBatch(interactions_of([("u3", "another", NOW.timestamp_ms + 1)])))
    state.apply(EventBatch(interactions_of([("u3", gone, NOW.timestamp_ms + 2)])))
    for _ in range(2):
        spoken_of = lifted(ranker, "", recent_items=("i2", "i6"))
        assert spoken_of, "the others are"
        assert not spoken_of.keys() & {gone, "another"}
        ranker.refresh()


def test_a_training_goes_on_from_a_model_with_its_weights_learned_anew(
    state: LiveState, artifact: ModelArtifact
) -> None:
    more = [(f"u{number}", f"i{number + 4}", NOW.timestamp_ms + number) for number in range(16)]
    state.apply(EventBatch(interactions_of([*more, ("u1", "i900", NOW.timestamp_ms + 90)])))
    tuned = train(state, SETTINGS, PLUGINS, mode="fine_tune", base=artifact)
    assert len(fitted_in(tuned.tensors)["item_item"]["kept"]) == SIZE + 1


def test_live_rows_are_those_of_the_models_items() -> None:
    assert live_rows(np.array([2, -1, 0], np.int32), 4).tolist() == [2, -1, 0, -1]
