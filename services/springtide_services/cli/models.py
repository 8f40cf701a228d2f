"""The `models` commands: which models there are, and which one serves."""

from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings

app = typer.Typer(help="List the models, and choose which one serves.", no_args_is_help=True)


@app.command("list")
def models_list(settings: SettingsPath = None) -> None:
    """List the models, newest first: what the gate said of each, and which one serves."""
    from springtide_services.cli.model_tables import show_models

    show_models(load_settings(settings))


@app.command("show")
def models_show(version: str, settings: SettingsPath = None) -> None:
    """Show one model: its parts, what the gate found, its exponents."""
    from springtide_services.cli.model_tables import show_model

    show_model(load_settings(settings), version)


@app.command("log")
def models_log(
    settings: SettingsPath = None,
    limit: Annotated[int, typer.Option(min=1, help="How many entries, the latest.")] = 50,
) -> None:
    """Show who promoted, rolled back or rejected which model, and why."""
    from springtide_services.cli.model_tables import show_log

    show_log(load_settings(settings), limit)


@app.command("promote")
def models_promote(
    version: str,
    settings: SettingsPath = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Make a version the current one; running servers swap to it."""
    from springtide_services.cli.model_tables import promote

    promote(load_settings(settings), version, reason)
    typer.echo(f"{version} is current")


@app.command("rollback")
def models_rollback(
    settings: SettingsPath = None, reason: Annotated[str, typer.Option(help="Why, for the record.")] = ""
) -> None:
    """Make the version current that was so before."""
    from springtide_services.cli.model_tables import roll_back

    typer.echo(f"{roll_back(load_settings(settings), reason)} is current")
