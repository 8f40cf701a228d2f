"""The `status` command: what a running server has read, holds and serves."""

from typing import Annotated

import typer

from springtide_services.cli.options import Address, SettingsPath, server_address


def status(
    settings: SettingsPath = None,
    address: Address = "",
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Ask the running server what it has read, holds and serves, and how well that foretells what comes in."""
    from springtide_services.cli.status_tables import show_status

    show_status(address or server_address(settings), as_json=json)
