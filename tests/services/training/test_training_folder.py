"""The folder that server and trainer share: what cannot be read in it is passed over, and logged once."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from springtide_services.training.training_folder import TrainingFolder, TrainingStatus

STATUS = TrainingStatus("learn", "retrain", "abc", started_ms=1, updated_ms=2, done=3, total=4, loss=0.5)


def test_a_status_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = TrainingFolder(str(tmp_path))
    assert folder.status() is None
    folder.write_status(STATUS)
    assert folder.status() == STATUS


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        json.dumps({**dataclasses.asdict(STATUS), "epoch": 7}),
        json.dumps({"stage": "learn"}),
        json.dumps({**dataclasses.asdict(STATUS), "updated_ms": 10**18}),
        json.dumps({**dataclasses.asdict(STATUS), "updated_ms": "2"}),
        json.dumps({**dataclasses.asdict(STATUS), "done": -1}),
        json.dumps({**dataclasses.asdict(STATUS), "total": 10**30}),
        json.dumps({**dataclasses.asdict(STATUS), "loss": "low"}),
        json.dumps({**dataclasses.asdict(STATUS), "failure": None}),
        "[" * 100_000,
        json.dumps({**dataclasses.asdict(STATUS), "failure": "\ud800"}),
    ],
)
def test_a_status_that_cannot_be_read_says_so_and_is_logged_once(tmp_path: Path, content: str) -> None:
    folder = TrainingFolder(str(tmp_path))
    (tmp_path / "status.json").write_text(content)
    with capture_logs() as logs:
        for _ in range(2):
            status = folder.status()
            assert status is not None
            assert status.stage == "unreadable"
            assert "training/status.json" in status.failure
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("training_status_unreadable", "warning")]
    folder.write_status(STATUS)
    assert folder.status() == STATUS


@pytest.mark.parametrize(
    "changes", [{"mode": "distill"}, {"created_ms": "today"}, {"request_id": None}, {"priority": 1}]
)
def test_a_request_that_makes_no_sense_is_passed_over_and_logged_once(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = TrainingFolder(str(tmp_path))
    good, bad = folder.ask("refit", "00000001"), folder.ask(None, "00000001")
    (tmp_path / "requests" / f"{bad.request_id}.json").write_text(json.dumps({**dataclasses.asdict(bad), **changes}))
    with capture_logs() as logs:
        assert folder.requests() == [good]
        assert folder.requests() == [good]
    assert [entry["event"] for entry in logs] == ["training_request_unreadable"]
