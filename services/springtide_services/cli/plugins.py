"""The `plugins` commands: list what plugins offer, start a new plugin, check one."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings
from springtide_services.exit_codes import EXIT_FAILED, EXIT_REFUSED


class PartKind(StrEnum):
    """The kinds of parts that a plugin can offer."""

    ENCODER = "encoder"
    AGGREGATOR = "aggregator"
    LOSS = "loss"
    NEGATIVE_SAMPLER = "negative-sampler"
    TASK = "task"
    CONTEXT_WEIGHT = "context-weight"
    BASELINE = "baseline"
    DECODER = "decoder"
    INDEX = "index"
    RERANKER = "reranker"


app = typer.Typer(help="List what plugins offer, start a new plugin, check one.", no_args_is_help=True)


@app.command("list")
def plugins_list(
    settings: SettingsPath = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the parts that plugins offer, with origin and options; then the plugins that failed to load."""
    from springtide_services.cli.plugin_tables import show_plugins

    if not show_plugins(load_settings(settings), as_json=json):
        raise typer.Exit(EXIT_REFUSED)


@app.command("new")
def plugins_new(
    name: Annotated[str, typer.Argument(help="Name of the project and of the part, such as my-encoder.")],
    kind: Annotated[PartKind, typer.Option(help="Kind of the part.")] = PartKind.ENCODER,
    path: Annotated[Path, typer.Option(help="Folder that gets the project's folder.", metavar="DIR")] = Path(),
) -> None:
    """Write a small project: one part, its tests, which pass, and a README."""
    from springtide_services.cli.plugin_projects import new_plugin

    new_plugin(name, kind.value.replace("-", " "), path)


@app.command("check")
def plugins_check(
    module: Annotated[str, typer.Argument(help="Name of the plugin's module, or path of its .py file.")],
    settings: SettingsPath = None,
) -> None:
    """Run the checks that every part of a kind must pass, on each part of a plugin."""
    from springtide_services.cli.plugin_projects import check_plugin

    if not check_plugin(module, load_settings(settings).plugins):
        raise typer.Exit(EXIT_FAILED)
