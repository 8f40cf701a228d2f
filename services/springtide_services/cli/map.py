"""The `map` command: what a model has learned of the items, as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings


def map_(
    png: Annotated[Path, typer.Option(help="The PNG file to draw.", metavar="PATH")],
    settings: SettingsPath = None,
    color: Annotated[str, typer.Option(help="The category attribute of items that colours them.")] = "",
    near: Annotated[str, typer.Option(help="An item whose neighbours are marked.")] = "",
    neighbours: Annotated[int, typer.Option(min=1, max=30, help="How many of them.")] = 10,
    top: Annotated[
        int, typer.Option(min=3, max=2_000, help="How many items to draw: those with the most edges.")
    ] = 500,
    name: Annotated[
        str, typer.Option(help="The attribute of items that names them. Default: explain.name_attribute.")
    ] = "",
    version: Annotated[str, typer.Option(help="Version of the model. Default: the one that serves.")] = "",
    flat: Annotated[
        bool,
        typer.Option("--flat", help="Draw the two principal components; by default, t-SNE keeps neighbours together."),
    ] = False,
) -> None:
    """Draw the items in the learned space, in two dimensions, from the newest checkpoint and the model that serves."""
    from springtide_services.cli.map_run import draw_map

    draw_map(
        load_settings(settings),
        png=png,
        color=color,
        near=near,
        num_neighbours=neighbours,
        top=top,
        name_attribute=name,
        version=version,
        is_flat=flat,
    )
