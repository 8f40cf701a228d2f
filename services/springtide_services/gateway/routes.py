"""The routes of the gateway, and who may call them from pages of other origins."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from springtide.settings.model import Settings
from springtide_services.gateway.door import Door
from springtide_services.gateway.metadata import FORWARDED
from springtide_services.gateway.openapi.document import make_document
from springtide_services.gateway.proxy import Proxy
from springtide_services.gateway.refusals import RETRY_AFTER, refusal
from springtide_services.gateway.upstream import Upstream, all_methods

_SENT_HEADERS = (
    *FORWARDED,
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "grpc-timeout",
    "x-grpc-web",
    "x-user-agent",
)
_READ_HEADERS = ("grpc-status", "grpc-message", "grpc-status-details-bin", RETRY_AFTER)
_REMEMBER_S = 7_200  # The most that Chromium keeps.


def gateway_routes(
    upstream: Upstream, settings: Settings, more_paths: Mapping[str, Any] | None = None
) -> list[BaseRoute]:
    """Return the routes of all methods of a server, and of ``/openapi.json``, which describes them.

    Args:
        upstream: The server.
        settings: Its settings.
        more_paths: What that document says of other routes: path items of OpenAPI, by their paths.
    """
    proxy = Proxy(upstream, settings.server)
    services = sorted({method.descriptor.containing_service.full_name for method in all_methods().values()})

    async def describe(request: Request) -> Response:
        return JSONResponse(make_document(more_paths or {}))

    return [
        Route("/openapi.json", describe),
        *(Route(path, Door(proxy, method)) for path, method in all_methods().items()),
        *(Route(f"/{service}/{{name:path}}", _unknown, methods=["GET", "POST"]) for service in services),
    ]


def gateway_middleware(settings: Settings) -> Sequence[Middleware]:
    """Return what lets pages of ``console.allow_origins`` call the gateway; nothing if it names none."""
    origins = settings.console.allow_origins
    if not origins:
        return ()
    return (
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=_SENT_HEADERS,
            expose_headers=_READ_HEADERS,
            max_age=_REMEMBER_S,
        ),
    )


async def _unknown(request: Request) -> Response:
    service = request.url.path.split("/")[1]
    names = sorted(path.rpartition("/")[2] for path in all_methods() if path.startswith(f"/{service}/"))
    return refusal("unimplemented", f"{service} has no such method (choices: {', '.join(names)})", 404)
