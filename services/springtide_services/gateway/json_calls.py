"""The methods of the server as JSON over POST."""

from typing import Any

import grpc
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from springtide_services.gateway.upstream import Upstream, UpstreamMethod, all_methods

_FORWARDED = ("authorization", "api-key", "springtide-actor")
_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def json_routes(upstream: Upstream) -> list[Route]:
    """Return a route for each method of the server that gives one answer."""
    return [
        Route(path, _endpoint(upstream, method), methods=["POST"])
        for path, method in all_methods().items()
        if not method.is_streaming
    ]


def _endpoint(upstream: Upstream, method: UpstreamMethod) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            message = json_format.Parse(await request.body() or b"{}", method.request_type())
        except (json_format.ParseError, UnicodeDecodeError) as error:
            return _refusal("invalid_argument", f"wanted JSON of {method.descriptor.input_type.name}: {error}", 400)
        metadata = tuple((name, value) for name, value in request.headers.items() if name in _FORWARDED)
        try:
            answer = await upstream.call(method, message, metadata, None)
        except grpc.aio.AioRpcError as error:
            name = error.code().name
            return _refusal(name.lower(), error.details() or "", _HTTP_STATUS.get(name, 500))
        return Response(json_format.MessageToJson(answer, indent=None), media_type="application/json")

    return endpoint


def _refusal(code: str, message: str, status: int) -> Response:
    return JSONResponse({"code": code, "message": message}, status)
