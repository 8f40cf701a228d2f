"""What an evaluation found: as tables for the terminal and for a README, and as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from springtide.evaluation.baselines import BASELINES
from springtide.evaluation.datasets import title_of
from springtide.evaluation.plan import Section, model_name
from springtide.evaluation.questions import Measurement
from springtide.evaluation.results import Result

_MISSING = "–"


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked for and what was found.

    Attributes:
        datasets: Names, in the order they were asked for.
        sections: The models, by table.
        results: By data set and model, the baselines' included.
    """

    datasets: Sequence[str]
    sections: Sequence[Section]
    results: Mapping[tuple[str, str], Result]

    @property
    def models(self) -> list[str]:
        """Names of the baselines and of all models, each once."""
        of_sections = [model_name(settings) for section in self.sections for settings in section.models.values()]
        return list(dict.fromkeys([*BASELINES, *of_sections]))

    def failures(self, dataset: str) -> dict[str, str]:
        """Return why models have no figures, by name."""
        found = {model: self.results[dataset, model] for model in self.models}
        return {model: result.failure for model, result in found.items() if result.measurement is None}


def terminal_table(report: Report, dataset: str) -> Table:
    """Return a line for each model on one data set, with both segments side by side."""
    table = Table(box=None, pad_edge=False, title=title_of(dataset), title_justify="left")
    table.add_column("model")
    for heading in ("new: NDCG@20", "Recall@20", "users", "all: NDCG@20", "Recall@20", "users", "fit"):
        table.add_column(heading, justify="right")
    for model in report.models:
        measurement = report.results[dataset, model].measurement
        if measurement is None:
            table.add_row(model, *[_MISSING] * 7)
            continue
        cells = []
        for metrics in (measurement.new, measurement.all):
            cells += [f"{metrics.ndcg:.4f}", f"{metrics.recall:.4f}", f"{metrics.num_users:,}"]
        table.add_row(model, *cells, _seconds(measurement))
    return table


def to_json(report: Report) -> str:
    """Return the rows as JSON: ``{"dataset", "rows": [{"model", "segment", "ndcg@20", ...}]}``, a list if several.

    What could not be measured stands under ``failed``, by model.
    """
    documents = [
        {
            "dataset": dataset,
            "rows": [row for model in report.models for row in _json_rows(report.results[dataset, model])],
            "failed": report.failures(dataset),
        }
        for dataset in report.datasets
    ]
    return json.dumps(documents[0] if len(documents) == 1 else documents, indent=2)


def to_markdown(report: Report) -> str:
    """Return a table for each section, data sets side by side, with a caption; the first has the baselines, too."""
    blocks = []
    for number, section in enumerate(report.sections):
        models = {name: model_name(settings) for name, settings in section.models.items()}
        if number == 0:
            models = {name: name for name in BASELINES} | models
        blocks.append("\n".join(_markdown_lines(report, section, models)))
        blocks.append(_caption(report, section, models))
        if reasons := list(_reasons(report, models)):
            blocks.append("\n".join(reasons))
    return "\n\n".join(blocks)


def _json_rows(result: Result) -> Iterator[dict[str, Any]]:
    if result.measurement is None:
        return
    for segment, metrics in (("new", result.measurement.new), ("all", result.measurement.all)):
        yield {
            "model": result.key.model,
            "segment": segment,
            "ndcg@20": metrics.ndcg,
            "recall@20": metrics.recall,
            "users": metrics.num_users,
            "fit_seconds": result.measurement.fit_seconds,
        }


def _markdown_lines(report: Report, section: Section, models: Mapping[str, str]) -> Iterator[str]:
    headings = [section.varied]
    for dataset in report.datasets:
        headings += [f"{title_of(dataset)}: new NDCG@20", "all NDCG@20", "fit"]
    yield _markdown_row(headings)
    yield _markdown_row([":--"] + ["--:"] * (len(headings) - 1))
    for name, model in models.items():
        cells = [name]
        for dataset in report.datasets:
            measurement = report.results[dataset, model].measurement
            if measurement is None:
                cells += [_MISSING] * 3
            else:
                cells += [f"{measurement.new.ndcg:.4f}", f"{measurement.all.ndcg:.4f}", _seconds(measurement)]
        yield _markdown_row(cells)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _caption(report: Report, section: Section, models: Mapping[str, str]) -> str:
    results = [report.results[dataset, model] for dataset in report.datasets for model in models.values()]
    seed = next(iter(section.models.values())).training.seed
    sentences = [f"All with {section.same}, seed {seed}" if section.same else f"Seed {seed}"]
    for dataset in report.datasets:
        of_dataset = (report.results[dataset, model].measurement for model in models.values())
        measurement = next((found for found in of_dataset if found is not None), None)
        if measurement is not None:
            new, everything = measurement.new.num_users, measurement.all.num_users
            sentences.append(f"{title_of(dataset)}: {new:,} users asked for new items, {everything:,} for all")
    days = [result.measured_on for result in results]
    span = " to ".join(dict.fromkeys([min(days).isoformat(), max(days).isoformat()]))
    sentences.append(f"Measured {span} with Springtide {results[0].key.version}")
    return "".join(f"{sentence}. " for sentence in sentences).rstrip()


def _reasons(report: Report, models: Mapping[str, str]) -> Iterator[str]:
    for dataset in report.datasets:
        failures = report.failures(dataset)
        for name, model in models.items():
            if model in failures:
                yield f"- {name} on {title_of(dataset)}: {' '.join(failures[model].split())}"


def _seconds(measurement: Measurement) -> str:
    return f"{measurement.fit_seconds:.0f} s"
