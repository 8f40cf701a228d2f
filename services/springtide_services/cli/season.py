"""The `season` command: what the stream has taught of the year, the week and the day."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import DatasetName, SettingsPath, load_settings


def season(
    name: Annotated[
        str | None,
        typer.Argument(
            help="An item's id, or ATTRIBUTE=VALUE; without one, what is in season is listed.", metavar="NAME"
        ),
    ] = None,
    settings: SettingsPath = None,
    top: Annotated[int, typer.Option(min=1, help="How many items to list.")] = 20,
    at: Annotated[
        datetime | None, typer.Option(help="The moment to list for; a date alone is the whole day; today if absent.")
    ] = None,
    min_count: Annotated[float, typer.Option(help="List items with as many interactions, or more.")] = 20.0,
    weight: Annotated[str, typer.Option(help="The context weight to ask.")] = "calendar",
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Learn from a public data set, not from the newest checkpoint.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Also draw it as a picture.", metavar="PATH")] = None,
) -> None:
    """Draw how much an item or a category is wanted over the year, the week and the day."""
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
