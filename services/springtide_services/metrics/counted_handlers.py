"""Handlers of gRPC methods that count each call, its status and its time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from springtide_services.metrics.calls import CallCounts, CallKind, MethodCounts

Context = grpc.aio.ServicerContext[Any, Any]

_OK: int = grpc.StatusCode.OK.value[0]
_CANCELLED: int = grpc.StatusCode.CANCELLED.value[0]
_UNKNOWN: int = grpc.StatusCode.UNKNOWN.value[0]
_DEADLINE_EXCEEDED: int = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def counted_handlers(
    service: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]", calls: CallCounts
) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Return handlers that count their calls; the time is from the decoded request to the last answer.

    Args:
        service: Full name of the service.
        handlers: Those of asynchronous servicers, by the names of their methods; what streams its answers alone writes
            them to the context.
        calls: Where the calls are counted.
    """
    return {name: _counted(handler, f"/{service}/{name}", calls) for name, handler in handlers.items()}


def _counted(
    handler: "grpc.RpcMethodHandler[Any, Any]", path: str, calls: CallCounts
) -> "grpc.RpcMethodHandler[Any, Any]":
    read, write = handler.request_deserializer, handler.response_serializer
    counts = calls.of(path, _kind(handler))
    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(_counted_stream(handler.stream_stream, counts), read, write)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(_counted_answer(handler.unary_stream, counts), read, write)
    return grpc.unary_unary_rpc_method_handler(_counted_answer(handler.unary_unary, counts), read, write)


def _kind(handler: "grpc.RpcMethodHandler[Any, Any]") -> CallKind:
    if handler.request_streaming:
        return "bidi_stream" if handler.response_streaming else "client_stream"
    return "server_stream" if handler.response_streaming else "unary"


def _counted_answer(answer: Any, counts: MethodCounts) -> Any:
    async def counted_answer(request: Any, context: Context) -> Any:
        begun_ns = counts.begin()
        code = _UNKNOWN
        try:
            answered = await answer(request, context)
            code = _OK
            return answered
        except (grpc.aio.AbortError, asyncio.CancelledError) as end:
            code = _code_of(end, context)
            raise
        finally:
            counts.end(code, begun_ns)

    return counted_answer


def _counted_stream(answers: Any, counts: MethodCounts) -> Any:
    async def counted_stream(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        begun_ns = counts.begin()
        code = _UNKNOWN
        try:
            async for response in answers(requests, context):
                yield response
            code = _OK
        except (grpc.aio.AbortError, asyncio.CancelledError, GeneratorExit) as end:
            code = _code_of(end, context)
            raise
        finally:
            counts.end(code, begun_ns)

    return counted_stream


def _code_of(end: BaseException, context: Context) -> int:
    """Return the number of the status that a call ends with."""
    if isinstance(end, grpc.aio.AbortError):
        code: Any = context.code()  # grpcio gives a number, pygrpc-native a member of the enumeration.
        return int(code.value[0] if isinstance(code, grpc.StatusCode) else code)
    left_s = context.time_remaining()
    return _DEADLINE_EXCEEDED if left_s is not None and left_s <= 0 else _CANCELLED
