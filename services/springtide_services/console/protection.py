"""What guards each request of a browser: which host and page it is for, what it may carry, what the page may load."""

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from springtide.settings.model import Settings
from springtide_services.addresses import is_loopback, split_address
from springtide_services.gateway.refusals import refusal

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Headers of each response: what a page may load, and that no other page may have it."""

_OF_FORMS = ("application/x-www-form-urlencoded",)  # Any page may send such without asking first.
_WANTED_TYPE = "wanted a content-type such as application/json"


class Protection:
    """Refuses requests that a page of another site could have made, and those that are too large.

    Where no token is asked for, a name that an attacker has pointed to this machine (DNS rebinding) would make his page
    one of ours: only names of this machine, addresses, and those of ``console.allow_hosts`` are answered.

    Args:
        app: What answers.
        settings: All settings.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._console = settings.console
        self._asks_for_tokens = settings.server.has_tokens
        self._max_bytes = settings.server.max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*_without_ours(message), *_ENCODED]
            await send(message)

        response = self._refusal(scope, headers)
        if response is not None:
            await response(scope, receive, send_guarded)
            return
        is_own = scope["path"].startswith("/v1/")  # The gateway counts the bytes of its methods itself.
        await self._app(scope, self._bounded(receive) if is_own else receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Any:
        """Return the response that refuses a request; None if it may pass."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return refusal(
                "permission_denied",
                f"this console has no name {host!r}: wanted the name that it is reached by in console.allow_hosts",
                421,
            )
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host and origin not in self._console.allow_origins:
            return refusal(
                "permission_denied", f"a page of {origin} may not call this: console.allow_origins lists who may", 403
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not kind.startswith("application/") or kind in _OF_FORMS:
            return refusal("invalid_argument", f"{_WANTED_TYPE}, got {kind or 'none'}", 415)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes:
            return refusal("resource_exhausted", _too_large(self._max_bytes), 413)
        return None

    def _is_ours(self, host: str) -> bool:
        if self._asks_for_tokens:
            return True
        try:
            name = split_address(host, 0)[0].lower().rstrip(".")
        except ValueError:
            return False
        if is_loopback(name) or name == self._console.host.strip("[]").lower() or name in self._console.allow_hosts:
            return True
        return not is_loopback(self._console.host) and _is_address(name)

    def _bounded(self, receive: Receive) -> Receive:
        num_bytes = 0

        async def receive_bounded() -> MutableMapping[str, Any]:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise HTTPException(413, _too_large(self._max_bytes))
            return message

        return receive_bounded


_ENCODED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_NAMES = frozenset(name for name, _ in _ENCODED)


def _without_ours(message: Message) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _NAMES]


def _is_address(name: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _too_large(max_bytes: int) -> str:
    return f"wanted at most {max_bytes:,} bytes (server.max_request_bytes)"
