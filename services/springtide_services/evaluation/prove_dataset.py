"""The data sets of the `prove` command: fine-tuning against training from scratch, and context weights by month."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from springtide.evaluation.data import fetch
from springtide.evaluation.protocols import MonthResults, compare_fine_tuning, measure_months
from springtide.evaluation.results import ResultsFile
from springtide.plugins.loading import Plugins
from springtide.settings.model import Settings
from springtide.training.train import OnProgress
from springtide_services.terminal import StageBars, console, progress


def show_fine_tuning(dataset: str, settings: Settings, plugins: Plugins) -> None:
    """Print what fine-tuning loses and saves against training from scratch, block by block.

    Args:
        dataset: Name of a public data set.
        settings: Settings of the model.
        plugins: Plugins that offer the parts.

    Raises:
        DatasetError: If there is no such data set, or it cannot be fetched.
        TrainingError: If there are too few interactions to train on.
    """
    table = Table(box=None, pad_edge=False, title="Fine-tuned block after block, of retrained", title_justify="left")
    for heading in ("block", "new: NDCG@20", "of retrained", "all: NDCG@20", "of retrained", "seconds", "of retrained"):
        table.add_column(heading, justify="right")
    with _stages() as (stages, on_progress):
        for block in compare_fine_tuning(fetch(dataset), settings, plugins, on_progress):
            stages.clear()
            ours, retrained = block.fine_tuned, block.retrained
            table.add_row(
                f"{block.number}",
                f"{ours.new:.4f}",
                f"{ours.new / retrained.new:.1%}",
                f"{ours.all:.4f}",
                f"{ours.all / retrained.all:.1%}",
                f"{ours.seconds:.1f}",
                f"{ours.seconds / retrained.seconds:.1%}",
            )
    console().print(table)


def show_months(months: list[int], results_path: Path, settings: Settings, plugins: Plugins) -> None:
    """Measure the Complete Journey month by month, and print a table of each month as soon as it is measured.

    Args:
        months: Last months of the training sets, each 1 to 11.
        results_path: The results file; months in it are not measured again.
        settings: Settings of the model, with all context weights to compare.
        plugins: Plugins that offer the parts.

    Raises:
        DatasetError: If the data set cannot be fetched.
        SettingsError: If the results file cannot be read or written.
        TrainingError: If there are too few interactions to train on.
        ValueError: If a month is not 1 to 11.
    """
    results = ResultsFile(results_path)
    dataset = fetch("complete-journey")
    with _stages() as (stages, on_progress):
        for month in measure_months(dataset, settings, plugins, months, results, on_progress):
            stages.clear()
            _print_month(month)


@contextmanager
def _stages() -> Iterator[tuple[StageBars, OnProgress]]:
    """Show progress bars, and give them with the callback that updates them."""
    with progress(console(stderr=True)) as bars:
        stages = StageBars(bars)
        yield stages, lambda now: stages.show(now.stage, now.done, now.total, now.loss)


def _print_month(month: MonthResults) -> None:
    title = f"Trained to the end of month {month.month}, evaluated on the next"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("model")
    for heading in ("new: NDCG@20", "all: NDCG@20", "fit"):
        table.add_column(heading, justify="right")
    for label, result in month.results.items():
        measured = result.measurement
        if measured is not None:
            table.add_row(
                label, f"{measured.new.ndcg:.4f}", f"{measured.all.ndcg:.4f}", f"{measured.fit_seconds:.0f} s"
            )
    console().print(table)
    leads = month.lead(is_unseen_only=True), month.lead(is_unseen_only=False)
    console().print(f"All weights over the best control: {leads[0]:+.4f} new, {leads[1]:+.4f} all", highlight=False)
