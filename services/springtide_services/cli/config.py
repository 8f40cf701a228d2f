"""The `config` commands: the settings."""

from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath

app = typer.Typer(help="See the settings, or write a file of them.", no_args_is_help=True)


@app.command("show")
def config_show(
    settings: SettingsPath = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print what each setting means above it.")] = False,
) -> None:
    """Print the settings in force as TOML, each with what set it; secrets are masked."""
    from springtide.settings.load import load_settings
    from springtide.settings.view import to_toml

    typer.echo(to_toml(load_settings(settings), is_explained=explain), nl=False)


@app.command("init")
def config_init(
    path: Annotated[Path, typer.Argument(help="File to write.", metavar="PATH")] = Path("springtide.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a settings file that explains every setting; each is commented out, with its default."""
    from springtide.errors import SettingsError
    from springtide.settings.reference import commented_toml

    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(commented_toml())
    except FileExistsError as error:
        raise SettingsError(f"{path} exists already: wanted another PATH, or --force to replace it") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}: remove the # before a setting to change it")
