"""The web application: pages, the gateway, and what is live."""

import asyncio
import contextlib
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from springtide.settings.model import Settings
from springtide_services.console.dead_letters import DeadLetters
from springtide_services.console.event_streams import EventStream
from springtide_services.console.event_watch import EventWatch
from springtide_services.console.live_status import LiveStatus
from springtide_services.console.own_paths import own_paths
from springtide_services.console.protection import HEADERS, Protection
from springtide_services.gateway.events_in import EventsIn
from springtide_services.gateway.metadata import HeaderError, metadata_of
from springtide_services.gateway.refusals import RETRY_AFTER, refusal, refusal_of
from springtide_services.gateway.route_guard import RouteGuard
from springtide_services.gateway.routes import gateway_middleware, gateway_routes
from springtide_services.gateway.upstream import Upstream, UpstreamMethod
from springtide_services.tracing.spans import Tracing

_STATIC = Path(__file__).with_name("static")
_READY_TIMEOUT_S = 5.0
_CHECK = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name["Check"]
_HEALTH = UpstreamMethod(
    descriptor=_CHECK,
    is_of_operators=True,
    path="/grpc.health.v1.Health/Check",
    request_type=health_pb2.HealthCheckRequest,
    response_type=health_pb2.HealthCheckResponse,
    is_streaming=False,
)
_CODES = {404: "not_found", 405: "unimplemented", 413: "resource_exhausted"}


def make_app(
    upstream: Upstream, settings: Settings, tracing: Tracing | None = None, address: str = "", *, has_tls: bool = False
) -> Starlette:
    """Return the application of the console and its gateway; ``app.state.end()`` ends what is streamed.

    Args:
        upstream: The server.
        settings: All settings.
        tracing: The spans of this process; None for no traces.
        address: Where programs reach the server's gRPC, for the code that the page shows; empty if unknown.
        has_tls: Whether they need TLS for it.

    Raises:
        SettingsError: If the tokens of the settings cannot be read.
    """
    live = LiveStatus(upstream)
    guard = RouteGuard(settings.server)
    events_in = EventsIn(settings, guard, tracing)
    watch = EventWatch(settings, guard)
    letters = DeadLetters(settings, guard)

    async def page(request: Request) -> Response:
        return FileResponse(_STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def now(request: Request) -> Any:
        try:
            return EventStream(await live.open(metadata_of(request.headers, None)))
        except HeaderError as error:
            return refusal("invalid_argument", str(error), 400)
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)

    async def about(request: Request) -> Response:
        return JSONResponse({"address": address, "hasTls": has_tls})

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        try:
            answer = await upstream.call(_HEALTH, health_pb2.HealthCheckRequest(), (), _READY_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            return refusal("unavailable", "the server is not ready yet", 503, {RETRY_AFTER: "1"})
        return JSONResponse({"status": "ok"})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(guard.watch(), name="tokens")
        yield
        watching.cancel()
        letters.close()
        await asyncio.to_thread(events_in.close)
        await upstream.close()

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/v1/console", about),
            Route("/v1/now", now),
            Route("/v1/events", events_in.answer, methods=["POST"]),
            Route("/v1/events", watch.answer, methods=["GET"]),
            Route("/v1/dead-letters", letters.list),
            Route("/v1/dead-letters:replay", letters.replay, methods=["POST"]),
            *gateway_routes(upstream, settings, own_paths(settings)),
            Mount("/static", _Static(directory=_STATIC)),
        ],
        middleware=[Middleware(Protection, settings=settings), *gateway_middleware(settings)],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
        lifespan=lifespan,
    )

    def end() -> None:
        live.end()
        watch.end()

    app.state.end = end
    return app


class _Static(StaticFiles):
    """The files of the pages; browsers ask each time whether they are new, so that an update is seen at once."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response


# What the machine's own table says of them differs, and a browser runs no script of another type.
for _ending in (".js", ".mjs"):
    mimetypes.add_type("text/javascript", _ending)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = error.detail
    if error.status_code == 404:
        words = f"there is nothing at {request.url.path}"
    elif error.status_code == 405:
        words = f"{request.url.path} does not take {request.method}"
    return refusal(_CODES.get(error.status_code, "unknown"), words, error.status_code, dict(error.headers or {}))


async def _fail(request: Request, error: Exception) -> Response:
    return refusal("internal", "the console failed; its log says why", 500, dict(HEADERS))
