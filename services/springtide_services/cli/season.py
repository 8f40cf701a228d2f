"""The `season` command: demand over the year, the week and the day."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import DatasetName, SettingsPath, load_settings


def season(
    name: Annotated[
        str | None,
        typer.Argument(
            help="An item's id, or ATTRIBUTE=VALUE; without one, the items in season are listed.", metavar="NAME"
        ),
    ] = None,
    settings: SettingsPath = None,
    top: Annotated[int, typer.Option(min=1, help="How many items to list.")] = 20,
    at: Annotated[
        datetime | None,
        typer.Option(
            help="The moment to list for, UTC; a date alone means the whole day. Default: the day of ranking.clock."
        ),
    ] = None,
    min_count: Annotated[float, typer.Option(help="Leave out items with fewer interactions.")] = 20.0,
    weight: Annotated[str, typer.Option(help="The context weight to read.")] = "calendar",
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Learn from a public data set instead of the newest checkpoint.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Also draw the charts into a PNG file.", metavar="PATH")] = None,
) -> None:
    """Draw the demand for an item or a category over the year, the week and the day."""
    from springtide_services.cli.season_charts import season as show_season

    show_season(
        load_settings(settings),
        name=name,
        top=top,
        at=at,
        min_count=min_count,
        weight_name=weight,
        dataset=dataset.value if dataset else None,
        png=png,
    )
