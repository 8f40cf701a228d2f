"""What a request must be before it is looked into: each other one gets a status and JSON that says what is wanted."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from springtide_services.gateway.refusals import refusal
from springtide_services.gateway.upstream import UpstreamMethod

_UNARY = ("application/json", "application/proto")
_STREAM = ("application/connect+json", "application/connect+proto")
_WEB = ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json")


class Door:
    """An ASGI application before the one that answers.

    Args:
        app: What answers.
        method: The method that it answers.
    """

    def __init__(self, app: ASGIApp, method: UpstreamMethod) -> None:
        self._app = app
        self._accepted = (*(_STREAM if method.is_streaming else _UNARY), *_WEB)
        self._others = _UNARY if method.is_streaming else _STREAM

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it pass."""
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if scope["method"] != "POST":
            answer = refusal("unimplemented", "wanted POST", 405, {"allow": "POST"})
        elif (kind := _media_type(headers)) not in self._accepted:
            answer = refusal("invalid_argument", self._words(kind), 415, {"accept-post": ", ".join(self._accepted)})
        elif not all(value.isascii() for value in headers.values()):
            answer = refusal("invalid_argument", "headers: wanted ASCII", 400)
        else:
            await self._app(scope, receive, send)
            return
        await answer(scope, receive, send)

    def _words(self, kind: str) -> str:
        words = f"content-type: wanted {' or '.join(self._accepted)}"
        if kind in self._others:
            return f"{words} (this method answers {'by a stream' if kind in _UNARY else 'once'})"
        if kind.partition("+")[0] == "application/grpc":
            return f"{words}; gRPC itself has a port of its own, that of the server"
        return words


def _media_type(headers: Mapping[bytes, bytes]) -> str:
    """Return the media type of a request, without parameters such as the character set."""
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
