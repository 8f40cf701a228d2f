"""The `status` command: stream, graph, model, trainer and live quality of a running server."""

from springtide_services.cli.options import Address, AsJson, SettingsPath, server_address


def status(
    settings: SettingsPath = None,
    address: Address = "",
    json: AsJson = False,
) -> None:
    """Show the status of the running server: stream, graph, model, trainer, and live quality."""
    from springtide_services.cli.status_tables import show_status

    show_status(address or server_address(settings), as_json=json)
