"""The `prove` command: what the context weights recover of a known truth, and what they are worth."""

from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings


def prove(
    settings: SettingsPath = None,
    events: Annotated[int, typer.Option(help="Interactions of each simulated market; 0 for no simulation.")] = 200_000,
    month: Annotated[
        list[int] | None, typer.Option(help="Walk the Complete Journey to the end of this month; may be repeated.")
    ] = None,
    fine_tune: Annotated[
        str | None,
        typer.Option(help="Walk through this data set, training from scratch and fine-tuning.", metavar="DATASET"),
    ] = None,
    results: Annotated[
        Path, typer.Option(help="Where results are kept, so that the same command goes on.", metavar="PATH")
    ] = Path("springtide-state/walk-forward.jsonl"),
) -> None:
    """Measure the context weights: on a simulated market whose truth is known, and month by month on a real one."""
    from springtide.plugins.loading import load_checked_plugins
    from springtide_services.evaluation.prove import show_effects, show_fine_tuning, show_months, show_recovery

    loaded = load_settings(settings)
    plugins = load_checked_plugins(loaded)
    if events:
        show_recovery(events, loaded, plugins)
        show_effects(events, loaded, plugins)
    if fine_tune:
        show_fine_tuning(fine_tune, loaded, plugins)
    if month:
        show_months(month, results, loaded, plugins)
