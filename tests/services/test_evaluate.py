import json
from pathlib import Path

import pytest

from springtide.config import Settings, TrainingSettings
from springtide_services.evaluate import evaluate_and_show


def test_evaluate_prints_a_line_for_each_model_and_writes_the_same_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(training=TrainingSettings(steps=2, fine_tune_steps=1, min_passes=0.0))

    evaluate_and_show("movielens-100k", settings, tmp_path / "rows.json")

    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["dataset"] == "movielens-100k"
    models = list(dict.fromkeys(row["model"] for row in written["rows"]))
    assert models[0] == "popularity"
    assert models[-1].startswith("springtide (lightgcn")
    assert {row["segment"] for row in written["rows"]} == {"new", "all"}
    assert set(written["rows"][0]) == {"model", "segment", "ndcg@20", "recall@20", "users", "fit_seconds"}
    printed = capsys.readouterr().out
    assert all(model in printed for model in models)
    assert f"{written['rows'][0]['ndcg@20']:.4f}" in printed
