"""The `state` command: what is stored, in the format of this release."""

from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings

app = typer.Typer(help="Bring what earlier releases have stored into the format of this one.", no_args_is_help=True)


@app.callback()
def state() -> None:
    """Bring what earlier releases have stored into the format of this one."""


@app.command("migrate")
def state_migrate(
    settings: SettingsPath = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Write checkpoints and models of earlier releases in the format of this one; the server must not run.

    It is never needed for a start: this release reads them all. What is old is deleted once the new one was read again.
    """
    from springtide_services.cli.migrate_run import MigrateRun
    from springtide_services.exit_codes import EXIT_FAILED

    if not MigrateRun(load_settings(settings)).run(dry_run=dry_run):
        raise typer.Exit(EXIT_FAILED)
