"""The process of the console: one HTTP port beside a server."""

import grpc
import uvicorn

from springtide.settings.model import Settings
from springtide_services.addresses import join_address
from springtide_services.console.app import make_app
from springtide_services.gateway.upstream import Upstream


def serve_console(settings: Settings) -> None:
    """Serve the console and the gateway until a stop signal comes.

    Args:
        settings: All settings: those of the server say where it is.
    """
    uvicorn.run(
        lambda: make_app(_upstream(settings), settings),
        factory=True,
        host=settings.console.host,
        port=settings.console.port,
        log_level="warning",
    )


def _upstream(settings: Settings) -> Upstream:
    server = settings.server
    return Upstream(
        grpc.aio.insecure_channel(join_address(server.host, server.port)),
        grpc.aio.insecure_channel(join_address(server.admin_host, server.admin_port_number)),
    )
