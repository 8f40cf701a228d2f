"""Following the registry: a new version is taken up, a damaged one is not, and operators are obeyed at once."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from springtide.errors import ModelError
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide_services.serving import version_follower
from springtide_services.serving.statuses import NotFoundError
from springtide_services.serving.version_follower import VersionFollower


@dataclasses.dataclass(frozen=True)
class Model:
    """Stands in for a serving model, which takes a trained artifact: these tests are about which one serves."""

    version: str
    parts_with_torch: tuple[str, ...] = ()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(str(tmp_path / "models"))


@pytest.fixture
def served() -> list[str]:
    """The versions taken up, in order."""
    return []


@pytest.fixture
def follower(store: ModelStore, served: list[str]) -> Iterator[VersionFollower]:
    follower = VersionFollower(
        store, lambda artifact: Model(artifact.manifest.version), lambda model: served.append(model.version)
    )
    yield follower
    follower.stop()


def publish(store: ModelStore, *, promote: bool = True) -> str:
    manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={})
    artifact = ModelArtifact(manifest, {"items": np.ones(1, np.float32)}, {"user": [], "item": ["a"]})
    return store.publish(artifact, promote=promote)


def damage(tmp_path: Path, version: str) -> None:
    (tmp_path / "models" / version / "tensors.safetensors").write_bytes(b"damaged")


def test_an_empty_registry_is_watched_without_complaint(follower: VersionFollower, served: list[str]) -> None:
    with capture_logs() as logs:
        follower.check()
    assert (served, follower.served_version, logs) == ([], "", [])


def test_the_current_version_is_taken_up_once(follower: VersionFollower, store: ModelStore, served: list[str]) -> None:
    publish(store)
    follower.check()
    follower.check()
    assert served == ["000001"]


def test_parts_without_a_serving_half_are_logged_once_and_kept_for_the_status(store: ModelStore) -> None:
    parts = ("encoder 'own' of shop 1.0",)
    follower = VersionFollower(store, lambda artifact: Model(artifact.manifest.version, parts), lambda model: None)
    assert follower.parts_with_torch == ()
    with capture_logs() as logs:
        for _ in range(2):
            version = publish(store)
            follower.check()
            assert (follower.served_version, follower.parts_with_torch) == (version, parts)
    assert [entry["parts"] for entry in logs if entry["event"] == "torch_loaded"] == [list(parts)]


def test_a_new_version_is_seen_within_a_second(follower: VersionFollower, store: ModelStore, served: list[str]) -> None:
    assert version_follower._POLL_S < 0.5, "the rest of the second is for loading"
    follower.start()
    publish(store)
    deadline = time.monotonic() + 60
    while not served and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served == ["000001"]


def test_a_damaged_version_is_logged_once_and_the_former_goes_on(
    follower: VersionFollower, store: ModelStore, served: list[str], tmp_path: Path
) -> None:
    publish(store)
    follower.check()
    damage(tmp_path, publish(store))
    with capture_logs() as logs:
        for _ in range(10):
            follower.check()
    assert served == ["000001"]
    assert [(entry["event"], entry["version"]) for entry in logs] == [("model_not_loaded", "000002")]
    publish(store)
    follower.check()
    assert served == ["000001", "000003"]


def test_at_a_start_the_one_promoted_before_a_damaged_version_serves_and_the_pointer_stays(
    follower: VersionFollower, store: ModelStore, served: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        publish(store)
    publish(store, promote=False)
    for _ in range(2):
        damage(tmp_path, publish(store))
    with capture_logs() as logs:
        for _ in range(10):
            follower.check()
    assert served == ["000002"]
    assert [(entry["event"], entry["version"]) for entry in logs] == [
        ("model_not_loaded", "000005"),
        ("model_damaged", "000004"),
        ("model_swapped", "000002"),
    ]
    bypassed = follower.bypassed
    assert bypassed is not None
    assert (bypassed.version, bypassed.instead) == ("000005", "000002")
    assert "tensors.safetensors: damaged" in bypassed.fault
    assert store.current() == "000005", "only a person moves the pointer back"
    entry = store.audit.entries()[-1]
    assert (entry.action, entry.from_version, entry.to_version) == ("bypass", "000005", "000002")
    with pytest.raises(ModelError, match="model 000004 is current now, but cannot be loaded"):
        follower.roll_back()
    assert follower.roll_back() == "000002"
    assert follower.bypassed is None


def test_a_version_that_is_whole_again_takes_its_place(
    follower: VersionFollower, store: ModelStore, served: list[str], tmp_path: Path
) -> None:
    publish(store)
    path = tmp_path / "models" / publish(store) / "tensors.safetensors"
    whole = path.read_bytes()
    damage(tmp_path, "000002")
    follower.check()
    path.write_bytes(whole)
    while len(served) < 2:
        follower.check()
    assert served == ["000001", "000002"]
    assert follower.bypassed is None


def test_a_current_version_of_newer_software_is_logged_once_and_the_former_goes_on(
    follower: VersionFollower, store: ModelStore, served: list[str], tmp_path: Path
) -> None:
    publish(store)
    follower.check()
    publish(store)
    path = tmp_path / "models" / "000002" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "quantization": "int8"}))
    with capture_logs() as logs:
        for _ in range(10):
            follower.check()
    assert served == ["000001"]
    (entry,) = logs
    assert (entry["event"], entry["version"]) == ("model_not_loaded", "000002")
    with pytest.raises(ModelError, match="unknown keys: quantization"):
        follower.promote("000002")
    assert follower.roll_back() == "000001"


def test_a_version_that_could_not_be_loaded_is_tried_again(store: ModelStore, served: list[str]) -> None:
    failures = [OSError("the store is away"), OSError("the store is away")]

    def load(artifact: ModelArtifact) -> Model:
        if failures:
            raise failures.pop()
        return Model(artifact.manifest.version)

    follower = VersionFollower(store, load, lambda model: served.append(model.version))
    publish(store)
    for _ in range(6):  # Fails, is left alone once, fails, is left alone twice, succeeds.
        follower.check()
    assert served == ["000001"]


def test_a_promotion_serves_at_once(follower: VersionFollower, store: ModelStore, served: list[str]) -> None:
    publish(store)
    publish(store, promote=False)
    follower.check()
    follower.promote("000002")
    assert served == ["000001", "000002"]
    assert store.current() == "000002"


def test_a_promotion_of_what_is_not_there_says_the_choices(follower: VersionFollower, store: ModelStore) -> None:
    publish(store)
    with pytest.raises(NotFoundError, match=r"'000009' \(choices: 000001\)"):
        follower.promote("000009")


def test_a_damaged_version_is_not_promoted(follower: VersionFollower, store: ModelStore, tmp_path: Path) -> None:
    publish(store)
    damage(tmp_path, publish(store, promote=False))
    with pytest.raises(ModelError, match="damaged"):
        follower.promote("000002")
    assert store.current() == "000001"


def test_a_rollback_serves_at_once(follower: VersionFollower, store: ModelStore, served: list[str]) -> None:
    publish(store)
    publish(store)
    follower.check()
    assert follower.roll_back() == "000001"
    assert served == ["000002", "000001"]
    with pytest.raises(ModelError, match="nothing to roll back to"):
        follower.roll_back()


def test_operators_and_the_watch_do_not_load_at_the_same_time(store: ModelStore, served: list[str]) -> None:
    loading = threading.Semaphore(1)

    def load(artifact: ModelArtifact) -> Model:
        assert loading.acquire(blocking=False), "two loads at once"
        time.sleep(0.02)  # Long enough for another thread to come in.
        loading.release()
        return Model(artifact.manifest.version)

    follower = VersionFollower(store, load, lambda model: served.append(model.version))
    publish(store)
    threads = [threading.Thread(target=follower.check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served == ["000001"]
