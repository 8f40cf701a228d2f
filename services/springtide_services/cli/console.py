"""The `console` command: the pages and the gateway, beside a server."""

from typing import TYPE_CHECKING, Annotated

import typer

from springtide_services.cli.options import (
    Address,
    Insecure,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    UntilStdinCloses,
    admin_address,
    load_checked_settings,
    server_address,
    tls_authorities,
)
from springtide_services.termination import end_with_parent, exit_on_signals

if TYPE_CHECKING:
    from springtide.settings.model import Settings

_MAX_PORT = 65_535


def console(
    settings: SettingsPath = None,
    address: Address = "",
    admin: Annotated[
        str,
        typer.Option(
            "--admin-address",
            help="Its listener for operators, host:port; by default the port 100 above --address, or as the settings "
            "say.",
        ),
    ] = "",
    port: Annotated[
        int | None, typer.Option(min=0, max=_MAX_PORT, help="Port to listen on (console.port); 0 picks a free one.")
    ] = None,
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    insecure: Insecure = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Serve pages for the browser, and the API as JSON, beside a running server, on this machine or another one."""
    exit_on_signals()
    if until_stdin_closes:
        end_with_parent()
    from springtide.extras import refuse_without

    refuse_without("console")
    loaded = load_checked_settings(settings)
    loaded = _with_options(loaded, port, insecure=insecure)
    from springtide_services.console.server import Target, serve_console
    from springtide_services.logs import configure_logging
    from springtide_services.serving.client import Credentials

    configure_logging(loaded.log, "console")
    authorities = tls_authorities(settings, tls_ca, address)
    target = Target(
        address or server_address(settings),
        admin or (_beside(address) if address else admin_address(settings)),
        Credentials(tls_ca=authorities, tls_cert=tls_cert, tls_key=tls_key),
    )
    serve_console(loaded, target)


def _with_options(loaded: "Settings", port: int | None, *, insecure: bool) -> "Settings":
    server = loaded.server.model_copy(update={"insecure": True}) if insecure else loaded.server
    console = loaded.console if port is None else loaded.console.model_copy(update={"port": port})
    return loaded.model_copy(update={"server": server, "console": console})


def _beside(address: str) -> str:
    from springtide.settings.file import DEFAULT_PORT, admin_port_beside
    from springtide_services.addresses import join_address, split_address

    host, port = split_address(address, DEFAULT_PORT)
    return join_address(host, admin_port_beside(port))
