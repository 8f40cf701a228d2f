"""The `models` commands: what they print of a registry, and what they change in it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.settings.model import ModelSettings, Settings
from springtide_services.cli.app import app
from springtide_services.cli.model_tables import outcome_of, promote, roll_back, show_log, show_model, show_models

GATE = {
    "verdict": "rejected",
    "reason": "behind tifu_knn; NDCG@20 0.3900 on 1,000 questions",
    "metric": "ndcg@20",
    "segment": "all",
    "questions": 1_000,
    "new_questions": 400,
    "after_ms": 1_700_000_000_000,
    "seconds": 12.3,
    "contestants": {
        "candidate": {"questions": 1_000, "all": 0.39, "new": 0.05},
        "champion": {"all": 0.385, "new": 0.04},  # As releases wrote it that asked all questions.
        "tifu_knn": {"questions": 1_000, "all": 0.395, "new": 0.045, "difference": -0.005},
        "item_knn": {"questions": 125, "all": 0.21, "difference": 0.19},
    },
    "champion": {"version": "000001", "difference": 0.005, "low": -0.001, "high": 0.011, "p_worse": 0.95},
    "best_baseline": {"name": "tifu_knn", "difference": -0.005, "low": -0.012, "high": 0.002, "p_worse": 0.07},
    "left_out": {"slim": "too many items"},
    "fine_tune_gap": 0.013,
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("COLUMNS", "200")
    return Settings(model=ModelSettings(url=str(tmp_path / "models")))


def publish(settings: Settings, *, is_promoted: bool = True, **changes: Any) -> str:
    fields = {
        "version": "",
        "created_ms": 1_700_000_000_000,
        "training": "retrain",
        "parts": {"encoder": {"name": "lightgcn", "origin": "springtide 0.1", "options": {}}},
        "settings": {},
        "graph_cut": {"num_interactions": 1_234},
        **changes,
    }
    store = ModelStore(settings.model.url)
    artifact = ModelArtifact(ModelManifest(**fields), {"items": np.ones(1, np.float32)}, {"user": [], "item": ["a"]})
    return store.publish(artifact, is_promoted, actor="ann@host", reason="because")


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Return what was printed, line by line, each as the columns that two spaces part."""
    return [
        [part.strip() for part in line.split("  ") if part.strip()] for line in capsys.readouterr().out.splitlines()
    ]


def test_the_list_shows_what_serves_and_what_the_gate_said(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(settings)
    publish(settings, is_promoted=False, training="fine_tune", gate=GATE)
    show_models(settings)
    _, rejected, serving = lines_of(capsys)
    when = "2023-11-14 22:13 UTC"
    assert rejected == [
        *("000002", when, "fine_tune", "1,234", "rejected", "0.3900", "tifu_knn 0.3950", "+0.0050 (000001)")
    ]
    assert serving == ["000001", "yes", when, "retrain", "1,234"]


def test_a_version_that_cannot_be_read_is_listed_with_the_reason_below(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        publish(settings)
    folder = Path(settings.model.url)
    (folder / "000001" / "manifest.json").write_text("{")
    path = folder / "000003" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "quantization": "int8"}))
    show_models(settings)
    _, newer, readable, broken, *reasons = lines_of(capsys)
    assert newer == ["000003", "yes", "unreadable"]
    assert readable[:2] == ["000002", "2023-11-14 22:13 UTC"]
    assert broken == ["000001", "unreadable"]
    assert [reason.split(":")[0] for (reason,) in reasons] == ["000003 is unreadable", "000001 is unreadable"]
    assert "unknown keys: quantization (written by a newer version of Springtide?)" in reasons[0][0]


def test_an_empty_registry_is_said_to_be_empty(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    show_models(settings)
    show_log(settings, 50)
    assert "no models yet in" in (printed := capsys.readouterr().out)
    assert "nothing was promoted yet in" in printed


def test_a_model_is_shown_with_gate_and_exponents(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    exponents = {"trend": {"7d": 0.5, "own:7d": 0.25}}
    version = publish(settings, gate=GATE, exponents=exponents, exponent_errors={"trend": {"7d": 0.012}})
    show_model(settings, version)
    lines = lines_of(capsys)
    for line in (
        ["version", "000001 (serves)"],
        ["encoder", "lightgcn (springtide 0.1)"],
        ["gate: rejected"],
        ["candidate", "1,000", "0.3900", "0.0500"],
        ["champion", "1,000", "0.3850", "0.0400", "+0.0050 (95 % -0.0010 to +0.0110)"],
        ["tifu_knn", "1,000", "0.3950", "0.0450", "-0.0050 (95 % -0.0120 to +0.0020)"],
        ["item_knn", "125", "0.2100", "+0.1900"],
        ["a baseline that was asked fewer was clearly behind, or ahead; its differences are of these alone"],
        ["slim was left out: too many items"],
        ["fine-tuned vectors were 1.3 % worse than retrained ones"],
        ["trend 7d", "0.500", "0.012"],
        ["trend own:7d", "0.250"],
    ):
        assert line in lines, line


def test_a_model_that_was_not_judged_is_shown_with_the_reason(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    show_model(settings, publish(settings, gate={"verdict": "not judged", "reason": "3 interactions to ask for"}))
    assert ["3 interactions to ask for"] in lines_of(capsys)


def test_what_is_done_by_hand_is_in_the_log_with_the_reason(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(settings)
    publish(settings, is_promoted=False)
    promote(settings, "000002", "ours is better")
    assert roll_back(settings, "it was not") == "000001"
    show_log(settings, 2)
    _, promoted, rolled_back = lines_of(capsys)
    assert promoted[2:] == ["promote", "000001", "000002", "ours is better"]
    assert rolled_back[2:] == ["roll_back", "000002", "000001", "it was not"]
    assert "@" in promoted[1]


def test_the_outcome_of_a_training_says_when_it_was_rejected(settings: Settings) -> None:
    assert outcome_of(settings, publish(settings)) == "000001 is published"
    assert outcome_of(settings, publish(settings, gate=GATE)) == (
        "000002 is published and rejected: behind tifu_knn; NDCG@20 0.3900 on 1,000 questions"
    )


def test_the_commands_are_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_MODEL__URL", settings.model.url)
    publish(settings)
    publish(settings)
    runner = CliRunner()
    for arguments, printed in (
        (["list"], "000002"),
        (["show", "000001"], "lightgcn"),
        (["rollback", "--reason", "worse"], "000001 is current"),
        (["promote", "000002"], "000002 is current"),
        (["log"], "worse"),
    ):
        done = runner.invoke(app, ["models", *arguments])
        assert (done.exit_code, printed in done.stdout) == (0, True), done.output
