"""The `evaluate` command: a table of models on a public data set, and the same as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from springtide.config import Settings
from springtide.evaluation.datasets import fetch
from springtide.evaluation.protocol import Row, evaluate
from springtide.plugins.loading import load_plugins
from springtide_services.terminal import StageBars, console, progress

_SEGMENTS = ("new", "all")


def evaluate_and_show(name: str, settings: Settings, json_path: Path | None = None) -> None:
    """Evaluate the model of the settings beside baselines, and print a line for each.

    Args:
        name: The data set's.
        settings: Parts, steps and rates of the model.
        json_path: Where the rows are also written, if anywhere.

    Raises:
        DatasetError: If the data set cannot be fetched.
        UnknownPartError: If the settings name a part that no plugin offers.
    """
    rows: list[Row] = []
    plugins = load_plugins(settings.plugins)
    with progress(console(stderr=True)) as bars:
        stages = StageBars(bars)
        stages.show("fetch the data")
        dataset = fetch(name)
        for found in evaluate(
            dataset,
            settings,
            plugins,
            lambda now: stages.show(now.stage, now.done, now.total, now.loss),
        ):
            rows += found
        stages.finish()
    console().print(_table(rows))
    if json_path is not None:
        json_path.write_text(to_json(name, rows) + "\n", encoding="utf-8")


def to_json(name: str, rows: Sequence[Row]) -> str:
    """Return the rows as JSON: ``{"dataset", "rows": [{"model", "segment", "ndcg@20", ...}]}``."""
    return json.dumps(
        {
            "dataset": name,
            "rows": [
                {
                    "model": row.model,
                    "segment": row.segment,
                    "ndcg@20": row.ndcg,
                    "recall@20": row.recall,
                    "users": row.num_users,
                    "fit_seconds": row.fit_seconds,
                }
                for row in rows
            ],
        },
        indent=2,
    )


def _table(rows: Sequence[Row]) -> Table:
    """Return a line for each model, with both segments side by side."""
    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    for heading in ("new: NDCG@20", "Recall@20", "users", "all: NDCG@20", "Recall@20", "users", "fit"):
        table.add_column(heading, justify="right")
    by_name = {(row.model, row.segment): row for row in rows}
    for model in dict.fromkeys(row.model for row in rows):
        segments = [by_name[model, segment] for segment in _SEGMENTS]
        cells = [cell for row in segments for cell in (f"{row.ndcg:.4f}", f"{row.recall:.4f}", f"{row.num_users:,}")]
        table.add_row(model, *cells, f"{segments[0].fit_seconds:.0f} s")
    return table
