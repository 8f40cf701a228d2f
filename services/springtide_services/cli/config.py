"""The `config` commands: the settings."""

import typer

from springtide_services.cli.options import SettingsPath

app = typer.Typer(help="See the settings.", no_args_is_help=True)


@app.command("show")
def config_show(settings: SettingsPath = None) -> None:
    """Print the settings as TOML, with what set them; secrets are masked."""
    from springtide.settings.load import load_settings
    from springtide.settings.view import to_toml

    typer.echo(to_toml(load_settings(settings)), nl=False)
