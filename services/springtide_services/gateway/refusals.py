"""Errors as HTTP has them: the status, and JSON with code, message and details, as Connect defines it."""

import base64
import functools
from collections.abc import Iterable
from typing import Any

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import duration_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # It ships no types.
from protobuf import Registry, message_to_json_value, wkt
from starlette.responses import JSONResponse, Response

RETRY_AFTER = "retry-after"
_DETAILS = "grpc-status-details-bin"
_CODES = {code.name: code for code in Code} | {"CANCELLED": Code.CANCELED}
_HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ABORTED: 409,
    Code.ALREADY_EXISTS: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
_NO_SERVER = "the server behind this gateway does not answer: it is not running, or just starting"


def refusal(code: str, message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """Return the answer to a request that is refused.

    Args:
        code: The gRPC status in lower case, such as ``invalid_argument``.
        message: Why, for people.
        status: The HTTP status.
        headers: Headers beside it.
    """
    return JSONResponse({"code": code, "message": message}, status, headers)


def refusal_of(error: grpc.aio.AioRpcError) -> Response:
    """Return the answer to a request that the server has refused: with its details, and when to try again."""
    refused = connect_error_of(error)
    body: dict[str, Any] = {"code": refused.code.value, "message": refused.message}
    if refused.details:
        body["details"] = [_to_json(detail) for detail in refused.details]
    retry_after = retry_after_of(error)
    headers = None if retry_after is None else {RETRY_AFTER: retry_after}
    return JSONResponse(body, _HTTP_STATUS.get(refused.code, 500), headers)


def connect_error_of(error: grpc.aio.AioRpcError) -> ConnectError:
    """Return an error of the server as Connect's, with its details."""
    code = _CODES.get(error.code().name, Code.UNKNOWN)
    packed = _trailer(error, _DETAILS)
    if packed is None:
        # The server gives details with each error: this one is of the channel, and its words name addresses behind it.
        return ConnectError(code, _NO_SERVER if code is Code.UNAVAILABLE else error.details() or "")
    status = status_pb2.Status.FromString(packed)
    return ConnectError(code, status.message, [_detail_of(each.type_url, each.value) for each in status.details])


def retry_after_of(error: grpc.aio.AioRpcError) -> str | None:
    """Return in how many seconds the server wants the call to be tried again; None if it does not say."""
    found = _trailer(error, RETRY_AFTER)
    return None if found is None else str(found)


def _trailer(error: grpc.aio.AioRpcError, name: str) -> Any:
    trailers: Any = error.trailing_metadata() or ()
    return next((value for key, value in trailers if key == name), None)


def _detail_of(type_url: str, value: bytes) -> ErrorDetail:
    """Return a detail, decoded if its type is known, so that JSON shows what is in it."""
    known = _known_details().message(type_url.rpartition("/")[2])
    return ErrorDetail(wkt.Any(type_url=type_url, value=value) if known is None else known.type.from_binary(value))


@functools.cache
def _known_details() -> Registry:
    """Return google.rpc's details for the protobuf library that connectrpc stands on."""
    files: Iterable[Any] = (duration_pb2, error_details_pb2)
    serialized = FileDescriptorSet()
    for file in files:
        copied = serialized.file.add()
        file.DESCRIPTOR.CopyToProto(copied)
        _add_json_names(copied.message_type)
    return wkt.FileDescriptorSet.from_binary(serialized.SerializeToString()).to_registry()


def _add_json_names(messages: Iterable[DescriptorProto]) -> None:
    """Add the names that fields have in JSON: generated code leaves them out, and the other library wants them."""
    for message in messages:
        for field in message.field:
            first, *others = field.name.split("_")
            field.json_name = first + "".join(other.capitalize() for other in others)
        _add_json_names(message.nested_type)


def _to_json(detail: ErrorDetail) -> dict[str, Any]:
    """Return a detail as Connect writes it in JSON: type, bytes in base64 without padding, and the same to be read."""
    value = base64.b64encode(detail.message_bytes).decode().rstrip("=")
    message = detail.value()
    readable = {} if message is None else {"debug": message_to_json_value(message)}
    return {"type": detail.type_name, "value": value, **readable}
