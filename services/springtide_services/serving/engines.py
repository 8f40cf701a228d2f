"""What speaks gRPC for the server: grpcio, or pygrpc-native, whose network work is done in Rust, outside the GIL."""

import ipaddress

import grpc
import structlog

from springtide.extras import refuse_without
from springtide.settings.sections.serving import ServerSettings

logger = structlog.stdlib.get_logger(__name__)

# 21,000 ids of 256 bytes, the most that the protos allow in one request, are 5.4 MB.
_MAX_REQUEST_BYTES = 6 * 1024 * 1024


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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
