"""Requests and the status that an earlier release has written are read; ``tests/fixtures/make.py`` wrote them."""

import json
import shutil
from pathlib import Path

from springtide_services.training.schedule import TrainingRequest
from springtide_services.training.training_folder import TrainingFolder, TrainingStatus

FIXTURE = Path(__file__).parents[2] / "fixtures" / "training" / "release_1.zip"


def test_training_folder_of_release_1_is_read_whole(tmp_path: Path):
    shutil.unpack_archive(FIXTURE, tmp_path)
    folder = TrainingFolder(str(tmp_path))
    (request,) = folder.requests()
    assert request == TrainingRequest("0123456789abcdef", "fine_tune", "00000003", 1_700_000_000_000, "asked for")
    status = folder.status()
    assert isinstance(status, TrainingStatus)
    assert (status.stage, status.mode, status.started_ms, status.updated_ms) == (
        *("done", "retrain"),
        *(1_700_000_000_000, 1_700_000_000_500),
    )
    assert (status.done, status.total, status.loss, status.model_version) == (5, 5, 0.25, "000002")
    assert FIXTURE.stat().st_size < 50_000


def test_status_of_a_later_release_says_that_it_cannot_be_read(tmp_path: Path):
    shutil.unpack_archive(FIXTURE, tmp_path)
    path = tmp_path / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shards": 4}))
    status = TrainingFolder(str(tmp_path)).status()
    assert status is not None
    assert status.stage == "unreadable"
