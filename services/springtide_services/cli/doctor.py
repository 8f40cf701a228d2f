"""The `doctor` command: what is wrong, and what to do."""

from typing import Annotated

import typer

from springtide_services.cli.connection import Operators, asks_operators
from springtide_services.cli.options import load_settings


@asks_operators
def doctor(
    operators: Operators,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also show what is well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Say what is wrong and what to do: server, Kafka, checkpoints, models, disk, plugins, tokens, certificates.

    Nothing is changed. Exit code 1 if anything fails. Plugins that the settings let in are imported.
    """
    from springtide_services.cli.check_tables import show_areas
    from springtide_services.cli.options import admin_address
    from springtide_services.doctor.examination import examine
    from springtide_services.exit_codes import EXIT_FAILED
    from springtide_services.findings import Level

    settings = load_settings(operators.settings)
    with operators.client() as client:
        address = operators.address or admin_address(operators.settings)
        found = dict(examine(settings, client.status, address))
    show_areas(found, shows_all=all_, as_json=json)
    if any(finding.level is Level.FAILURE for findings in found.values() for finding in findings):
        raise typer.Exit(EXIT_FAILED)
