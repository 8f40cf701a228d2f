"""The versions that experiments need are loaded beside the current one, and let go when no experiment needs them."""

from dataclasses import replace

import pytest

from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import load_served
from springtide.state import LiveState
from springtide.steering.values import Experiment, Steering, Variant
from springtide.testing import even_odd_state, quick_model, quick_settings
from springtide_services.serving.variant_follower import MAX_VERSIONS, VariantFollower, needed_versions

SETTINGS = quick_settings(model={"width": 16})


@pytest.fixture(scope="module")
def state() -> LiveState:
    return even_odd_state(24)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, state: LiveState) -> ModelStore:
    store = ModelStore(str(tmp_path_factory.mktemp("models")), keep=20)
    artifact = quick_model(state, SETTINGS)
    for _ in range(MAX_VERSIONS + 2):
        store.publish(artifact, promote=False)
    return store


@pytest.fixture
def ranker(state: LiveState) -> Ranker:
    return Ranker(state, SETTINGS.ranking)


@pytest.fixture
def follower(store: ModelStore, ranker: Ranker) -> VariantFollower:
    plugins = load_plugins()
    return VariantFollower(store, lambda artifact: load_served(artifact, plugins), ranker)


def steering_of(*versions: str, end_ms: int | None = None) -> Steering:
    variants = (Variant("now", 0.1), *(Variant(f"v{version}", 0.1, version) for version in versions))
    return Steering(experiments=[Experiment("models", variants, end_ms=end_ms)])


def test_versions_are_loaded_while_an_experiment_needs_them(
    store: ModelStore, ranker: Ranker, follower: VariantFollower
) -> None:
    first, second, *_ = sorted(store.versions())
    ranker.steering = steering_of(first, second)
    follower.check()
    assert follower.loaded == (first, second)

    ranker.steering = steering_of(second)
    follower.check()
    assert follower.loaded == (second,)

    ranker.steering = steering_of(second, end_ms=5)  # It is over.
    follower.check()
    assert follower.loaded == ()
    assert follower.faults == {}


def test_version_that_is_not_there_has_a_fault_until_it_is_needed_no_more(
    ranker: Ranker, follower: VariantFollower
) -> None:
    ranker.steering = steering_of("none-such")
    for _ in range(3):
        follower.check()
        assert "none-such" in follower.faults["none-such"]

    ranker.steering = Steering()
    follower.check()
    assert follower.faults == {}


def test_no_more_versions_are_loaded_than_there_is_room_for(
    store: ModelStore, ranker: Ranker, follower: VariantFollower
) -> None:
    versions = sorted(store.versions())
    ranker.steering = steering_of(*versions)
    follower.check()

    assert follower.loaded == tuple(versions[:MAX_VERSIONS])
    assert follower.faults.keys() == set(versions[MAX_VERSIONS:])


def test_current_version_is_not_loaded_again(store: ModelStore, ranker: Ranker, follower: VariantFollower) -> None:
    current, other, *_ = sorted(store.versions())
    ranker.swap(load_served(store.load(current), load_plugins()))
    ranker.steering = steering_of(current, other)
    follower.check()

    assert follower.loaded == (other,)


def test_another_ranker_has_them_too(
    store: ModelStore, ranker: Ranker, follower: VariantFollower, state: LiveState
) -> None:
    first = min(store.versions())
    ranker.steering = steering_of(first)
    follower.check()
    another = Ranker(state, SETTINGS.ranking)
    another.steering = ranker.steering
    follower.serve_on(another)
    follower.check()

    assert set(another.variants.versions) == {first}


def test_version_that_was_rewritten_is_loaded_again(
    store: ModelStore, ranker: Ranker, follower: VariantFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = min(store.versions())
    ranker.steering = steering_of(first)
    follower.check()
    before = ranker.variants._models[first]
    follower._polls_to_look = 0
    follower.check()
    assert ranker.variants._models[first] is before

    monkeypatch.setattr(store, "revision", lambda version: "another")
    follower._polls_to_look = 0
    follower.check()
    assert ranker.variants._models[first] is not before


def test_needed_versions_are_those_of_experiments_that_have_not_ended() -> None:
    steering = Steering(
        experiments=[
            *steering_of("a", "b", end_ms=100).experiments,
            *(replace(each, name="more", start_ms=500) for each in steering_of("b", "c").experiments),
        ]
    )

    assert needed_versions(steering, 99) == ["a", "b", "c"]
    assert needed_versions(steering, 100) == ["b", "c"]
