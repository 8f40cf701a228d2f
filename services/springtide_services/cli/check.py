"""The `check` commands: what can be known before the server is started."""

from typing import Annotated

import typer

from springtide_services.cli.options import AdminAddress, SettingsPath, admin_address, load_settings_with_kafka

_PROBE_S = 4.0  # Less than the timeout of the probe in deploy/kubernetes.

app = typer.Typer(help="Check what the server needs, or whether it is ready.", no_args_is_help=True)


@app.command("server")
def check_server(settings: SettingsPath = None, address: AdminAddress = "") -> None:
    """Ask the server on this machine whether it is ready; exit code 1 if not. For probes: it needs no token."""
    from springtide_services.exit_codes import EXIT_FAILED
    from springtide_services.serving.client import Client, Credentials

    with Client(address or admin_address(settings), credentials=Credentials.from_environment()) as client:
        is_ready = client.is_serving(within_s=_PROBE_S)
    typer.echo("ready" if is_ready else "not ready")
    if not is_ready:
        raise typer.Exit(EXIT_FAILED)


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
    from springtide_services.findings import Level
    from springtide_services.stream.kafka_check import check_kafka

    found = check_kafka(load_settings_with_kafka(settings))
    show_findings(found, as_json=json)
    if any(finding.level is Level.FAILURE for finding in found):
        raise typer.Exit(EXIT_FAILED)
