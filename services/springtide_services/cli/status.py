"""The `status` command: stream, graph, model, trainer and live quality of a running server."""

from springtide_services.cli.options import (
    AdminAddress,
    AsJson,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    admin_address,
)


def status(
    settings: SettingsPath = None,
    address: AdminAddress = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    json: AsJson = False,
) -> None:
    """Show the status of the running server: stream, graph, model, trainer, and live quality."""
    from springtide_services.cli.status_tables import show_status
    from springtide_services.serving.client import Credentials

    show_status(
        address or admin_address(settings), as_json=json, credentials=Credentials(token, tls_ca, tls_cert, tls_key)
    )
