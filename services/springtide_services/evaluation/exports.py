"""The report of an evaluation as JSON and as CSV."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from springtide_services.evaluation.cells import cells_of
from springtide_services.evaluation.report import Report


def to_json(reports: Sequence[Report]) -> str:
    """Return reports as JSON: ``{"dataset", "split", "rows": [{"model", "segment", "ndcg@20", ...}], ...}``.

    For several data sets or splits, it is a list of such objects. ``cells`` has a row for each peer of our models, on
    new and on all items: the paired difference with its interval. ``runs`` has a row for each seed and block of models
    with several; ``failed`` says why models could not be measured, by model; ``left_out`` says the same of baselines
    that cannot work here.
    """
    documents = [
        {
            "dataset": dataset,
            "split": report.split,
            "rows": list(rows(report, dataset)),
            "runs": list(_runs(report, dataset)),
            "cells": list(_cells(report, dataset)),
            "failed": report.failures(dataset),
            "left_out": dict(report.left_out or {}),
        }
        for report in reports
        for dataset in report.datasets
    ]
    return json.dumps(documents[0] if len(documents) == 1 else documents, indent=2)


def to_csv(reports: Sequence[Report]) -> str:
    """Return the rows of all data sets and splits as CSV, a column for each field that occurs."""
    all_rows = [
        {"dataset": dataset, "split": report.split, **row}
        for report in reports
        for dataset in report.datasets
        for row in rows(report, dataset)
    ]
    written = io.StringIO()
    columns = list(dict.fromkeys(column for row in all_rows for column in row))
    writer = csv.DictWriter(written, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(all_rows)
    return written.getvalue()


def rows(report: Report, dataset: str) -> Iterator[dict[str, Any]]:
    """Give a row for each model and segment."""
    segments = report.segments(dataset)
    best = {segment: report.best_baseline(dataset, segment) for segment in segments}
    for model in report.models:
        for segment in segments:
            figures = report.figures(dataset, model, segment)
            if figures is None:
                continue
            row: dict[str, Any] = {
                "model": model,
                "segment": segment,
                "ndcg@20": figures.ndcg,
                "recall@20": figures.recall,
                "users": figures.num_users,
                "fit_seconds": report.fit_seconds(dataset, model),
                "answers_per_second": report.answers_per_second(dataset, model),
                "live_share": report.live_share(dataset, model),
                "seeds": " ".join(str(seed) for seed in _seeds(report, dataset, model)),
                "ndcg@20_sd": figures.ndcg_sd,
                "ci_low": figures.low,
                "ci_high": figures.high,
                **{name: value for name, value in figures.metrics.items() if name not in ("ndcg@20", "recall@20")},
            }
            baseline = best[segment]
            if baseline is not None and model in report.ours:
                row["best_baseline"] = baseline
                comparison = report.compare(dataset, model, baseline, segment)
                if comparison is not None:
                    row |= {"difference": comparison.difference, "difference_low": comparison.low}
                    row |= {"difference_high": comparison.high, "p_value": comparison.p_value}
            yield row


def _cells(report: Report, dataset: str) -> Iterator[dict[str, Any]]:
    """Give a row for each of our models, segment and peer that can be compared."""
    for cell in cells_of([replace(report, datasets=[dataset])]):
        for peer, comparison in cell.peers.items():
            yield {
                "model": cell.model,
                "segment": cell.segment,
                "peer": peer,
                "difference": comparison.difference,
                "difference_low": comparison.low,
                "difference_high": comparison.high,
                "p_value": comparison.p_value,
                "is_ahead": comparison.is_better,
            }


def _seeds(report: Report, dataset: str, model: str) -> list[int]:
    return sorted({run.key.seed for run in report.results[dataset, model] if run.key.seed is not None})


def _runs(report: Report, dataset: str) -> Iterator[dict[str, Any]]:
    """Give a row for each run and segment of the models with several runs."""
    for model in report.models:
        results = report.results[dataset, model]
        for result in results if len(results) > 1 else ():
            if result.measurement is None:
                continue
            for segment, metrics in result.measurement.segments.items():
                yield {
                    "model": model,
                    "segment": segment,
                    "split": result.key.split,
                    "seed": result.key.seed,
                    "ndcg@20": metrics.ndcg,
                    "recall@20": metrics.recall,
                    "users": metrics.num_users,
                    "fit_seconds": result.measurement.fit_seconds,
                }
