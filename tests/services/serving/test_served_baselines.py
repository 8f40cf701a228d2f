"""A baseline in the registry: the server takes it up, and the trainer trains a model from scratch beside it."""

import functools
import sys
from pathlib import Path

import pytest

from springtide.checkpoint import CheckpointStore
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.contracts import Moment
from springtide.plugins.guarding import Guards
from springtide.plugins.loading import find_plugins, load_plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import load_served
from springtide.settings.model import PartSettings, PluginSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide.testing import even_odd_state, quick_model, quick_settings
from springtide_services.serving.version_follower import VersionFollower
from springtide_services.training.schedule import PastTrainings
from springtide_services.training.training_run import train_once

PLUGINS = load_plugins()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return quick_settings(
        checkpoint={"url": str(tmp_path / "checkpoints")},
        model={"url": str(tmp_path / "models")},
        training={"steps": 2, "fine_tune_steps": 2},
    )


@pytest.fixture
def state(settings: Settings) -> LiveState:
    state = even_odd_state(24, settings)
    state.position = StreamPosition("events", "", {0: state.num_events})
    return state


def popularity_of(state: LiveState, settings: Settings) -> ModelArtifact:
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    baseline = PLUGINS.make("baseline", PartSettings(name="popularity"))
    baseline.fit(interactions, view.num_nodes("user"), view.num_nodes("item"))
    return baseline_artifact("popularity", {}, baseline, view, interactions, settings, PLUGINS)


def answers(ranker: Ranker) -> tuple[str, str]:
    [ranking] = ranker.recommend([Query(Moment(1_800_000_000_000), "u0", count=1)])
    return ranking.model_version, ranking.personalization


def test_the_follower_serves_whichever_kind_is_current(state: LiveState, settings: Settings) -> None:
    store, ranker = ModelStore(settings.model.url), Ranker(state, settings.ranking)
    follower = VersionFollower(store, functools.partial(load_served, plugins=PLUGINS), ranker.swap)
    found = []
    for artifact in (quick_model(state, settings), popularity_of(state, settings)):
        store.publish(artifact)
        follower.check()
        found.append(answers(ranker))
    follower.roll_back()
    found.append(answers(ranker))
    assert found == [("000001", "learned"), ("000002", "fallback"), ("000001", "learned")]


@pytest.mark.parametrize("way", ["raises", "answers nonsense", "blocks"])
def test_the_fallback_ranks_while_a_baseline_that_others_wrote_fails(
    state: LiveState, settings: Settings, way: str
) -> None:
    guards = Guards(max_call_s=0.5)
    folder = Path(__file__).parents[2] / "plugin_faults" / "served"
    plugins = find_plugins(PluginSettings(folder=str(folder), on_error="skip")).behind(guards)
    module = sys.modules.pop("springtide_plugin_faulty")
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    baseline = plugins.make("baseline", PartSettings(name="faulty"))
    baseline.fit(interactions, view.num_nodes("user"), view.num_nodes("item"))
    artifact = baseline_artifact("faulty", {}, baseline, view, interactions, settings, plugins)
    store, ranker = ModelStore(settings.model.url), Ranker(state, settings.ranking)
    store.publish(artifact)
    ranker.swap(load_served(store.load("000001"), plugins))
    assert answers(ranker)[0] == "000001"
    module.ways["scores"] = way
    assert answers(ranker) == ("", "fallback")
    ranker.refresh()
    module.ways.clear()
    module.released.set()
    if way != "blocks":  # Else it rests.
        assert answers(ranker)[0] == "000001", "it is asked again"


@pytest.mark.parametrize("mode", ["fine_tune", "refit", None])
def test_trainings_beside_a_baseline_start_from_scratch(state: LiveState, settings: Settings, mode: str | None) -> None:
    CheckpointStore(settings.checkpoint.url).write(state.snapshot())
    store = ModelStore(settings.model.url)
    store.publish(popularity_of(state, settings))
    assert store.manifest(train_once(settings, mode)).training == "retrain"


def test_a_baseline_is_no_training(state: LiveState, settings: Settings) -> None:
    store = ModelStore(settings.model.url)
    store.publish(quick_model(state, settings))
    of_model = PastTrainings.of([store.manifest("000001")])
    store.publish(popularity_of(state, settings))
    manifests = [store.manifest(version) for version in store.versions()]
    assert PastTrainings.of(manifests) == of_model
    assert PastTrainings.of(manifests[:1]) == PastTrainings()
