"""The `status` command: stream, graph, model, trainer and live quality of a running server."""

from typing import Annotated

import typer

from springtide_services.cli.options import Address, SettingsPath, server_address


def status(
    settings: SettingsPath = None,
    address: Address = "",
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Show the status of the running server: stream, graph, model, trainer, and live quality."""
    from springtide_services.cli.status_tables import show_status

    show_status(address or server_address(settings), as_json=json)
