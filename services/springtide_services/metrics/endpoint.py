"""The HTTP port that Prometheus reads: `/metrics`, answered by threads of its own."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import make_wsgi_app

from springtide.errors import SettingsError
from springtide.settings.model import Settings
from springtide_services.access.http_door import HttpDoor, TlsContexts
from springtide_services.access.public import check_metrics_door
from springtide_services.access.roles import Role
from springtide_services.addresses import is_loopback, join_address
from springtide_services.metrics.catalogue import MetricSpec
from springtide_services.metrics.collecting import registry_of
from springtide_services.metrics.samples import Sample

logger = structlog.stdlib.get_logger(__name__)

_PATH = "/metrics"
_MAX_OPEN = 8  # Connections; a Prometheus server has one. What is more is closed at once.
_IDLE_S = 10.0  # A client that says nothing for so long is left.
_MAY_READ = frozenset({Role.OPERATOR, Role.ADMIN})

Respond = Callable[[str, list[tuple[str, str]]], Any]


class MetricsEndpoint:
    """Listens from ``start`` to ``stop``; it works only while it is asked.

    Where other machines reach it, it speaks TLS if ``server.tls`` says so, and where there are tokens, one of the role
    ``operator`` or ``admin`` is wanted, as for the status.

    Attributes:
        address: Where it listens, ``host:port`` or ``[IPv6]:port``; empty before ``start``.

    Args:
        settings: All settings.
        setting: The one of ``metrics`` that has the port: ``port`` or ``trainer_port``.
        specs: The metrics that there may be.
        read: Returns their values; called by threads of the endpoint.

    Raises:
        SettingsError: If tokens or certificates cannot be read, or the settings would let anybody in.
    """

    def __init__(
        self, settings: Settings, setting: str, specs: Sequence[MetricSpec], read: Callable[[], Iterable[Sample]]
    ) -> None:
        check_metrics_door(settings)
        self.address = ""
        self._host: str = settings.metrics.host
        self._port: int = getattr(settings.metrics, setting)
        self._setting = f"metrics.{setting}"
        server = settings.server
        self._door = HttpDoor(server.tokens, _MAY_READ) if server.has_tokens else None
        self._tls = TlsContexts(server.tls) if server.has_tls and not is_loopback(self._host) else None
        self._metrics = make_wsgi_app(registry_of(specs, read))
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen, and answer in the background.

        Raises:
            SettingsError: If the address cannot be listened on.
        """
        wanted = join_address(self._host, self._port)
        try:
            family, _, _, _, where = socket.getaddrinfo(
                self._host.strip("[]"), self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._server = _Server(family, where, self._tls)
        except OSError as error:
            raise SettingsError(
                f"{self._setting}: cannot listen on {wanted}: {error.strerror or error} (wanted a free port of this "
                "machine; 0 picks one, and `none` gives no metrics)"
            ) from error
        self._server.set_app(self._answer)
        self.address = join_address(self._host, self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        logger.info("listening_for_metrics", address=self.address)

    def stop(self) -> None:
        """Listen no more; nothing happens if it has not begun to."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        if self._door is not None:
            refusal = self._door.refusal(environ.get("HTTP_AUTHORIZATION", ""))
            if refusal is not None:
                challenge = [("WWW-Authenticate", "Bearer")] if refusal.status == 401 else []
                status = "401 Unauthorized" if refusal.status == 401 else "403 Forbidden"
                return _say(respond, status, refusal.message, challenge)
        if environ["PATH_INFO"] != _PATH:
            return _say(respond, "404 Not Found", f"there is {_PATH}, and nothing else")
        try:
            answer: Iterable[bytes] = self._metrics(environ, respond)
            return answer
        except Exception as error:
            logger.error("metrics_failed", exc_info=error)
            return _say(respond, "500 Internal Server Error", "the metrics cannot be read; the log has the details")


def _say(respond: Respond, status: str, words: str, headers: Sequence[tuple[str, str]] = ()) -> Iterable[bytes]:
    respond(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{words}\n".encode()]


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # The superclass's name.
        """Log nothing: a scrape each few seconds is no event."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread, of which there are few."""

    daemon_threads = True
    request_queue_size = _MAX_OPEN

    def __init__(self, family: int, address: Any, tls: TlsContexts | None) -> None:
        self.address_family = family
        self._tls = tls
        self._room = threading.BoundedSemaphore(_MAX_OPEN)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without the look-up of this machine's name that the superclass does, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "metrics", self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread if there is room for one, else close."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands first, where there is TLS: here, since a slow client must not hold up the others."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_IDLE_S)
        with contextlib.suppress(OSError), self._tls.current().wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)
            with contextlib.suppress(OSError):
                secured.unwrap()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has left."""
