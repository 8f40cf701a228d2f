"""The `tune` command: a search for better settings."""

from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings


def tune(
    dataset: Annotated[str, typer.Argument(help="A public data set by name, or a file of your own events.")],
    settings: SettingsPath = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to search.")] = 10.0,
    trials: Annotated[
        int | None, typer.Option(min=1, help="How many trials in all; as many as fit into the time if absent.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of trials.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the settings that were found go.", metavar="PATH")] = Path(
        "tuned.toml"
    ),
    study: Annotated[
        Path, typer.Option(help="Where trials are kept, so that the same command goes on.", metavar="PATH")
    ] = Path("springtide-state/tuning.jsonl"),
    columns: Annotated[
        str,
        typer.Option(help="Columns of a file whose names are unusual: user=visitorid,item=itemid.", metavar="NAMES"),
    ] = "",
) -> None:
    """Search for better settings on your data, judged by what comes last before the part that `evaluate` tests on."""
    loaded = load_settings(settings)
    from springtide.evaluation.data.event_tables import parse_columns
    from springtide_services.evaluation.tune import tune_and_write

    tune_and_write(
        dataset,
        loaded,
        minutes=minutes,
        num_trials=trials,
        seed=seed,
        out=out,
        trials_path=study,
        columns=parse_columns(columns) if columns else None,
    )
