"""Handlers of gRPC methods that refuse bytes which are no request, and that answer whatever their servicers raise."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from springtide.errors import InvalidRequestError
from springtide_services.serving.statuses import refusal_of

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Undecodable:
    """Takes the place of a request whose bytes are none; the engines answer UNKNOWN or INTERNAL to what raises."""

    reason: str


def guarded_handlers(
    handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]",
) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Return handlers that refuse undecodable requests with INVALID_ARGUMENT, and whose errors are statuses.

    Args:
        handlers: Those of asynchronous servicers, by the names of their methods.
    """
    return {name: _guarded(handler) for name, handler in handlers.items()}


def _guarded(handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
    read, write = _guarded_read(handler.request_deserializer), handler.response_serializer
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(_guarded_stream(handler.stream_stream), read, write)
    if handler.request_streaming:
        raise NotImplementedError("no service here takes a stream of requests for one answer")
    if not handler.response_streaming:
        return grpc.unary_unary_rpc_method_handler(_guarded_answer(handler.unary_unary), read, write)
    assert inspect.iscoroutinefunction(handler.unary_stream), "those here write to the context"
    return grpc.unary_stream_rpc_method_handler(_guarded_answer(handler.unary_stream), read, write)


def _guarded_read(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if read is None:
        return None

    def guarded_read(data: bytes) -> Any:
        try:
            return read(data)
        except (DecodeError, ValueError) as error:
            return _Undecodable(str(error))

    return guarded_read


def _guarded_answer(answer: Callable[[Any, Context], Awaitable[Any]] | Any) -> Callable[[Any, Context], Any]:
    async def guarded_answer(request: Any, context: Context) -> Any:
        try:
            if type(request) is _Undecodable:
                raise _refusal(request)
            return await answer(request, context)
        except grpc.aio.AbortError:
            raise
        except NotImplementedError:  # From the class that protoc generates.
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server has no such method")
        except Exception as error:
            await context.abort(*refusal_of(error, 0.0))

    return guarded_answer


def _guarded_stream(answers: Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]] | Any) -> Any:
    async def decoded(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            if type(request) is _Undecodable:
                raise _refusal(request)
            yield request

    async def guarded_stream(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        try:
            async for response in answers(decoded(requests), context):
                yield response
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await context.abort(*refusal_of(error, 0.0))

    return guarded_stream


def _refusal(request: _Undecodable) -> InvalidRequestError:
    return InvalidRequestError(
        "request", f"wanted a message of this method, got bytes that are none ({request.reason})"
    )
