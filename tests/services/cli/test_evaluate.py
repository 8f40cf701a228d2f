"""The command line of `evaluate`: what it passes on, and what it refuses."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from springtide.evaluation.data import DATASETS, AttributeFile
from springtide.evaluation.plan import ModelChoice
from springtide.evaluation.splits import SPLITS
from springtide.event_files import ReadOptions
from springtide.settings.model import Settings
from springtide_services.cli.app import app
from springtide_services.cli.evaluate import SplitName
from springtide_services.cli.options import DatasetName
from springtide_services.evaluation import evaluate as evaluate_module
from springtide_services.evaluation.evaluate import Output
from springtide_services.evaluation.runs import SplitOptions


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the command line hands on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPRINGTIDE_SETTINGS", raising=False)
    found: dict[str, Any] = {}

    def record(datasets: list[str], settings: Settings, choice: ModelChoice, results_path: Path, **others: Any) -> None:
        found.update(datasets=datasets, choice=choice, results_path=results_path, **others)

    monkeypatch.setattr(evaluate_module, "evaluate_and_show", record)
    return found


def test_command_without_arguments_measures_the_default_on_all_data_sets(called: dict[str, Any]) -> None:
    assert CliRunner().invoke(app, ["evaluate"]).exit_code == 0

    assert called == {
        "datasets": ["complete-journey", "movielens-100k", "nyc-flights", "tafeng"],
        "choice": ModelChoice(),
        "results_path": Path("springtide-state/evaluation.jsonl"),
        "split": SplitOptions(),
        "seeds": (),
        "options": ReadOptions(),
        "attributes": [],
        "is_by_rules": False,
        "is_fresh": False,
        "output": Output(),
    }


def test_command_hands_on_every_option(called: dict[str, Any]) -> None:
    line = (
        "evaluate movielens-100k movielens-100k clicks.csv --encoder gat --encoder gcn --aggregator max --loss bce "
        "--all-losses --all-encoders --models default,cosine --all-baselines --seed 7 --seed 8 --split prequential "
        "--days 9 --questions 50 --keep-cold --columns user=visitorid --time-unit ms --encoding latin-1 "
        "--results r.jsonl --fresh --segments --metrics --markdown --json rows.json --csv rows.csv --plots pictures "
        "--items goods.csv --item-id sku --users people.parquet --separator ; --by-rules --type rating --exponents"
    )

    done = CliRunner().invoke(app, line.split())

    assert done.exit_code == 0, done.output
    assert called == {
        "datasets": ["movielens-100k", "clicks.csv"],
        "choice": ModelChoice(
            ["gat", "gcn"],
            ["max"],
            ["bce"],
            has_all_encoders=True,
            has_all_losses=True,
            models=["default", "cosine"],
            has_all_baselines=True,
        ),
        "results_path": Path("r.jsonl"),
        "split": SplitOptions(("prequential",), is_cold_kept=True, num_days=9, num_questions=50),
        "seeds": [7, 8],
        "options": ReadOptions({"user": "visitorid"}, "ms", "latin-1", "rating"),
        "attributes": [
            AttributeFile(Path("goods.csv"), "item", "sku", ";"),
            AttributeFile(Path("people.parquet"), "user", "", ";"),
        ],
        "is_by_rules": True,
        "is_fresh": True,
        "output": Output(
            as_markdown=True,
            has_segments=True,
            has_metrics=True,
            json_path=Path("rows.json"),
            csv_path=Path("rows.csv"),
            plots_folder=Path("pictures"),
            has_exponents=True,
        ),
    }


def test_command_offers_all_public_data_sets_and_splits() -> None:
    assert {name.value for name in DatasetName} == DATASETS.keys()
    assert tuple(name.value for name in SplitName) == SPLITS


def test_command_refuses_an_unknown_part_in_one_line(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("springtide"), "evaluate", "movielens-100k", "--loss", "luck"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("springtide: no loss named 'luck' (choices: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
