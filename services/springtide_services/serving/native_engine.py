"""pygrpc-native as a server that loses no answer when it stops; to be imported only where it is installed."""

import time
from collections.abc import Sequence
from typing import Any

import pygrpc_native.aio

# Answers that were handed over go out within 10 ms on a busy machine. One that goes to a slow client may need longer.
_LINGER_S = 0.2


class NativeServer(pygrpc_native.aio.Server):  # type: ignore[misc]  # Its package is not there for every type check.
    """A ``grpc.aio.Server`` whose network work is done in Rust; it serves on the event loop that starts it.

    Args:
        options: Those of grpcio's server, as pairs of name and value.
    """

    def __init__(self, options: Sequence[tuple[str, Any]]) -> None:
        super().__init__(options=options)
        self._front: Any  # The superclass's.

    async def stop(self, grace: float | None) -> None:
        """Take no more calls, let those under way end for at most ``grace`` seconds, and send their answers."""
        front: pygrpc_native.NativeGrpcFront | None = self._front
        if front is not None and not isinstance(front, _Lingering):
            self._front = _Lingering(front)
        await super().stop(grace)


class _Lingering:
    """The Rust side, which closes a moment later: pygrpc-native 0.5 closes at once, and drops answers not yet sent."""

    def __init__(self, front: pygrpc_native.NativeGrpcFront) -> None:
        self._front = front

    def __getattr__(self, name: str) -> Any:
        return getattr(self._front, name)

    def close(self) -> None:
        """Close after the answers are out; called in a thread of its own."""
        time.sleep(_LINGER_S)
        self._front.close()
