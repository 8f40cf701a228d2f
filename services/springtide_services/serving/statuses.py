"""Turning errors into gRPC statuses: one table of codes, and google.rpc details that name the field at fault."""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # It ships no types.
from grpc_status import rpc_status

from springtide.errors import (
    BrokerError,
    BypassedError,
    CheckpointError,
    InvalidRequestError,
    ModelError,
    OffsetsLostError,
    RebuildError,
    SpringtideError,
    SteeringChangedError,
)
from springtide.settings.secrets import hidden
from springtide_services.serving.admission import RETRY_AFTER_S, Admission, OverloadedError

logger = structlog.stdlib.get_logger(__name__)

Servicer = TypeVar("Servicer", bound="DeadlineCapped")
BoundedServicer = TypeVar("BoundedServicer", bound="Bounded")
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Request, Response]
Method = Callable[[Servicer, Request, Context[Request, Response]], Awaitable[Response]]


class NotReadyError(SpringtideError):
    """Raised when the server is still loading, or is stopping."""


class NotFoundError(SpringtideError):
    """Raised when a request names something that does not exist."""


# The first class that an error is an instance of decides.
_CODES: tuple[tuple[type[BaseException], grpc.StatusCode], ...] = (
    (InvalidRequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (OverloadedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (NotReadyError, grpc.StatusCode.UNAVAILABLE),
    (BrokerError, grpc.StatusCode.UNAVAILABLE),
    (BypassedError, grpc.StatusCode.UNAVAILABLE),
    (ModelError, grpc.StatusCode.FAILED_PRECONDITION),
    (OffsetsLostError, grpc.StatusCode.DATA_LOSS),
    (SteeringChangedError, grpc.StatusCode.ABORTED),
    (RebuildError, grpc.StatusCode.FAILED_PRECONDITION),
    (CheckpointError, grpc.StatusCode.FAILED_PRECONDITION),
    (SpringtideError, grpc.StatusCode.FAILED_PRECONDITION),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (OSError, grpc.StatusCode.UNAVAILABLE),  # Such as a full disk, or an object store that does not answer.
)
# These say what the client has sent; all others may say where the server keeps its files.
_OF_THE_CLIENT = (InvalidRequestError, NotFoundError)
_PLACE = re.compile(r"""(?<![\w.~/-])(?:[A-Za-z][\w+.-]*:/|~|(?=/))/[^\s'",;()?]*[^\s'",;()?:](?:\?[^\s'",;()]*)?""")


# A message is sent in the headers that end a call, up to three times and packed. Clients take 8 kB of them by default.
_MAX_MESSAGE_BYTES = 800


class DeadlineCapped(Protocol):
    """A servicer whose methods are decorated with ``with_deadline_and_status`` or ``with_status``.

    Attributes:
        max_deadline_s: The most seconds that a call may take, even if the client set no deadline.
    """

    max_deadline_s: float


class Bounded(DeadlineCapped, Protocol):
    """A servicer whose methods are decorated with ``bounded``.

    Attributes:
        others: Counts the open calls of these methods.
    """

    others: Admission


def bounded(method: Method[BoundedServicer, Request, Response]) -> Method[BoundedServicer, Request, Response]:
    """Decorate a servicer's method: a call is refused where too many are open."""

    @functools.wraps(method)
    async def answer(self: BoundedServicer, request: Request, context: Context[Request, Response]) -> Response:
        with self.others.admit():
            return await method(self, request, context)

    return answer


def with_deadline_and_status(method: Method[Servicer, Request, Response]) -> Method[Servicer, Request, Response]:
    """Decorate a servicer's method: it ends at its deadline, and the errors that it raises become gRPC statuses."""

    @with_status
    @functools.wraps(method)
    async def answer(self: Servicer, request: Request, context: Context[Request, Response]) -> Response:
        async with asyncio.timeout(seconds_left(context, self.max_deadline_s)):
            return await method(self, request, context)

    return answer


def with_status(method: Method[Servicer, Request, Response]) -> Method[Servicer, Request, Response]:
    """Decorate a servicer's method: the errors that it raises become gRPC statuses."""

    @functools.wraps(method)
    async def answer(self: Servicer, request: Request, context: Context[Request, Response]) -> Response:
        try:
            return await method(self, request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await context.abort(*refusal_of(error, self.max_deadline_s))
            raise AssertionError("abort raises") from error

    return answer


def seconds_left(context: Context[Request, Response], max_deadline_s: float) -> float:
    """Return the seconds that a call may still take: the client's deadline, if any, but at most ``max_deadline_s``."""
    left_s = context.time_remaining()
    return max_deadline_s if left_s is None else min(left_s, max_deadline_s)


def refusal_of(
    error: Exception, max_deadline_s: float
) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """Return the code, the message and the trailing metadata of the answer to a call that has failed."""
    if isinstance(error, OverloadedError):
        return _refusal_of_overload(str(error))
    status = rpc_status.to_status(status_of(error, max_deadline_s))
    return status.code, status.details, tuple(status.trailing_metadata)


@functools.lru_cache(maxsize=8)  # There is one message, and a server that has too much to do makes it once.
def _refusal_of_overload(message: str) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    status = rpc_status.to_status(status_of(OverloadedError(message), 0.0))
    metadata = (*status.trailing_metadata, ("retry-after", str(RETRY_AFTER_S)))
    return status.code, status.details, metadata


def status_of(error: Exception, max_deadline_s: float) -> status_pb2.Status:
    """Return the status that a client gets for an error; an unexpected error is logged, and not shown to the client."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if code is None:
        logger.error("request_failed", exc_info=error)
        code, message = grpc.StatusCode.INTERNAL, "internal error; the server's log has the details"
    elif isinstance(error, OSError) and not isinstance(error, TimeoutError):
        logger.error("request_failed", exc_info=error)
        message = f"the server cannot read or write its files: {error.strerror or type(error).__name__}"
    elif isinstance(error, TimeoutError):
        message = f"not answered in time (the server allows {max_deadline_s:g} s at most)"
    elif isinstance(error, _OF_THE_CLIENT):
        message = _cut(str(error))
    else:
        whole, without = str(error), without_places(str(error))
        message = _cut(without)
        if without != whole:
            logger.warning("call_failed", error=whole)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).upper()
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=name, domain="springtide")]
    if isinstance(error, InvalidRequestError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(error.field), description=_cut(error.message)
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, OverloadedError):
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S)))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def refusal_words(error: Exception) -> str:
    """Return what a client is told of an error, in words, beside answers that go on."""
    return str(status_of(error, 0.0).message)


def without_places(message: str) -> str:
    """Return a message without the folders and the URLs that it names; of each, the last part stays."""
    return _PLACE.sub(lambda place: f".../{place[0].partition('?')[0].rpartition('/')[2]}", message)


def shown(words: str) -> str:
    """Return words as operators get them: without secrets, and without places of the server, which its log has."""
    return without_places(hidden(words))


def _cut(message: str) -> str:
    """Return a message, or its beginning if it is too long to be sent, such as one that repeats a long wrong name."""
    data = message.encode(errors="replace")
    return message if len(data) <= _MAX_MESSAGE_BYTES else data[:_MAX_MESSAGE_BYTES].decode(errors="ignore") + "…"
