"""The web application: pages, the gateway, and what is live."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from google.protobuf import json_format
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2
from springtide_services.gateway.routes import gateway_middleware, gateway_routes
from springtide_services.gateway.upstream import Upstream, all_methods

_STATIC = Path(__file__).with_name("static")
_EVERY_S = 1.0


def make_app(upstream: Upstream, settings: Settings) -> Starlette:
    """Return the application of the console and its gateway.

    Args:
        upstream: The server.
        settings: All settings.
    """

    async def page(request: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def now(request: Request) -> Response:
        return EventSourceResponse(_statuses(upstream, request))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await upstream.close()

    return Starlette(
        routes=[
            Route("/", page),
            Route("/v1/now", now),
            *gateway_routes(upstream, settings),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=gateway_middleware(settings),
        lifespan=lifespan,
    )


async def _statuses(upstream: Upstream, request: Request) -> AsyncIterator[ServerSentEvent]:
    """Yield the status of the server each second, or why there is none."""
    method = all_methods()["/springtide.v1.AdminService/GetStatus"]
    metadata = tuple((name, value) for name, value in request.headers.items() if name == "authorization")
    while True:
        try:
            status = await upstream.call(method, admin_pb2.GetStatusRequest(), metadata, 5 * _EVERY_S)
            yield ServerSentEvent(json_format.MessageToJson(status, indent=None), event="status")
        except grpc.aio.AioRpcError as error:
            yield ServerSentEvent(error.details() or error.code().name, event="failure")
        await asyncio.sleep(_EVERY_S)
