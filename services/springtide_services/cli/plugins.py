"""The `plugins` commands: what plugins offer; begin one, and check it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings
from springtide_services.exit_codes import EXIT_FAILED, EXIT_REFUSED


class PartKind(StrEnum):
    """The kinds of parts that a plugin may offer."""

    ENCODER = "encoder"
    AGGREGATOR = "aggregator"
    LOSS = "loss"
    NEGATIVE_SAMPLER = "negative-sampler"
    TASK = "task"
    CONTEXT_WEIGHT = "context-weight"
    BASELINE = "baseline"


app = typer.Typer(help="See what plugins offer; begin one, and check it.", no_args_is_help=True)


@app.command("list")
def plugins_list(
    settings: SettingsPath = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the parts that plugins offer: what each is, where it comes from, its options; then what failed."""
    from springtide_services.cli.plugin_tables import show_plugins

    if not show_plugins(load_settings(settings), as_json=json):
        raise typer.Exit(EXIT_REFUSED)


@app.command("new")
def plugins_new(
    name: Annotated[str, typer.Argument(help="Of the project and of the part, such as my-encoder.")],
    kind: Annotated[PartKind, typer.Option(help="What kind of part.")] = PartKind.ENCODER,
    path: Annotated[Path, typer.Option(help="Folder in which the project's own is made.", metavar="DIR")] = Path(),
) -> None:
    """Write a small project with one part, its test and a README; the tests pass as written."""
    from springtide_services.cli.plugin_projects import new_plugin

    new_plugin(name, kind.value.replace("-", " "), path)


@app.command("check")
def plugins_check(
    module: Annotated[str, typer.Argument(help="Name of a plugin's module, or path of its .py file.")],
) -> None:
    """Check that each part of a plugin does what every part of its kind must do."""
    from springtide_services.cli.plugin_projects import check_plugin

    if not check_plugin(module):
        raise typer.Exit(EXIT_FAILED)
