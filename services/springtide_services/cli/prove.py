"""The `prove` command: what the context weights recover of a known ground truth, and what they add on real data."""

from pathlib import Path
from typing import Annotated

import typer

from springtide.extras import refuse_without
from springtide_services.cli.options import SettingsPath, load_settings
from springtide_services.termination import interrupt_on_signals


def prove(
    settings: SettingsPath = None,
    events: Annotated[
        int, typer.Option(min=0, help="Number of interactions of each simulated market; 0 for no simulation.")
    ] = 200_000,
    month: Annotated[
        list[int] | None,
        typer.Option(min=1, max=11, help="Train on the Complete Journey up to the end of this month; may be repeated."),
    ] = None,
    fine_tune: Annotated[
        str | None,
        typer.Option(help="Compare fine-tuning with training from scratch on this data set.", metavar="DATASET"),
    ] = None,
    results: Annotated[
        Path, typer.Option(help="Results file; run the same command again to continue.", metavar="PATH")
    ] = Path("springtide-state/walk-forward.jsonl"),
) -> None:
    """Measure the context weights: on simulated markets with a known ground truth, and on a real one by month."""
    interrupt_on_signals()
    refuse_without("train")
    loaded = load_settings(settings)
    from springtide_services.thread_pools import wait_without_spinning

    wait_without_spinning()  # Before what follows imports PyTorch.
    from springtide.plugins.loading import load_checked_plugins
    from springtide_services.evaluation.prove_dataset import show_fine_tuning, show_months
    from springtide_services.evaluation.prove_simulation import show_effects, show_growth, show_recovery

    plugins = load_checked_plugins(loaded)
    if events:
        show_recovery(events, loaded, plugins)
        show_growth(events, loaded, plugins)
        show_effects(events, loaded, plugins)
    if fine_tune:
        show_fine_tuning(fine_tune, loaded, plugins)
    if month:
        show_months(month, results, loaded, plugins)
