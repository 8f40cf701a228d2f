"""What a call has failed with."""

from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # It ships no types.

from springtide.errors import SpringtideError

_DETAILS, _RETRY_AFTER = "grpc-status-details-bin", "retry-after"


class CallError(SpringtideError):
    """Raised when the server refuses a call, or does not answer.

    Attributes:
        code: The status of gRPC.
        reason: What it is for programs, such as ``INVALID_REQUEST`` or ``TOKEN_MISSING``; empty if no server answered.
        violations: Which fields of the request are wrong, and how.
        retry_after_s: In how many seconds the server wants the call to be tried again; None if it does not say.
        num_tries: How often the call was tried.
    """

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode,
        reason: str = "",
        violations: Iterable[tuple[str, str]] = (),
        retry_after_s: float | None = None,
        num_tries: int = 1,
    ) -> None:
        tries = f", {num_tries} tries" if num_tries > 1 else ""
        super().__init__(f"{message} ({code.name}{tries})")
        self.code = code
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s
        self.num_tries = num_tries


def call_error_of(error: grpc.RpcError, num_tries: int = 1) -> CallError:
    """Return what an error of gRPC says.

    Args:
        error: The error of a call.
        num_tries: How often it was tried.
    """
    about: Any = error
    trailers: dict[str, Any] = dict(about.trailing_metadata() or ())
    reason, violations, retry_after_s = "", [], None
    if _RETRY_AFTER in trailers:
        retry_after_s = _seconds(trailers[_RETRY_AFTER])
    for detail in status_pb2.Status.FromString(trailers.get(_DETAILS, b"")).details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            reason = error_details_pb2.ErrorInfo.FromString(detail.value).reason
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            found = error_details_pb2.BadRequest.FromString(detail.value).field_violations
            violations = [(each.field, each.description) for each in found]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):  # More exact than the header, which has whole seconds.
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            retry_after_s = delay.seconds + delay.nanos / 1e9
    return CallError(about.details() or "the call failed", about.code(), reason, violations, retry_after_s, num_tries)


def _seconds(text: str) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:  # Of a proxy between: HTTP allows a date there.
        return None
