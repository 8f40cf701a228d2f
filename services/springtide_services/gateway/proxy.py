"""Connect, gRPC-Web and JSON over POST: each call of the server's methods is passed on over gRPC."""

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.message import Message

from springtide.settings.sections.serving import ServerSettings
from springtide_services.gateway.codecs import CODECS
from springtide_services.gateway.metadata import HeaderError, metadata_of
from springtide_services.gateway.refusals import RETRY_AFTER, connect_error_of, retry_after_of
from springtide_services.gateway.upstream import Upstream, UpstreamMethod, all_methods

# The server ends each call in time. These end calls to a server that has stopped without closing its connections.
_SPARE_S = 5.0
_OPERATORS_S = 60.0  # StartTraining and UpdateSteering write files before they answer.
_REQUESTS_PER_DEADLINE = 1_000

Context = RequestContext[Message, Message]


class Proxy(ConnectASGIApplication[Upstream]):
    """An ASGI application that answers all methods of a server.

    Args:
        upstream: The server.
        settings: Its settings: how large a request may be, and how long it may take.
    """

    path = ""

    def __init__(self, upstream: Upstream, settings: ServerSettings) -> None:
        self._max_deadline_s = settings.max_deadline_s
        super().__init__(
            service=upstream, endpoints=self._endpoints_of, read_max_bytes=settings.max_request_bytes, codecs=CODECS
        )

    def _endpoints_of(self, upstream: Upstream) -> Mapping[str, Any]:
        return {path: self._endpoint(upstream, method) for path, method in all_methods().items()}

    def _endpoint(self, upstream: Upstream, method: UpstreamMethod) -> Any:
        async def answer(request: Message, context: Context) -> Message:
            call = self._call(upstream, method, request, context)
            try:
                message: Message = await call
            except grpc.aio.AioRpcError as error:
                raise _refused(error, context) from error
            return message

        async def stream(request: Message, context: Context) -> AsyncIterator[Message]:
            call = self._call(upstream, method, request, context)
            try:
                async for message in call:
                    yield message
            except grpc.aio.AioRpcError as error:
                raise _refused(error, context) from error
            finally:
                call.cancel()  # A client that goes away ends the work for it.

        info = MethodInfo(
            name=method.descriptor.name,
            service_name=method.descriptor.containing_service.full_name,
            input=method.request_type,
            output=method.response_type,
            idempotency_level=IdempotencyLevel.UNKNOWN,  # Thus no GET: a link on another page could call it.
            stream_type=StreamType.SERVER_STREAM if method.is_streaming else StreamType.UNARY,
        )
        return Endpoint.server_stream(info, stream) if method.is_streaming else Endpoint.unary(info, answer)

    def _call(self, upstream: Upstream, method: UpstreamMethod, request: Message, context: Context) -> Any:
        try:
            metadata = metadata_of(context.request_headers, context.client_address)
        except HeaderError as error:
            raise ConnectError(Code.INVALID_ARGUMENT, str(error)) from error
        timeout_s = self._most_s(method, request)
        if (left_ms := context.timeout_ms) is not None:
            timeout_s = min(timeout_s, max(0.0, left_ms / 1_000))
        return upstream.call(method, request, metadata, timeout_s)

    def _most_s(self, method: UpstreamMethod, request: Message) -> float:
        if method.is_of_operators:
            return max(_OPERATORS_S, self._max_deadline_s + _SPARE_S)
        thousands = math.ceil(len(request.requests) / _REQUESTS_PER_DEADLINE) if method.is_streaming else 1  # type: ignore[attr-defined]
        return max(1, thousands) * self._max_deadline_s + _SPARE_S


def _refused(error: grpc.aio.AioRpcError, context: Context) -> ConnectError:
    if (retry_after := retry_after_of(error)) is not None:
        context.response_headers[RETRY_AFTER] = retry_after  # Where HTTP has it,
        context.response_trailers[RETRY_AFTER] = (
            retry_after  # and where gRPC has it, which a begun stream still reaches.
        )
    return connect_error_of(error)
