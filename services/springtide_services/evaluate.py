"""The `evaluate` command: models measured one after the other, each result kept as soon as it is there."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.progress import Progress

from springtide.config import Settings
from springtide.errors import SpringtideError, TrainingError
from springtide.evaluation.datasets import Dataset, fetch
from springtide.evaluation.plan import Choice, key_of_model, keys_of_baselines, model_name, plan_sections
from springtide.evaluation.protocol import Protocol
from springtide.evaluation.results import Result, ResultsFile, RunKey
from springtide.plugins.loading import Plugins, load_checked_plugins
from springtide_services.evaluation_tables import Report, terminal_table, to_json, to_markdown
from springtide_services.terminal import StageBars, console, progress

FetchDataset = Callable[[str], Dataset]


def evaluate_and_show(
    datasets: Sequence[str],
    settings: Settings,
    choice: Choice,
    results_path: Path,
    *,
    is_fresh: bool = False,
    as_markdown: bool = False,
    json_path: Path | None = None,
    fetch_dataset: FetchDataset = fetch,
) -> None:
    """Measure models beside baselines, and print a line for each; what was measured before is not measured again.

    Args:
        datasets: Names of data sets, each once.
        settings: Parts, steps and rates.
        choice: Which parts to try in place of those of the settings.
        results_path: Where results are kept.
        is_fresh: Whether to measure all again.
        as_markdown: Whether to print tables for a README.
        json_path: Where the rows are also written, if anywhere.
        fetch_dataset: Gives a data set by its name.

    Raises:
        DatasetError: If a data set cannot be fetched.
        UnknownPartError: If a part is named that no plugin offers.
        SettingsError: If the settings' own parts cannot work, or the results file holds something else.
        TrainingError: If not one model could be measured.
    """
    plugins = load_checked_plugins(settings)
    sections = plan_sections(settings, plugins, choice)
    models = {model_name(of): of for section in sections for of in section.models.values()}
    runs: dict[str, dict[RunKey, Settings | None]] = {
        dataset: {
            **dict.fromkeys(keys_of_baselines(dataset)),
            **{key_of_model(dataset, of, plugins): of for of in models.values()},
        }
        for dataset in datasets
    }
    results = ResultsFile(results_path)
    if is_fresh:
        results.forget({key for of_dataset in runs.values() for key in of_dataset})
    with progress(console(stderr=True)) as bars:
        found = _run_all(runs, results, fetch_dataset, settings, plugins, bars)
    report = Report(datasets, sections, {(key.dataset, key.model): result for key, result in found.items()})
    if json_path is not None:
        json_path.write_text(to_json(report) + "\n", encoding="utf-8")
    if as_markdown:
        typer.echo(to_markdown(report))
    else:
        for dataset in datasets:
            console().print(terminal_table(report, dataset))
            for model, reason in report.failures(dataset).items():
                console().print(f"{model} failed: {reason}", markup=False)
    if all(model in report.failures(dataset) for dataset in datasets for model in models):
        raise TrainingError("not one model could be measured")


def _run_all(
    runs: Mapping[str, Mapping[RunKey, Settings | None]],
    results: ResultsFile,
    fetch_dataset: FetchDataset,
    settings: Settings,
    plugins: Plugins,
    bars: Progress,
) -> dict[RunKey, Result]:
    """Return the result of every run; a data set of which all is known is not even fetched."""
    keys = [key for of_dataset in runs.values() for key in of_dataset]
    found = {key: known for key in keys if (known := results.get(key)) is not None}
    overall = bars.add_task("Runs", total=len(keys), completed=len(found), note="")
    if found:
        bars.console.print(f"{len(found)} of {len(keys)} runs are in {results.path} already", markup=False)
    stages = StageBars(bars)
    try:
        for dataset, of_dataset in runs.items():
            missing = {key: of for key, of in of_dataset.items() if key not in found}
            if not missing:
                continue
            stages.show(f"fetch {dataset}")
            protocol = Protocol(
                fetch_dataset(dataset),
                settings,
                plugins,
                lambda now: stages.show(now.stage, now.done, now.total, now.loss),
            )
            for key, of in missing.items():
                bars.update(overall, note=f"{dataset}: {key.model}")
                found[key] = _run(key, of, protocol, bars)
                results.add(found[key])
                stages.clear()
                bars.update(overall, advance=1)
                bars.console.print(_in_words(found[key]), markup=False)
    except KeyboardInterrupt:
        bars.console.print(f"{len(found)} of {len(keys)} runs are kept in {results.path}: the same command goes on")
        raise
    bars.update(overall, note="")
    return found


def _run(key: RunKey, settings: Settings | None, protocol: Protocol, bars: Progress) -> Result:
    today = datetime.now(UTC).date()
    try:
        if settings is None:
            return Result(key, today, protocol.measure_baseline(key.model))
        return Result(key, today, protocol.measure_model(settings))
    except SpringtideError as error:
        return Result(key, today, None, str(error))
    except Exception as error:  # A part may be anybody's and fail in any way: the others are measured all the same.
        bars.console.print_exception()
        return Result(key, today, None, f"{type(error).__name__}: {error}")


def _in_words(result: Result) -> str:
    name = f"{result.key.dataset}: {result.key.model}"
    if result.measurement is None:
        return f"{name}: failed: {result.failure}"
    new, everything, seconds = result.measurement.new, result.measurement.all, result.measurement.fit_seconds
    return f"{name}: NDCG@20 {new.ndcg:.4f} new, {everything.ndcg:.4f} all, fitted in {seconds:.0f} s"
