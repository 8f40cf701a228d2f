"""Variants of experiments are served by their model, their weights and their scenario, each user by their own."""

from dataclasses import replace

import numpy as np
import pytest

from springtide.interactions import Moment
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.variants import multiplied
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.steering.values import Experiment, QuerySteering, Scenario, Steering, Variant
from springtide.testing import START_MS, even_odd_state, quick_model, quick_settings

NOW = Moment(START_MS)
USERS = [f"u{number}" for number in range(24)]


@pytest.fixture(scope="module")
def parts() -> tuple[LiveState, Settings, ModelArtifact]:
    settings, state = quick_settings(model={"width": 16}), even_odd_state(24)
    return state, settings, quick_model(state, settings)


@pytest.fixture
def ranker(parts: tuple[LiveState, Settings, ModelArtifact]) -> Ranker:
    state, settings, artifact = parts
    ranker = Ranker(state, settings.ranking)
    ranker.swap(model(artifact, "one"))
    return ranker


def model(artifact: ModelArtifact, version: str) -> ServingModel:
    return replace(ServingModel.from_artifact(artifact, load_plugins()), version=version)


def ab(name: str, other: Variant, *, layer: str = "") -> Experiment:
    return Experiment(name, (Variant("a", 0.5), replace(other, name="b", share=0.5)), layer)


def answers(ranker: Ranker, scenario: str = "") -> dict[str, tuple[str, str]]:
    """Return each user's variant, empty for none, and the version that ranked, of one batch for all."""
    steering = QuerySteering(scenario=scenario) if scenario else None
    rankings = ranker.recommend([Query(NOW, user, steering=steering) for user in USERS])
    return {
        user: ("".join(arm.variant.name for arm in ranking.arms), ranking.model_version)
        for user, ranking in zip(USERS, rankings, strict=True)
    }


def test_each_user_of_a_batch_is_answered_by_the_model_of_their_variant(
    ranker: Ranker, parts: tuple[LiveState, Settings, ModelArtifact]
) -> None:
    ranker.variants.put(model(parts[2], "two"), parts[0].graph.view())
    ranker.steering = Steering(experiments=[ab("models", Variant("", 0, model_version="two"))])

    assert set(answers(ranker).values()) == {("a", "one"), ("b", "two")}


def test_experiment_does_not_count_while_one_of_its_models_is_not_there(
    ranker: Ranker, parts: tuple[LiveState, Settings, ModelArtifact]
) -> None:
    ranker.steering = Steering(experiments=[ab("models", Variant("", 0, model_version="two"))])
    assert set(answers(ranker).values()) == {("", "one")}

    ranker.variants.put(model(parts[2], "two"), parts[0].graph.view())
    assert {arm for arm, _ in answers(ranker).values()} == {"a", "b"}

    ranker.variants.keep([])
    assert set(answers(ranker).values()) == {("", "one")}


def test_current_model_serves_the_variant_that_names_it(ranker: Ranker) -> None:
    ranker.steering = Steering(experiments=[ab("models", Variant("", 0, model_version="one"))])

    assert set(answers(ranker).values()) == {("a", "one"), ("b", "one")}


def test_weights_of_a_variant_multiply_exponents_in_the_answer(ranker: Ranker) -> None:
    query = [Query(NOW, user) for user in USERS]
    plain = ranker.recommend(query)
    ranker.steering = Steering(experiments=[ab("weights", Variant("", 0, weights=(("cosine", 0.5),)))])

    for before, after in zip(plain, ranker.recommend(query), strict=True):
        factor = 0.5 if after.arms[0].variant.name == "b" else 1.0
        for item in after.items:
            expected = next(each for each in before.items if each.item_id == item.item_id)
            assert item.cosine == pytest.approx(expected.cosine, abs=1e-6)
            logs = sum(np.log(value) for name, value in item.weights.items() if name != "familiarity")
            assert item.score == pytest.approx(expected.score * factor + logs * (1 - factor), abs=1e-4)


def test_weight_of_nothing_switches_a_context_weight_off() -> None:
    settings = quick_settings(ranking={"context_weights": {"popularity": {}}})
    state = even_odd_state(24, settings, load_plugins())
    ranker = Ranker(state, settings.ranking)  # Without a model, context weights alone rank.
    names = list(state.context_weights)
    plain = ranker.recommend([Query(NOW, "u1")])[0]
    bare_weights = QuerySteering(weights=tuple((name, 0.0) for name in names))
    ranker.steering = Steering(scenarios={"bare": Scenario("bare", bare_weights)})

    bare = ranker.recommend([Query(NOW, "u1", steering=QuerySteering(scenario="bare"))])[0]

    assert plain.items.names
    assert not bare.items.names
    assert {item.score for item in bare.items} == {0.0}


def test_variant_chooses_the_scenario_where_the_request_names_none(ranker: Ranker) -> None:
    scenario = Scenario("calm", QuerySteering(weights=(("cosine", 0.5),)))
    other = Scenario("home", QuerySteering())
    ranker.steering = Steering(
        scenarios={"calm": scenario, "home": other},
        experiments=[ab("scenarios", Variant("", 0, scenario="calm"))],
    )

    highest = {
        arm: ranker.recommend([Query(NOW, user)])[0].items[0].score for user, (arm, _) in answers(ranker).items()
    }
    assert highest["b"] < highest["a"]
    assert {arm for arm, _ in answers(ranker, "home").values()} == {""}


def test_experiment_whose_scenario_is_gone_does_not_count(ranker: Ranker) -> None:
    ranker.steering = Steering(experiments=[ab("scenarios", Variant("", 0, scenario="gone"))])

    assert set(answers(ranker).values()) == {("", "one")}


def test_of_two_experiments_that_choose_a_model_one_counts(
    ranker: Ranker, parts: tuple[LiveState, Settings, ModelArtifact]
) -> None:
    ranker.variants.put(model(parts[2], "two"), parts[0].graph.view())
    ranker.steering = Steering(
        experiments=[ab(name, Variant("", 0, model_version="two")) for name in ("first", "second")]
    )

    for ranking in ranker.recommend([Query(NOW, user) for user in USERS]):
        assert [arm.experiment for arm in ranking.arms] == ["first"]


def test_variants_follow_the_graph(parts: tuple[LiveState, Settings, ModelArtifact]) -> None:
    settings, state = parts[1], even_odd_state(24)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(model(parts[2], "one"))
    ranker.variants.put(model(parts[2], "two"), state.graph.view())
    ranker.steering = Steering(
        experiments=[ab("models", Variant("", 0, model_version="two", weights=(("cosine", 2.0),)))]
    )
    queries = [Query(NOW, user, count=1000) for user in USERS]
    assert all("i0" in [item.item_id for item in ranking.items] for ranking in ranker.recommend(queries))
    state.graph.forget("item", "i0")
    ranker.refresh()

    for ranking in ranker.recommend(queries):
        assert "i0" not in [item.item_id for item in ranking.items]


def test_weight_of_no_known_name_changes_nothing(parts: tuple[LiveState, Settings, ModelArtifact]) -> None:
    exponents = model(parts[2], "one").exponents

    assert multiplied(exponents, {"nothing": 0.0}) == exponents
