"""The `evaluate` command: measures models and baselines, and prints, writes and draws the report."""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.console import Console

from springtide.errors import SettingsError, TrainingError
from springtide.evaluation.data import AttributeFile, Dataset, fetch
from springtide.evaluation.measures.mean_metrics import ALL, NEW, SEGMENTS
from springtide.evaluation.plan import ModelChoice, model_name, plan_baselines, plan_sections
from springtide.evaluation.protocols import FROZEN
from springtide.evaluation.results import Result, ResultsFile, RunKey
from springtide.evaluation.splits import COLD_START, PREQUENTIAL
from springtide.event_files import ReadOptions
from springtide.plugins.loading import load_checked_plugins
from springtide.settings.model import Settings
from springtide_services.evaluation.cell_tables import curves_table, side_by_side
from springtide_services.evaluation.exponent_tables import exponents_table
from springtide_services.evaluation.exports import to_csv, to_json
from springtide_services.evaluation.html_report import to_html
from springtide_services.evaluation.plots import check_matplotlib, draw_all
from springtide_services.evaluation.report import Report
from springtide_services.evaluation.runs import SplitOptions, plan_runs, run_all
from springtide_services.evaluation.sources import extended, source_of
from springtide_services.evaluation.tables import (
    metrics_table,
    segments_table,
    terminal_table,
    to_markdown,
    verdicts,
)
from springtide_services.terminal import console, progress


@dataclass(frozen=True, slots=True)
class Output:
    """How the report is printed, and where it is written.

    Attributes:
        as_markdown: Whether to print Markdown tables in place of those for the terminal; several splits stand side by
            side in one.
        has_segments: Whether to print the finer segments too.
        has_metrics: Whether to print the other metrics too.
        has_exponents: Whether to print the models' exponents with their errors too.
        json_path: File for the rows as JSON; None for none.
        csv_path: File for the rows as CSV; None for none.
        plots_folder: Folder for plots; None for none.
        html_path: File for the report as one page; None for none.
    """

    as_markdown: bool = False
    has_segments: bool = False
    has_metrics: bool = False
    json_path: Path | None = None
    csv_path: Path | None = None
    plots_folder: Path | None = None
    html_path: Path | None = None
    has_exponents: bool = False


_DEFAULT_SPLIT, _DEFAULT_OUTPUT, _AS_IT_IS = SplitOptions(), Output(), ReadOptions()


def evaluate_and_show(
    datasets: Sequence[str],
    settings: Settings,
    choice: ModelChoice,
    results_path: Path,
    *,
    split: SplitOptions = _DEFAULT_SPLIT,
    seeds: Sequence[int] = (),
    options: ReadOptions = _AS_IT_IS,
    is_fresh: bool = False,
    output: Output = _DEFAULT_OUTPUT,
    attributes: Sequence[AttributeFile] = (),
    is_by_rules: bool = False,
    fetch_dataset: Callable[[str], Dataset] = fetch,
) -> None:
    """Measure models and baselines, and show the report; runs in the results file are not measured again.

    Args:
        datasets: Names of public data sets or paths of files, each once.
        settings: Settings of the model: parts, steps and rates.
        choice: Which models and baselines to measure.
        results_path: The results file.
        split: How the data sets are split.
        seeds: Seeds of each model; that of the settings if empty.
        options: How files are read.
        is_fresh: Whether to measure everything again.
        output: How the report is printed and written.
        attributes: Files with attributes of items and users; they belong to the one data set.
        is_by_rules: Whether ``[interactions]`` says which interactions are positive, and how much each counts; else all
            are positive and count alike.
        fetch_dataset: Returns a public data set by its name.

    Raises:
        DatasetError: If a data set cannot be fetched or read.
        UnknownPartError: If no plugin offers a named part.
        SettingsError: If the settings' parts cannot work, or a file cannot be read or written.
        TrainingError: If no model could be measured.
    """
    _check_output(output)
    plugins = load_checked_plugins(settings)
    sections = plan_sections(settings, plugins, choice)
    baselines, left_out = plan_baselines(plugins, choice)
    models = {model_name(model): model for section in sections for model in section.models.values()}
    if attributes and len(datasets) > 1:
        raise SettingsError(f"--items and --users: wanted one data set, to which they belong, got {len(datasets)}")
    kinds = settings.attributes
    files = [replace(file, kinds=kinds.get(file.node_type, {}), encoding=options.encoding) for file in attributes]
    rules = settings.interaction_rules() if is_by_rules else None
    sources = [extended(source_of(name, options, fetch_dataset), files, rules) for name in datasets]
    seeds = list(dict.fromkeys(seeds)) or [settings.training.seed]
    runs = {source: plan_runs(source, models.values(), baselines, seeds, split, plugins) for source in sources}
    results = ResultsFile(results_path)
    if is_fresh:
        results.forget({run.key for source_runs in runs.values() for run in source_runs})
    with progress(console(stderr=True)) as bars:
        _print_left_out(left_out, bars.console)
        by_key = run_all(runs, results, split, settings, plugins, bars)
    arrays = functools.cache(results.arrays)  # A model is compared with every peer.
    reports = [
        Report(
            [source.name for source in sources],
            sections,
            [baseline.name for baseline in baselines],
            _by_model(by_key, split.cuts_of(name)),
            arrays,
            left_out,
            name,
            {model: [f"{model}{FROZEN}"] for model in models} if name == PREQUENTIAL else {},
        )
        for name in split.splits
    ]
    _write(reports, output)
    _print(reports, output)
    _check_measured(reports, models.keys() or reports[0].models)


def _check_output(output: Output) -> None:
    """Check that the report can be written, before the minutes that measuring takes.

    Raises:
        SettingsError: If matplotlib or the folder of a file is missing.
    """
    if output.plots_folder is not None or output.html_path is not None:
        check_matplotlib()
    for path in (output.json_path, output.csv_path, output.html_path):
        if path is not None and not path.parent.is_dir():
            raise SettingsError(f"{path} cannot be written: there is no folder {path.parent}")


def _print_left_out(left_out: Mapping[str, str], on: Console) -> None:
    for name, reason in left_out.items():
        on.print(f"{name} is left out: {reason}", markup=False)


def _check_measured(reports: Sequence[Report], models: Iterable[str]) -> None:
    """Check that at least one of the models was measured on at least one data set, in one of the splits.

    Raises:
        TrainingError: If none was.
    """
    failures = [report.failures(dataset) for report in reports for dataset in report.datasets]
    if all(reasons.keys() >= set(models) for reasons in failures):
        reasons = {reason for by_model in failures for reason in by_model.values()}
        why = f": {reasons.pop()}" if len(reasons) == 1 else ""
        raise TrainingError(f"not one model could be measured{why}")


def _by_model(results: Mapping[RunKey, Result], cuts: Collection[str]) -> dict[tuple[str, str], list[Result]]:
    """Return the results of all seeds and of the blocks of one split, by data set and model."""
    by_model: dict[tuple[str, str], list[Result]] = {}
    for key, result in results.items():
        if key.split in cuts:
            by_model.setdefault((key.dataset, key.model), []).append(result)
    return by_model


def _print(reports: Sequence[Report], output: Output) -> None:
    if output.as_markdown:
        typer.echo(_as_markdown(reports))
        return
    for report in reports:
        if len(reports) > 1:
            console().rule(report.split, align="left")
        for dataset in report.datasets:
            _print_dataset(report, dataset, output)


def _as_markdown(reports: Sequence[Report]) -> str:
    """Return all tables; a cold start has curves of its own, since its users are others."""
    cuts = [report for report in reports if report.split != COLD_START]
    curves = [curves_table(report) for report in reports if report.split == COLD_START]
    tables = [] if not cuts else [to_markdown(cuts[0]) if len(cuts) == 1 else side_by_side(cuts)]
    return "\n\n".join([*tables, *curves])


def _print_dataset(report: Report, dataset: str, output: Output) -> None:
    on = console()
    on.print(terminal_table(report, dataset))
    for line in verdicts(report, dataset):
        on.print(line, markup=False)
    if output.has_metrics:
        for segment in (NEW, ALL):
            on.print()
            on.print(metrics_table(report, dataset, segment))
    if output.has_segments or report.split == COLD_START:
        for segment in SEGMENTS:
            table = segments_table(report, dataset, segment)
            if len(table.columns) > 1:
                on.print()
                on.print(table)
    for model in report.ours if output.has_exponents else ():
        exponents = exponents_table(report, dataset, model)
        if exponents is not None:
            on.print()
            on.print(exponents)
    models_of: dict[str, list[str]] = {}
    for model, reason in report.failures(dataset).items():
        models_of.setdefault(reason, []).append(model)
    for reason, models in models_of.items():
        on.print(f"{', '.join(models)} failed: {reason}", markup=False, soft_wrap=True)


def _write(reports: Sequence[Report], output: Output) -> None:
    try:
        if output.json_path is not None:
            output.json_path.write_text(to_json(reports) + "\n", encoding="utf-8")
        if output.csv_path is not None:
            output.csv_path.write_text(to_csv(reports), encoding="utf-8")
        if output.html_path is not None:
            output.html_path.write_text(to_html(reports), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"the report cannot be written: {error}") from error
    if output.plots_folder is not None:
        for report in reports:
            for path in draw_all(report, output.plots_folder):
                console(stderr=True).print(f"drawn: {path}", markup=False)
