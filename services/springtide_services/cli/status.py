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
    tls_authorities,
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

    authorities = tls_authorities(settings, tls_ca, address, is_admin=True)
    credentials = Credentials(token, authorities, tls_cert, tls_key)
    show_status(address or admin_address(settings), as_json=json, credentials=credentials)
