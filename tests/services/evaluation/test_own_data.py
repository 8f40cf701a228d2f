"""The command on a file of one's own: ratings, circumstances and attributes."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from springtide_services.cli.app import app

SETTINGS = """
[training]
steps = 5
fine_tune_steps = 2
min_interactions = 1
[model]
width = 8
[ranking.context_weights]
popularity = {}
weather = {}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    generator = np.random.default_rng(2)
    rows = ["user,item,time,rating,context.weather,context.mood,shelf"]
    for step in range(1_500):
        weather = ("rain", "sun")[step % 2]
        item = f"{weather}{generator.integers(8)}"
        rating = generator.integers(1, 6)
        rows.append(f"u{generator.integers(20)},{item},{1_600_000_000 + step * 3_600},{rating},{weather},good,3")
    (tmp_path / "events.csv").write_text("\n".join(rows))
    items = [f"{weather}{number}" for weather in ("rain", "sun") for number in range(8)]
    lines = [f"{item},{item[:3]},{price}" for price, item in enumerate(items)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,kind,price", *lines]))
    (tmp_path / "quick.toml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, line: str) -> tuple[str, list[dict[str, object]]]:
    command = f"evaluate events.csv --models default,popularity --settings quick.toml --json rows.json {line}"
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    return done.output, json.loads((folder / "rows.json").read_text())["rows"]


@pytest.mark.parametrize("split", ["global", "prequential"])
def test_ratings_circumstances_and_attributes_of_a_file_are_measured(folder: Path, split: str) -> None:
    output, rows = run(
        folder, f"--type rating --by-rules --items items.csv --exponents --split {split} --questions 100"
    )
    words = " ".join(output.split())
    assert "16 of 16 items have attributes (categories: kind; numbers: price)" in words
    assert "are positive by [interactions]" in words
    assert "circumstances that no context weight looks at: mood" in words
    assert "columns that are not read: shelf" in words
    assert "exponents of springtide" in words
    assert "weather: weather" in words or "weather" in [line.split()[0] for line in output.splitlines() if line.split()]
    assert {row["segment"] for row in rows} >= {"new", "all"}


def test_file_of_attributes_belongs_to_one_data_set(folder: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "events.csv", "tafeng", "--items", "items.csv"])
    assert done.exit_code != 0
    assert "wanted one data set, to which they belong, got 2" in str(done.exception) + done.output
