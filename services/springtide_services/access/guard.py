"""The guard at the listeners: each call must show a token that is good for its method, or it is refused."""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # It ships no types.
from grpc_status import rpc_status

from springtide.clock import wall_ms
from springtide.settings.sections.serving import TokenSettings
from springtide_services.access.limits import Failures, RequestRates
from springtide_services.access.roles import ACTOR_METADATA, OPEN, ROLES_OF, ROLES_OF_ROUTES, choices
from springtide_services.access.token_file import KnownTokens
from springtide_services.access.tokens import Token, parts_of

logger = structlog.stdlib.get_logger(__name__)

_LOOK_S = 1.0
_MAX_ACTOR = 100  # Characters.
_MAX_DELAYED = 64  # Refusals that wait at a time, so that they cannot fill the server; others go out at once.
_LOG_EVERY = 100  # Of a peer's failures the first one is logged, and then each so many.

if TYPE_CHECKING:
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor

_caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="")


def caller() -> str:
    """Return the name of the token that the call under way has shown; empty without one."""
    return _caller.get()


def actor_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return who calls, for audit logs: the name of the token, or who they say they are, and the address."""
    if not (name := caller()):
        metadata = context.invocation_metadata() or ()
        said = next((value for key, value in metadata if key == ACTOR_METADATA and isinstance(value, str)), "")
        name = said[:_MAX_ACTOR] if said.isprintable() else ""
    return f"{name}, {context.peer()}" if name else str(context.peer())


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is refused.

    Attributes:
        code: UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED.
        reason: In capitals, for programs.
        message: For people; it repeats nothing that the client has sent.
        retry_s: In how many seconds the call may be tried again; 0 if that would not help.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    retry_s: float = 0.0


class Guard:
    """Says which calls may pass; for both listeners, on one event loop.

    Attributes:
        failures: Calls without a good token so far.

    Args:
        settings: Where the tokens are, and how often one may ask.

    Raises:
        SettingsError: If the tokens cannot be read.
    """

    def __init__(self, settings: TokenSettings) -> None:
        self.failures = Failures()
        self._tokens = KnownTokens(settings)
        self._requests_per_s = settings.requests_per_s
        self._rates = RequestRates()
        self._num_delayed = 0

    def admit(self, method: str, metadata: Any) -> Token | Refusal:
        """Return the token that a call shows, if it is good for the method or route, else why not."""
        shown = _shown_token(metadata)
        if shown is None:
            return Refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                "TOKEN_MISSING",
                "a token is wanted in the metadata: `authorization: Bearer TOKEN`, or `api-key: TOKEN`",
            )
        parts = parts_of(shown)
        token = None if parts is None else self._tokens.by_id.get(parts[0])
        if parts is None or token is None or not token.is_secret(parts[1]):
            return Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN", "no such token")
        if why := token.why_not(wall_ms()):
            return Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_ENDED", why)
        roles = ROLES_OF.get(method) or ROLES_OF_ROUTES.get(method, frozenset())
        if roles.isdisjoint(token.roles):
            wanted = f"wanted one with the role {choices(roles)}" if roles else "there is no role for it"
            message = f"this token is not for {method.rpartition('/')[2]}: {wanted}"
            return Refusal(grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING", message)
        per_s = token.requests_per_s or self._requests_per_s
        if per_s is not None and (wait_s := self._rates.wait_s(token.id, per_s, time.monotonic())) > 0:
            message = f"this token may send {per_s:g} requests a second"
            return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT", message, wait_s)
        return token

    async def watch(self) -> None:
        """Take over changes of the file of tokens, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self._tokens.look)

    async def refuse(self, refusal: Refusal, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """End a call; who shows no good token again and again waits for that."""
        await self.note(refusal, method, _host_of(context.peer()))
        status = rpc_status.to_status(_status_of(refusal))
        metadata = list(status.trailing_metadata)
        if refusal.retry_s:
            metadata.append(("retry-after", str(math.ceil(refusal.retry_s))))  # Whole seconds, as HTTP has it.
        await context.abort(status.code, status.details, tuple(metadata))

    async def note(self, refusal: Refusal, method: str, peer: str) -> None:
        """Count and log a refusal; who shows no good token again and again waits here for that.

        Args:
            refusal: The refusal.
            method: What was called.
            peer: Who called, without the port.
        """
        if refusal.code != grpc.StatusCode.RESOURCE_EXHAUSTED:
            count, wait_s = self.failures.note(peer, time.monotonic())
            if count == 1 or count % _LOG_EVERY == 0:
                logger.warning("call_refused", peer=peer, method=method, reason=refusal.reason, lately=count)
            if refusal.code == grpc.StatusCode.UNAUTHENTICATED and self._num_delayed < _MAX_DELAYED:
                self._num_delayed += 1
                try:
                    await asyncio.sleep(wait_s)
                finally:
                    self._num_delayed -= 1


class GuardInterceptor(Interceptor):
    """Lets the calls of a listener pass that the guard lets pass; some µs each, before a request is decoded.

    Args:
        guard: The guard.
        read_service: Full name of the service whose requests the native engine has read already; empty for none. All
            others are refused before their requests are there: a client that sends none is not waited for.
        on_refused: Called with the path and the status of each call that is refused.
    """

    def __init__(
        self,
        guard: Guard,
        read_service: str = "",
        on_refused: Callable[[str, grpc.StatusCode], None] = lambda path, code: None,
    ) -> None:
        self._guard = guard
        self._on_refused = on_refused
        self._read = f"/{read_service}/"

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the method's handler, or one that refuses."""
        method = handler_call_details.method
        if method.startswith(OPEN):
            return await continuation(handler_call_details)
        found = self._guard.admit(method, handler_call_details.invocation_metadata)
        if isinstance(found, Token):
            _caller.set(found.name)
            return await continuation(handler_call_details)

        self._on_refused(method, found.code)

        async def refuse(unread: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await self._guard.refuse(found, method, context)

        if method.startswith(self._read):
            return grpc.unary_unary_rpc_method_handler(refuse)
        return grpc.stream_stream_rpc_method_handler(refuse)


def _shown_token(metadata: Any) -> str | None:
    """Return the token in a call's metadata; None without one."""
    shown = None
    for key, value in metadata or ():
        if key == "authorization":
            scheme, _, credentials = value.partition(" ")
            if scheme.lower() == "bearer":
                return str(credentials.strip())
        elif key == "api-key":
            shown = value
    return shown


def _host_of(peer: str) -> str:
    """Return a peer without its port, which is another one with each connection."""
    return peer.rpartition(":")[0] or peer


def _status_of(refusal: Refusal) -> status_pb2.Status:
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=refusal.reason, domain="springtide")]
    if refusal.retry_s:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(math.ceil(1_000 * refusal.retry_s))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=refusal.code.value[0], message=refusal.message, details=packed)
