"""The `checkpoints` commands: which checkpoints there are, whether they are whole, and which one is taken."""

from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings

app = typer.Typer(help="List and verify the checkpoints, and choose which one is taken.", no_args_is_help=True)


@app.command("list")
def checkpoints_list(settings: SettingsPath = None) -> None:
    """List the checkpoints, newest first: what each holds, and whether its files exist."""
    from springtide_services.cli.checkpoint_tables import show_checkpoints

    show_checkpoints(load_settings(settings))


@app.command("show")
def checkpoints_show(
    name: Annotated[str, typer.Argument(help="Which checkpoint; the newest if empty.")] = "",
    settings: SettingsPath = None,
) -> None:
    """Show what a checkpoint holds, and what rebuilds left out of it."""
    from springtide_services.cli.checkpoint_tables import show_checkpoint

    show_checkpoint(load_settings(settings), name)


@app.command("verify")
def checkpoints_verify(
    name: Annotated[str, typer.Argument(help="Which checkpoint; all of them if empty.")] = "",
    settings: SettingsPath = None,
) -> None:
    """Read every file and compare its checksum; exit code 1 if any is missing or damaged."""
    from springtide_services.cli.checkpoint_tables import verify_checkpoints
    from springtide_services.exit_codes import EXIT_FAILED

    if not verify_checkpoints(load_settings(settings), name):
        raise typer.Exit(EXIT_FAILED)


@app.command("use")
def checkpoints_use(
    name: str,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    settings: SettingsPath = None,
) -> None:
    """Make an older checkpoint the newest one, which server and trainer take; the server must not run.

    Nothing is deleted: the older checkpoint is copied under the next name, and shares its files with the copy.
    """
    from springtide_services.cli.checkpoint_tables import use_checkpoint

    use_checkpoint(load_settings(settings), name, confirm=lambda question: yes or typer.confirm(question, abort=True))
