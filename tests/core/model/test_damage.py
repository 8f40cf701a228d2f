"""Each file of a registry, damaged in each way: the version before serves, or the same one as before, never another."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from springtide.errors import ModelError
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return bytes([*content[:middle], content[middle] ^ 1, *content[middle + 1 :]])


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flip,
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "missing": lambda content: None,
    "torn": lambda content: content[: len(content) // 3] + b"\xaa" * (len(content) - len(content) // 3),
}


def publish(store: ModelStore, number: int) -> str:
    manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={}, exponents={"daily": float(number)})
    return store.publish(
        ModelArtifact(
            manifest,
            {"vectors": np.full((3, 4), number, np.float32)},
            {"user": ["ann"], "item": ["a", "b"]},
            {"item": ["brand=own"]},
        )
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    url = tmp_path_factory.mktemp("models")
    store = ModelStore(str(url))
    for number in range(3):
        publish(store, number)
    return url


def damage(path: Path, how: str) -> None:
    changed = DAMAGES[how](path.read_bytes())
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)


def version_that_serves(url: Path) -> str | None:
    champion = ModelStore(str(url)).load_champion()
    return None if champion is None else champion.artifact.manifest.version


@pytest.mark.parametrize("how", DAMAGES)
def test_the_version_before_serves_whichever_file_of_the_current_one_is_damaged(
    three: Path, tmp_path: Path, how: str
) -> None:
    names = sorted(path.name for path in (three / "000003").iterdir())
    assert {"manifest.json", "manifest.sha256", "tensors.safetensors"} < set(names)
    for name in names:
        url = shutil.copytree(three, tmp_path / name)
        damage(url / "000003" / name, how)
        with capture_logs() as logs:
            found = version_that_serves(url)
        if name == "manifest.sha256" and how == "missing":  # As in versions of before there were sums.
            assert found == "000003"
            continue
        assert found == "000002", name
        assert [(log["event"], log["version"]) for log in logs] == [("model_damaged", "000003")]
        assert publish(ModelStore(str(url)), 3) == "000004"
        assert version_that_serves(url) == "000004", "the next one is whole"


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("what", ["current.json", "newest state", "both"])
def test_a_damaged_pointer_still_points(three: Path, tmp_path: Path, how: str, what: str) -> None:
    url = shutil.copytree(three, tmp_path / "models")
    states = sorted((url / "pointer").iterdir())
    if what != "newest state":
        damage(url / "current.json", how)
    if what != "current.json":
        damage(states[-1], how)
    before = "000003" if what != "both" else "000002"  # Then the last change is lost, and the one before it is told.
    assert version_that_serves(url) == before
    store = ModelStore(str(url))
    assert publish(store, 4) == "000004"
    assert ModelStore(str(url)).current() == "000004"
    assert ModelStore(str(url)).promotions()[-2] == before


def test_a_pointer_without_any_state_that_can_be_read_is_an_error(three: Path, tmp_path: Path) -> None:
    url = shutil.copytree(three, tmp_path / "models")
    for path in [url / "current.json", *(url / "pointer").iterdir()]:
        path.write_bytes(b"{")
    with pytest.raises(ModelError, match="not a pointer to a model"):
        ModelStore(str(url)).current()


def test_no_promoted_version_that_is_whole_is_none(three: Path, tmp_path: Path) -> None:
    url = shutil.copytree(three, tmp_path / "models")
    for path in url.glob("*/tensors.safetensors"):
        path.write_bytes(b"")
    assert version_that_serves(url) is None
