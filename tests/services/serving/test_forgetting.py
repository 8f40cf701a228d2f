"""While a server runs, deleted nodes leave all versions, also those of trainings that began before the deletion."""

from pathlib import Path

import pytest

from springtide.errors import ModelError
from springtide.events.model import EventBatch, NodeDelete
from springtide.graph.applying import USER
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.serving_baseline import forget_users_by, load_served
from springtide.settings.model import PluginSettings
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings
from springtide_services.serving import forgetting
from springtide_services.serving.forgetting import ModelForgetting
from springtide_services.serving.version_follower import VersionFollower

PLUGINS = load_plugins(PluginSettings())
SETTINGS = quick_settings(training={"steps": 2})
END_MS = even_odd_events()[-1][2] + 1


class Serving:
    """A registry, what follows it, and what takes deleted nodes out of it."""

    def __init__(self, folder: Path, every_s: float = 0.0) -> None:
        self.state: LiveState = even_odd_state()
        self.model = quick_model(self.state, SETTINGS, PLUGINS)
        self.models = ModelStore(str(folder))
        self.swapped: list[str] = []
        self.follower = VersionFollower(
            self.models,
            lambda artifact: load_served(artifact, PLUGINS),
            lambda served: self.swapped.append(served.version),
        )
        self.forgetting = ModelForgetting(self.models, self.follower, forget_users_by(PLUGINS), every_s)
        self.forgetting.follow(self.state)

    def delete(self, user: str) -> None:
        self.state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete(USER, user, END_MS)]))
        self.forgetting.note(self.state.graph.num_forgotten, self.state.graph.tombstones.snapshot())

    def has(self, version: str, user: str) -> bool:
        return user in list(self.models.load(version).node_ids[USER])


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "_LOOK_S", 0.0)


def test_all_versions_lose_a_deleted_user_and_the_one_that_serves_is_loaded_again(tmp_path: Path) -> None:
    serving = Serving(tmp_path)
    versions = [serving.models.publish(serving.model) for _ in range(3)]
    serving.follower.check()
    serving.forgetting.run_if_due()
    assert serving.has(versions[0], "u3")
    serving.delete("u3")
    serving.forgetting.run_if_due()
    assert not any(serving.has(version, "u3") for version in versions)
    assert all(serving.has(version, "u4") for version in versions)
    assert serving.swapped == [versions[-1], versions[-1]]
    serving.forgetting.run_if_due()
    assert len(serving.swapped) == 2


def test_model_of_a_training_that_began_before_the_deletion_loses_the_user_when_it_is_published(tmp_path: Path) -> None:
    serving = Serving(tmp_path, every_s=3_600.0)
    serving.models.publish(serving.model)
    serving.delete("u3")
    serving.forgetting.run_if_due()
    late = serving.models.publish(serving.model)
    assert serving.has(late, "u3")
    serving.forgetting.run_if_due()
    assert not serving.has(late, "u3")


def test_versions_are_rewritten_no_oftener_than_the_settings_say(tmp_path: Path) -> None:
    serving = Serving(tmp_path, every_s=3_600.0)
    version = serving.models.publish(serving.model)
    serving.delete("u3")
    serving.forgetting.run_if_due()
    serving.delete("u4")
    serving.forgetting.run_if_due()
    assert serving.has(version, "u4")


def test_damaged_version_that_holds_a_deleted_user_goes_and_the_current_one_is_told(tmp_path: Path) -> None:
    serving = Serving(tmp_path)
    old, current = (serving.models.publish(serving.model) for _ in range(2))
    for version in (old, current):
        path = tmp_path / version / "tensors.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    serving.delete("u3")
    with pytest.raises(ModelError, match=f"{current}/tensors.safetensors: damaged"):
        serving.forgetting.run_if_due()
    assert serving.models.versions() == [current]
    serving.models.publish(serving.model)
    serving.forgetting.run_if_due()
    assert current not in serving.models.versions()


def test_other_servers_load_a_rewritten_version_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serving, other = Serving(tmp_path), Serving(tmp_path)
    version = serving.models.publish(serving.model)
    other.follower.check()
    serving.delete("u3")
    serving.forgetting.run_if_due()
    for _ in range(45):
        other.follower.check()
    assert other.swapped == [version, version]
