"""The `evaluate` command: models measured beside baselines, and what was found in tables, files and pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from springtide.errors import SettingsError, TrainingError
from springtide.evaluation.data.datasets import Dataset, fetch
from springtide.evaluation.measures.measurement import ALL, NEW, SEGMENTS
from springtide.evaluation.plan import Choice, model_name, plan_baselines, plan_sections
from springtide.evaluation.protocols.prequential import FROZEN
from springtide.evaluation.results import Result, ResultsFile
from springtide.evaluation.splits.cuts import PREQUENTIAL
from springtide.plugins.loading import load_checked_plugins
from springtide.settings.model import Settings
from springtide_services.evaluation.files import to_csv, to_json
from springtide_services.evaluation.report import Report
from springtide_services.evaluation.runs import EvaluationScope, plan_runs, run_all
from springtide_services.evaluation.sources import source_of
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
    """Where what was found goes.

    Attributes:
        as_markdown: Whether to print tables for a README, in place of those for people.
        has_segments: Whether to print the finer segments, too.
        has_metrics: Whether to print the other metrics, too.
        json_path: Where the rows are written as JSON, if anywhere.
        csv_path: Where they are written as CSV, if anywhere.
        plots_folder: Where pictures go, if anywhere.
    """

    as_markdown: bool = False
    has_segments: bool = False
    has_metrics: bool = False
    json_path: Path | None = None
    csv_path: Path | None = None
    plots_folder: Path | None = None


_AS_USUAL, _FOR_PEOPLE = EvaluationScope(), Output()


def evaluate_and_show(
    datasets: Sequence[str],
    settings: Settings,
    choice: Choice,
    results_path: Path,
    *,
    asked: EvaluationScope = _AS_USUAL,
    seeds: Sequence[int] = (),
    columns: Mapping[str, str] | None = None,
    is_fresh: bool = False,
    output: Output = _FOR_PEOPLE,
    fetch_dataset: Callable[[str], Dataset] = fetch,
) -> None:
    """Measure models beside baselines, and print a line for each; what was measured before is not measured again.

    Args:
        datasets: Names of data sets or paths of files, each once.
        settings: Parts, steps and rates.
        choice: Which models to measure.
        results_path: Where results are kept.
        asked: How it is measured.
        seeds: Each model is measured with each of them; with that of the settings if there are none.
        columns: Of files, the column of each role; those with usual names need not be named.
        is_fresh: Whether to measure all again.
        output: Where what was found goes.
        fetch_dataset: Gives a data set by its name.

    Raises:
        DatasetError: If a data set cannot be fetched or read.
        UnknownPartError: If a part is named that no plugin offers.
        SettingsError: If the settings' own parts cannot work, or a file cannot be written or holds something else.
        TrainingError: If not one model could be measured.
    """
    if output.plots_folder is not None:
        from springtide_services.evaluation.plots import check_matplotlib

        check_matplotlib()  # Before the minutes that the measuring takes.
    plugins = load_checked_plugins(settings)
    sections = plan_sections(settings, plugins, choice)
    baselines, left_out = plan_baselines(plugins, choice)
    models = {model_name(of): of for section in sections for of in section.models.values()}
    sources = [source_of(named, columns, fetch_dataset) for named in datasets]
    of_seeds = list(dict.fromkeys(seeds)) or [settings.training.seed]
    runs = {source: plan_runs(source, models.values(), baselines, of_seeds, asked, plugins) for source in sources}
    results = ResultsFile(results_path)
    if is_fresh:
        results.forget({run.key for of_source in runs.values() for run in of_source})
    with progress(console(stderr=True)) as bars:
        for name, reason in left_out.items():
            bars.console.print(f"{name} is left out: {reason}", markup=False)
        found = run_all(runs, results, asked, settings, plugins, bars)
    by_model: dict[tuple[str, str], list[Result]] = {}
    for key, result in found.items():
        by_model.setdefault((key.dataset, key.model), []).append(result)
    report = Report(
        [source.name for source in sources],
        sections,
        [wanted.name for wanted in baselines],
        by_model,
        results.arrays,
        left_out,
        asked.split,
        {name: [f"{name}{FROZEN}"] for name in models} if asked.split == PREQUENTIAL else {},
    )
    _write(report, output)
    if output.as_markdown:
        typer.echo(to_markdown(report))
    else:
        for source in sources:
            _print(report, source.name, output)
    if all(report.failures(source.name).keys() >= set(report.models) for source in sources) or (
        models and all(report.failures(source.name).keys() >= models.keys() for source in sources)
    ):
        raise TrainingError("not one model could be measured")


def _print(report: Report, dataset: str, output: Output) -> None:
    on = console()
    on.print(terminal_table(report, dataset))
    for line in verdicts(report, dataset):
        on.print(line, markup=False)
    if output.has_metrics:
        for segment in (NEW, ALL):
            on.print()
            on.print(metrics_table(report, dataset, segment))
    if output.has_segments:
        for segment in SEGMENTS:
            table = segments_table(report, dataset, segment)
            if len(table.columns) > 1:
                on.print()
                on.print(table)
    for model, reason in report.failures(dataset).items():
        on.print(f"{model} failed: {reason}", markup=False)


def _write(report: Report, output: Output) -> None:
    try:
        if output.json_path is not None:
            output.json_path.write_text(to_json(report) + "\n", encoding="utf-8")
        if output.csv_path is not None:
            output.csv_path.write_text(to_csv(report), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"what was found cannot be written: {error}") from error
    if output.plots_folder is not None:
        from springtide_services.evaluation.plots import draw_all

        for path in draw_all(report, output.plots_folder):
            console(stderr=True).print(f"drawn: {path}", markup=False)
