"""The process of the console: one HTTP port beside a server, local or remote."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvicorn
import uvloop

from springtide.errors import SettingsError
from springtide.settings.model import Settings
from springtide_services.access.certificates import follow_certificates
from springtide_services.access.public import check_console_door
from springtide_services.addresses import is_loopback, join_address, split_address
from springtide_services.console.app import make_app
from springtide_services.gateway.upstream import UPSTREAM_OPTIONS, Upstream
from springtide_services.serving.client import Credentials
from springtide_services.termination import STOP_SIGNALS, ignore_signals
from springtide_services.tracing.spans import Tracing, tracing_of

logger = structlog.stdlib.get_logger(__name__)

_BACKLOG = 512
_LOOK_S = 1.0  # Between two looks at the files of certificates.
_GRACE_S = 3  # For what is under way when the process is to end; streams end at once.


@dataclass(frozen=True, slots=True)
class Target:
    """The server that a console is for.

    Attributes:
        address: Its public listener, ``host:port``.
        admin_address: Its listener for operators, likewise.
        credentials: Whom to trust, and which certificate to show. A token in them is not used: each browser shows its
            own, or none.
    """

    address: str
    admin_address: str
    credentials: Credentials = field(default_factory=Credentials)

    def connect(self) -> Upstream:
        """Return the server, for the event loop that runs; on the loopback interface, operators need no TLS.

        Raises:
            SettingsError: If a file of the credentials cannot be read.
        """
        is_plain = is_loopback(split_address(self.admin_address, 0)[0])
        return Upstream(
            self.credentials.aio_channel(self.address, UPSTREAM_OPTIONS),
            self.credentials.aio_channel(self.admin_address, UPSTREAM_OPTIONS, is_plain=is_plain),
        )


def serve_console(settings: Settings, target: Target, on_listening: Callable[[str], None] | None = None) -> None:
    """Serve the console and the gateway until a stop signal comes; for the main thread.

    Args:
        settings: All settings.
        target: The server.
        on_listening: Called with the URL once the port is bound.

    Raises:
        SettingsError: If the address cannot be listened on, would let anybody in, or a certificate cannot be read.
    """
    check_console_door(settings.console, settings.server)
    listener = _listen(settings.console.host, settings.console.port)
    with contextlib.closing(listener), tracing_of(settings, "console") as tracing:
        uvloop.run(_serve(settings, target, listener, tracing, on_listening))
    ignore_signals()


async def _serve(
    settings: Settings,
    target: Target,
    listener: socket.socket,
    tracing: Tracing | None,
    on_listening: Callable[[str], None] | None,
) -> None:
    app = make_app(target.connect(), settings, tracing, target.address, has_tls=bool(target.credentials.tls_ca))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
        **_tls_options(settings),
    )
    look = None
    try:
        config.load()
        if config.ssl is not None:
            look = follow_certificates(settings.server.tls, config.ssl)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(f"server.tls: the console cannot use it: {error}") from error
    server = _Server(config, app.state.end)
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, server.end)
    host, port = settings.console.host, listener.getsockname()[1]
    url = f"{'https' if config.is_ssl else 'http'}://{join_address(host, port)}"
    logger.info("console_listening", address=url, server=target.address)
    if on_listening is not None:
        on_listening(url)
    following = asyncio.create_task(_follow(look), name="certificates") if look is not None else None
    await server.serve(sockets=[listener])
    if following is not None:
        following.cancel()


async def _follow(look: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        look()


class _Server(uvicorn.Server):
    """Uvicorn that leaves signals to this process: it would raise them once more at its end."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    def end(self) -> None:
        """Take no more requests, and end once those under way are answered."""
        self._end_streams()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals as they are."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        SettingsError: If there is no such address on this machine, or another process has the port.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        what = "another process has the port" if is_taken else f"{error.strerror}: wanted a host of this machine"
        raise SettingsError(
            f"console.port: cannot listen on {join_address(host, port)}: {what} (`--port`, console.port or "
            "SPRINGTIDE_CONSOLE__PORT names another one; 0 picks a free one)"
        ) from error


def _tls_options(settings: Settings) -> dict[str, Any]:
    """Return Uvicorn's options of TLS: on the loopback interface nobody can listen in, and no certificate is for it."""
    tls = settings.server.tls
    if not settings.server.has_tls or is_loopback(settings.console.host):
        return {}
    options: dict[str, Any] = {"ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    if tls.client_ca is not None:
        options |= {"ssl_ca_certs": tls.client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options
