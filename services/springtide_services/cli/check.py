"""The `check` commands: what can be known before the server is started."""

from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings_with_kafka

app = typer.Typer(help="Check what the server needs, before it is started.", no_args_is_help=True)


@app.callback()
def _check() -> None:
    """Keep `kafka` a subcommand: Typer would make a single command the group itself."""


@app.command("kafka")
def check_kafka(
    settings: SettingsPath = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check connection, topics, rights, retention, codecs and clocks; exit code 1 if anything fails.

    Nothing on the cluster is changed. Each finding that is not ok comes with the way out, as a sentence and a command.
    """
    from springtide_services.cli.check_tables import show_findings
    from springtide_services.exit_codes import EXIT_FAILED
    from springtide_services.stream.kafka_check import Level, check_kafka

    found = check_kafka(load_settings_with_kafka(settings))
    show_findings(found, as_json=json)
    if any(finding.level is Level.FAILURE for finding in found):
        raise typer.Exit(EXIT_FAILED)
