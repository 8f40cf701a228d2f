"""The `evaluate` command on a small data set: it measures, keeps, goes on, and outlives a part that fails."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from springtide.config import Settings
from springtide.errors import TrainingError, UnknownPartError
from springtide.evaluation.baselines import BASELINES
from springtide.evaluation.datasets import Dataset
from springtide.evaluation.plan import Choice
from springtide.evaluation.protocol import Protocol
from springtide.evaluation.questions import Measurement
from springtide.testing import even_odd_events, interactions_of, quick_settings
from springtide_services import evaluate as evaluate_module
from springtide_services.cli import app
from springtide_services.evaluate import evaluate_and_show

FAILING_PARTS = '''"""Losses that cannot work."""

from springtide.errors import TrainingError
from springtide.plugins.contracts import Loss
from springtide.plugins.hookspecs import hookimpl


class Refusing(Loss):
    """Refuses."""

    def forward(self, inputs):
        raise TrainingError("wanted ratings, got none")


class Broken(Loss):
    """Breaks."""

    def forward(self, inputs):
        return {}["nothing"]


@hookimpl
def register_losses(register):
    register("refusing", Refusing)
    register("broken", Broken)
'''
MODEL = "springtide (lightgcn, sum, cce)"
SAGE = "springtide (graphsage, sum, cce)"
TWO = Choice(encoders=["lightgcn", "graphsage"], aggregators=["sum"])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset("films", interactions_of(even_odd_events(24)), [])


@pytest.fixture
def settings() -> Settings:
    return quick_settings(training={"steps": 2, "fine_tune_steps": 1})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is measured, in order: ``encoder loss``, or a baseline's name."""
    measured: list[str] = []
    measure_model, measure_baseline = Protocol.measure_model, Protocol.measure_baseline

    def of_model(protocol: Protocol, settings: Settings) -> Measurement:
        measured.append(f"{settings.model.encoder.name} {settings.model.loss.name}")
        return measure_model(protocol, settings)

    def of_baseline(protocol: Protocol, name: str) -> Measurement:
        measured.append(name)
        return measure_baseline(protocol, name)

    monkeypatch.setattr(Protocol, "measure_model", of_model)
    monkeypatch.setattr(Protocol, "measure_baseline", of_baseline)
    return measured


Show = Callable[..., dict[str, Any]]


@pytest.fixture
def show(tmp_path: Path, dataset: Dataset, settings: Settings) -> Show:
    """Evaluate ``films``, and return what was written as JSON."""

    def run(choice: Choice = TWO, settings: Settings = settings, **others: Any) -> dict[str, Any]:
        others = {"fetch_dataset": lambda name: dataset, "json_path": tmp_path / "rows.json", **others}
        evaluate_and_show(["films"], settings, choice, tmp_path / "results.jsonl", **others)
        written: dict[str, Any] = json.loads((tmp_path / "rows.json").read_text())
        return written

    return run


def test_each_model_has_a_line_and_the_same_rows_are_written(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    written = show()

    assert written["dataset"] == "films"
    assert written["failed"] == {}
    models = list(dict.fromkeys(row["model"] for row in written["rows"]))
    assert models == [*BASELINES, MODEL, SAGE]
    assert set(written["rows"][0]) == {"model", "segment", "ndcg@20", "recall@20", "users", "fit_seconds"}
    printed = capsys.readouterr()
    lines = {line.partition("  ")[0]: line for line in printed.out.splitlines()}
    for row in written["rows"]:
        assert f"{row['ndcg@20']:.4f}" in lines[row["model"]]
    assert "Runs" in printed.err
    assert "5/5" in printed.err
    assert f"films: {SAGE}: NDCG@20 " in printed.err


def test_second_run_measures_nothing_and_fetches_nothing(show: Show, trained: list[str]) -> None:
    first = show()
    trained.clear()

    def fetch_dataset(name: str) -> Dataset:
        raise AssertionError(f"{name} is fetched")

    assert show(fetch_dataset=fetch_dataset) == first
    assert trained == []


def test_another_seed_is_another_run_but_baselines_have_none(
    show: Show, settings: Settings, trained: list[str]
) -> None:
    show(Choice())
    trained.clear()

    show(Choice(), settings=settings.model_copy(update={"training": settings.training.model_copy(update={"seed": 1})}))

    assert trained == ["lightgcn cce"]


def test_interrupted_run_goes_on_where_it_was(
    show: Show, trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = Protocol.measure_model

    def measure_until_interrupted(protocol: Protocol, settings: Settings) -> Measurement:
        if settings.model.encoder.name == "graphsage":
            raise KeyboardInterrupt
        return measure(protocol, settings)

    with monkeypatch.context() as patch:
        patch.setattr(Protocol, "measure_model", measure_until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            show()
    assert "4 of 5 runs are kept in" in capsys.readouterr().err
    assert trained == [*BASELINES, "lightgcn cce"]
    trained.clear()

    show()

    assert trained == ["graphsage cce"]
    assert "4 of 5 runs are in" in capsys.readouterr().err


def test_torn_line_is_measured_again(show: Show, trained: list[str], tmp_path: Path) -> None:
    first = show()
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    trained.clear()

    second = show()

    assert trained == ["graphsage cce"]
    assert len(path.read_text().splitlines()) == 5
    assert second["rows"][-1]["ndcg@20"] == first["rows"][-1]["ndcg@20"]


def test_fresh_measures_again_what_is_asked_for_and_keeps_the_rest(show: Show, trained: list[str]) -> None:
    show()
    trained.clear()

    show(Choice(), is_fresh=True)
    assert trained == [*BASELINES, "lightgcn cce"]
    trained.clear()

    show()
    assert trained == []


def test_part_that_fails_has_a_reason_and_the_others_are_measured(
    show: Show, settings: Settings, trained: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "failing.py").write_text(FAILING_PARTS)
    failing = settings.model_copy(
        update={"plugins": settings.plugins.model_copy(update={"folder": str(tmp_path / "parts")})}
    )

    choice = Choice(losses=["broken", "refusing", "cce"])
    written = show(choice, settings=failing)

    assert written["failed"] == {
        "springtide (lightgcn, sum, broken)": "KeyError: 'nothing'",
        "springtide (lightgcn, sum, refusing)": "wanted ratings, got none",
    }
    assert [row["model"] for row in written["rows"][-2:]] == [MODEL, MODEL]
    printed = capsys.readouterr()
    assert "springtide (lightgcn, sum, refusing) failed: wanted ratings, got none" in printed.out
    assert 'return {}["nothing"]' in printed.err  # Where a part broke is for its author to see.

    trained.clear()
    show(choice, settings=failing, as_markdown=True)
    assert trained == ["lightgcn broken", "lightgcn refusing"]
    assert "- refusing on films: wanted ratings, got none" in capsys.readouterr().out


def test_nothing_measured_is_an_error(show: Show, settings: Settings) -> None:
    starved = settings.model_copy(
        update={"training": settings.training.model_copy(update={"min_interactions": 1_000_000})}
    )

    with pytest.raises(TrainingError, match="not one model could be measured"):
        show(Choice(), settings=starved)


def test_unknown_part_is_refused_before_anything_is_fetched(show: Show) -> None:
    def fetch_dataset(name: str) -> Dataset:
        raise AssertionError(f"{name} is fetched")

    with pytest.raises(UnknownPartError, match="no encoder named 'gnat'"):
        show(Choice(encoders=["lightgcn", "gnat"]), fetch_dataset=fetch_dataset)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the command line hands on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPRINGTIDE_SETTINGS", raising=False)
    found: dict[str, Any] = {}

    def record(datasets: list[str], settings: Settings, choice: Choice, results_path: Path, **others: Any) -> None:
        found.update(datasets=datasets, seed=settings.training.seed, choice=choice, results_path=results_path, **others)

    monkeypatch.setattr(evaluate_module, "evaluate_and_show", record)
    return found


def test_command_without_arguments_measures_the_default_on_all_data_sets(called: dict[str, Any]) -> None:
    assert CliRunner().invoke(app, ["evaluate"]).exit_code == 0

    assert called == {
        "datasets": ["complete-journey", "movielens-100k"],
        "seed": Settings().training.seed,
        "choice": Choice(),
        "results_path": Path("springtide-state/evaluation.jsonl"),
        "is_fresh": False,
        "as_markdown": False,
        "json_path": None,
    }


def test_command_hands_on_every_option(called: dict[str, Any]) -> None:
    line = (
        "evaluate movielens-100k movielens-100k --encoder gat --encoder gcn --aggregator max --loss bce --all-losses "
        "--all-encoders --seed 7 --results r.jsonl --fresh --markdown --json rows.json"
    )

    assert CliRunner().invoke(app, line.split()).exit_code == 0

    assert called == {
        "datasets": ["movielens-100k"],
        "seed": 7,
        "choice": Choice(["gat", "gcn"], ["max"], ["bce"], has_all_encoders=True, has_all_losses=True),
        "results_path": Path("r.jsonl"),
        "is_fresh": True,
        "as_markdown": True,
        "json_path": Path("rows.json"),
    }


def test_command_refuses_an_unknown_part_in_one_line(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("springtide"), "evaluate", "movielens-100k", "--loss", "luck"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("springtide: no loss named 'luck' (choices: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
