"""The `tune` command: a search for better settings."""

from pathlib import Path
from typing import Annotated

import typer

from springtide.extras import refuse_without
from springtide_services.cli.options import (
    Columns,
    Encoding,
    SettingsPath,
    TimeFormat,
    TimeUnit,
    load_settings,
    read_options,
)
from springtide_services.termination import interrupt_on_signals


def tune(
    dataset: Annotated[str, typer.Argument(help="A public data set by name, or a file of your own events.")],
    settings: SettingsPath = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to search, before the judging.")] = 10.0,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Number of trials in all. Default: as many as fit into the time.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the search.")] = 0,
    out: Annotated[Path, typer.Option(help="File for the best settings.", metavar="PATH")] = Path("tuned.toml"),
    study: Annotated[
        Path, typer.Option(help="Trials file; run the same command again to continue.", metavar="PATH")
    ] = Path("springtide-state/tuning.jsonl"),
    cuts: Annotated[int, typer.Option(min=1, max=8, help="Moments that each trial is measured at.")] = 3,
    judge_seeds: Annotated[
        int,
        typer.Option(
            min=0, help="Seeds of the judging on the test set, of the settings before and after; 0 for later."
        ),
    ] = 3,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Search this alone, such as model.tasks or training.steps; may be repeated.", metavar="SETTING"
        ),
    ] = None,
    columns: Columns = "",
    time_unit: TimeUnit = None,
    time_format: TimeFormat = None,
    encoding: Encoding = None,
) -> None:
    """Search for better settings by NDCG at several moments, and judge them on the test set of `evaluate`, unseen."""
    interrupt_on_signals()
    refuse_without("train")
    loaded = load_settings(settings)
    from springtide_services.thread_pools import wait_without_spinning

    wait_without_spinning()  # Before what follows imports PyTorch.
    from springtide_services.evaluation.tune import tune_and_write

    tune_and_write(
        dataset,
        loaded,
        minutes=minutes,
        num_trials=trials,
        seed=seed,
        out=out,
        trials_path=study,
        num_cuts=cuts,
        num_judge_seeds=judge_seeds,
        only=only or (),
        options=read_options(columns, time_unit, time_format, encoding),
    )
