"""`springtide state migrate`: what earlier releases have stored, in the format of now."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from springtide.checkpoint import CheckpointLock
from springtide.errors import CheckpointLockedError, JournalError
from springtide.model.registry import ModelStore
from springtide_services.cli.app import app

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a folder with a checkpoint of format 3, models of release 1, and a journal."""
    for kind, name in (("checkpoints", "format_3"), ("models", "release_1"), ("journal", "version_1")):
        shutil.unpack_archive(FIXTURES / kind / f"{name}.zip", tmp_path / kind)
    (tmp_path / "springtide.toml").write_text(
        f"[checkpoint]\nurl = '{tmp_path}/checkpoints'\njournal = '{tmp_path}/journal'\n"
        f"[model]\nurl = '{tmp_path}/models'\n"
    )
    return tmp_path


def migrate(state: Path, *options: str) -> str:
    result = CliRunner().invoke(
        app, ["state", "migrate", "--settings", str(state / "springtide.toml"), *options], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_migrated_once_and_a_dry_run_changes_nothing(state: Path):
    before = files_of(state)
    would = migrate(state, "--dry-run")
    assert files_of(state) == before
    assert "checkpoint 00000001: format 3" in would
    assert "would be written anew in format" in would
    assert "model 000002 would be written anew: ids in an Arrow file, a manifest without a checksum" in would
    assert "the pointer to the current model would be written anew: a pointer without numbered states" in would
    told = migrate(state)
    assert "holds what 00000001 held, 95 events" in told
    assert "its content is the same" in told
    assert "deleted: 00000001" in told
    assert "model 000001 was written anew, and read again" in told
    assert "version 1, nothing to do" in told
    models = ModelStore(f"{state}/models")
    assert (models.current(), models.promotions()) == ("000001", ["000001"])
    assert models.load("000002").tensors["users"].tolist() == [[0.0, 2.0], [4.0, 6.0]]
    assert list(models.load("000002").node_ids["user"]) == ["ann", "bö"]
    assert [each.action for each in models.audit.entries()][3:] == ["migrate"] * 3
    after = files_of(state)
    assert not [path for path in after if path.endswith((".arrow", ".npz")) and "segments" in path]
    again = migrate(state)
    assert again.count("nothing to do") == 3
    assert files_of(state) == after


@pytest.mark.parametrize("release", [2, 3])
def test_pointers_and_manifests_without_checksums_have_them_then(release: int, state: Path):
    shutil.rmtree(state / "models")
    shutil.unpack_archive(FIXTURES / "models" / f"release_{release}.zip", state / "models")
    assert "it had a pointer without a checksum" in migrate(state)
    assert migrate(state).count("nothing to do") == 3
    assert "sha256" in json.loads((state / "models" / "current.json").read_text())


def test_nothing_stored_yet_is_said(tmp_path: Path):
    (tmp_path / "springtide.toml").write_text(
        f"[checkpoint]\nurl = '{tmp_path}/checkpoints'\njournal = '{tmp_path}/journal'\n"
        f"[model]\nurl = '{tmp_path}/models'\n"
    )
    told = migrate(tmp_path)
    assert "there is none, nothing to do" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["springtide.toml"]


def test_damaged_model_is_left_and_the_exit_code_says_so(state: Path):
    path = state / "models" / "000002" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    result = CliRunner().invoke(app, ["state", "migrate", "--settings", str(state / "springtide.toml")])
    assert result.exit_code == 1
    assert "model 000002 was left as it is" in result.output
    assert "model 000001 was written anew" in result.output


def test_it_is_refused_beside_a_server_and_for_a_journal_of_a_later_release(state: Path):
    before = files_of(state / "models")
    with CheckpointLock(f"{state}/checkpoints") as lock:
        assert lock is not None
        with pytest.raises(CheckpointLockedError):
            migrate(state)
    history = state / "journal" / "history.json"
    history.write_text(history.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(JournalError, match="version 2; this release reads 1"):
        migrate(state)
    assert files_of(state / "models") == before
