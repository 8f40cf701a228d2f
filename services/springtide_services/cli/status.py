"""The `status` command: stream, graph, model, trainer and live quality of a running server."""

from springtide_services.cli.options import AdminAddress, AsJson, SettingsPath, admin_address


def status(
    settings: SettingsPath = None,
    address: AdminAddress = "",
    json: AsJson = False,
) -> None:
    """Show the status of the running server: stream, graph, model, trainer, and live quality."""
    from springtide_services.cli.status_tables import show_status

    show_status(address or admin_address(settings), as_json=json)
