"""What speaks gRPC for the server: grpcio, or pygrpc-native, whose network work is done in Rust, outside the GIL."""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import grpc
import structlog

from springtide.extras import refuse_without
from springtide.settings.sections.serving import ServerSettings

logger = structlog.stdlib.get_logger(__name__)

# 21,000 ids of 256 bytes, the most that the protos allow in one request, are 5.4 MB.
_MAX_REQUEST_BYTES = 6 * 1024 * 1024


_OFTEN_CALLED = frozenset({"Recommend"})  # Methods that a server may be asked for thousands of times a second.


def make_grpc_server(settings: ServerSettings) -> grpc.aio.Server:
    """Return a server with no servicer and no port yet; it serves on the event loop that starts it.

    Args:
        settings: Gives the engine, and the host that it will listen on.

    Raises:
        SettingsError: If the engine is not installed.
    """
    options = [
        ("grpc.so_reuseport", 0),  # A second server on the port must fail, not take half the requests.
        ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ]
    if settings.engine == "grpcio":
        return grpc.aio.server(options=options)
    refuse_without("native")
    from springtide_services.serving.native_engine import NativeServer

    if not _is_loopback(settings.host):
        logger.warning("engine_trusts_clients", host=settings.host)
    server: grpc.aio.Server = NativeServer(options)
    return server


def for_services(server: grpc.aio.Server, settings: ServerSettings) -> grpc.aio.Server:
    """Return what generated code is to add services to, so that they are in a server that ``make_grpc_server`` made.

    For each method that is registered, grpcio waits by a task of its own, and each call looks at all these tasks. So
    only those methods are registered that are called often; the others are found by their names when they are called.
    """
    if settings.engine != "grpcio":
        return server  # The native engine serves itself what is registered, and nothing else.
    return cast(grpc.aio.Server, _RegistersFew(server, _OFTEN_CALLED))


class _RegistersFew:
    """Adds methods to a server, and registers few of them."""

    def __init__(self, server: grpc.aio.Server, registered: Collection[str]) -> None:
        self._server = server
        self._registered = registered

    def add_generic_rpc_handlers(self, handlers: "Sequence[grpc.GenericRpcHandler[Any, Any]]") -> None:
        self._server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(
        self, service: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        chosen = {name: handler for name, handler in handlers.items() if name in self._registered}
        if chosen:
            self._server.add_registered_method_handlers(service, chosen)  # type: ignore[attr-defined]  # Newer than its stubs.


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
