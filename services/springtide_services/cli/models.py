"""The `models` commands: list the models of the registry, and choose which one serves."""

from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings

app = typer.Typer(help="List the models, and choose which one serves.", no_args_is_help=True)


@app.command("list")
def models_list(settings: SettingsPath = None) -> None:
    """List the models, newest first, with the gate's verdict on each, and which one serves."""
    from springtide_services.cli.model_tables import show_models

    show_models(load_settings(settings))


@app.command("show")
def models_show(version: str, settings: SettingsPath = None) -> None:
    """Show one model: its parts, the gate's report, its exponents."""
    from springtide_services.cli.model_tables import show_model

    show_model(load_settings(settings), version)


@app.command("log")
def models_log(
    settings: SettingsPath = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the latest entries to show.")] = 50,
) -> None:
    """Show who promoted, rolled back or rejected which model, and why."""
    from springtide_services.cli.model_tables import show_log

    show_log(load_settings(settings), limit)


@app.command("promote")
def models_promote(
    version: str,
    settings: SettingsPath = None,
    reason: Annotated[str, typer.Option(help="Reason, for the audit log.")] = "",
) -> None:
    """Make a version the current one; running servers swap to it."""
    from springtide_services.cli.model_tables import promote

    promote(load_settings(settings), version, reason)
    typer.echo(f"{version} is current")


@app.command("rollback")
def models_rollback(
    settings: SettingsPath = None, reason: Annotated[str, typer.Option(help="Reason, for the audit log.")] = ""
) -> None:
    """Make the version before the current one current again; running servers swap to it."""
    from springtide_services.cli.model_tables import roll_back

    typer.echo(f"{roll_back(load_settings(settings), reason)} is current")
