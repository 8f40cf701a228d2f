"""What the doctor finds of checkpoints, models and the disk, on real files that are damaged on purpose."""

from pathlib import Path

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.clock import wall_ms
from springtide.events.model import EventBatch, Interactions
from springtide.settings.model import CheckpointSettings, ModelSettings, Settings
from springtide.state import LiveState
from springtide.v1 import admin_pb2 as pb
from springtide_services.doctor import state_files
from springtide_services.doctor.state_files import checkpoint_findings, disk_findings, model_findings
from springtide_services.findings import Finding, Level


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        checkpoint=CheckpointSettings(url=str(tmp_path / "checkpoints")),
        model=ModelSettings(url=str(tmp_path / "models")),
    )


def write_checkpoint(settings: Settings, age_s: float = 1.0) -> None:
    state = LiveState(settings, {})
    zeros = np.zeros(5, np.int32)
    columns = (["u"], zeros, ["i"], zeros, ["purchase"], zeros.astype(np.int16))
    state.apply(EventBatch(Interactions(*columns, np.arange(5), np.full(5, np.nan, np.float32))))
    CheckpointStore(settings.checkpoint.url).write(state.snapshot(), round(wall_ms() - 1_000 * age_s))


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_no_checkpoint_yet_is_well_where_no_server_runs(settings: Settings) -> None:
    assert only(list(checkpoint_findings(settings, None))).level is Level.OK


def test_whole_checkpoint_is_well(settings: Settings) -> None:
    write_checkpoint(settings)
    finding = only(list(checkpoint_findings(settings, None)))
    assert finding.level is Level.OK
    assert "with 5 edges" in finding.message


def test_newest_checkpoint_that_lacks_a_file_fails(settings: Settings) -> None:
    write_checkpoint(settings)
    missing = next((Path(settings.checkpoint.url) / "segments").glob("*edges*"))
    missing.unlink()
    finding = only(list(checkpoint_findings(settings, None)))
    assert finding.level is Level.FAILURE
    assert f"{missing.name}: missing" in finding.message
    assert finding.command == "springtide checkpoints verify"


def test_checkpoint_that_a_writer_should_have_followed_up_is_a_warning(settings: Settings) -> None:
    write_checkpoint(settings, age_s=10 * settings.checkpoint.every_s + 60)
    writer = pb.GetStatusResponse(role="writer", lag_events=5)
    assert only(list(checkpoint_findings(settings, writer))).level is Level.WARNING
    quiet = pb.GetStatusResponse(role="writer", lag_events=0)  # Nothing changes: nothing is written.
    assert only(list(checkpoint_findings(settings, quiet))).level is Level.OK


def test_no_model_yet_names_the_trainer(settings: Settings) -> None:
    assert only(list(model_findings(settings))).command == "springtide train --schedule"


def test_current_version_that_cannot_be_read_fails(settings: Settings) -> None:
    folder = Path(settings.model.url) / "000001"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    (folder.parent / "promotions").write_text("", encoding="utf-8")
    found = list(model_findings(settings))
    assert any(finding.level in (Level.WARNING, Level.FAILURE) and "000001" in finding.message for finding in found)


def test_folder_that_may_not_be_written_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files.os, "access", lambda path, mode: False)  # The tests' user may be root.
    found = list(disk_findings(settings))
    assert [finding.level for finding in found] == [Level.FAILURE, Level.FAILURE]
    assert "checkpoint.url" in found[0].message


def test_scarce_room_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files, "_MIN_ROOM_BYTES", 10**18)
    assert {finding.level for finding in disk_findings(settings)} == {Level.WARNING}
