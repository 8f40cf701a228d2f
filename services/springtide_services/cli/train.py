"""The `train` command: one training, or a trainer that keeps running."""

from typing import Annotated

import typer

from springtide.errors import SettingsError
from springtide.extras import refuse_without
from springtide.model.manifest import TrainingMode
from springtide_services.cli.options import SettingsPath, UntilStdinCloses, load_settings
from springtide_services.termination import end_with_parent, exit_on_signals, interrupt_on_signals


def train(
    settings: SettingsPath = None,
    mode: Annotated[TrainingMode | None, typer.Option(help="How to train; by default fine_tune if it can.")] = None,
    schedule: Annotated[bool, typer.Option(help="Keep running; train when one is due or requested.")] = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Train a model on the newest checkpoint, and publish it."""
    if schedule and mode is not None:
        raise SettingsError("train: wanted --mode or --schedule, got both: the schedule chooses the mode")
    if schedule:
        exit_on_signals()
    else:
        interrupt_on_signals()
    if until_stdin_closes:
        end_with_parent()
    refuse_without("train")
    loaded = load_settings(settings)
    from springtide_services.logs import configure_logging

    configure_logging(loaded.log, "trainer")
    if schedule:
        from springtide_services.training.trainer import run_trainer

        run_trainer(loaded)
        return
    from springtide_services.cli.model_tables import outcome_of
    from springtide_services.terminal import StageBars, console, progress
    from springtide_services.thread_pools import wait_without_spinning

    wait_without_spinning()
    from springtide_services.training.training_run import train_once

    with progress(console(stderr=True)) as bars:
        stages = StageBars(bars, "Train")
        version = train_once(loaded, mode, lambda now: stages.show(now.stage, now.done, now.total, now.loss))
        stages.finish()
    typer.echo(outcome_of(loaded, version))
