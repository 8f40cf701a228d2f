"""`springtide evaluate`: the model beside baselines, as a table and as JSON."""

import json
from pathlib import Path

from rich.table import Table

from springtide.config import Settings
from springtide.evaluation.datasets import fetch
from springtide.evaluation.protocol import K, Row, evaluate
from springtide.plugins.loading import load_plugins
from springtide.training.loop import Progress
from springtide_services.terminal import StageBars, console, progress


def evaluate_and_show(dataset_name: str, settings: Settings, json_path: Path | None) -> None:
    """Measure on a data set, print the table, and write the rows if a path is given."""
    plugins = load_plugins(settings.plugins)
    rows: list[Row] = []
    with progress(console(stderr=True)) as bars:
        stages = StageBars(bars, "evaluate")
        stages.show(f"read {dataset_name}")
        dataset = fetch(dataset_name)

        def show(at: Progress) -> None:
            stages.show(at.stage, at.done, at.total, at.loss)

        for of_model in evaluate(dataset, settings, plugins, show):
            rows += of_model
        stages.finish()
    console().print(_table(dataset_name, rows))
    if json_path is not None:
        json_path.write_text(json.dumps({"dataset": dataset_name, "rows": [as_json(row) for row in rows]}, indent=2))


def as_json(row: Row) -> dict[str, str | float | int]:
    """Return a row as it is written."""
    return {
        "model": row.model,
        "segment": row.segment,
        f"ndcg@{K}": row.ndcg,
        f"recall@{K}": row.recall,
        "users": row.num_users,
        "fit_seconds": row.fit_seconds,
    }


def _table(dataset_name: str, rows: list[Row]) -> Table:
    table = Table(title=f"{dataset_name}, global time split", box=None, pad_edge=False, title_justify="left")
    table.add_column("model")
    for heading in ("segment", f"NDCG@{K}", f"Recall@{K}", "users", "fit, s"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.model,
            row.segment,
            f"{row.ndcg:.4f}",
            f"{row.recall:.4f}",
            f"{row.num_users:,}",
            f"{row.fit_seconds:.1f}",
        )
    return table
