"""pygrpc-native as a server that loses no answer when it stops; to be imported only where it is installed."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pygrpc_native.aio
from pygrpc_native._native import EVENT_CALL

from springtide_services.serving.admission import overloaded
from springtide_services.serving.statuses import refusal_of

# Answers that were handed over go out within 10 ms on a busy machine. One that goes to a slow client may need longer.
_LINGER_S = 0.2


class NativeServer(pygrpc_native.aio.Server):  # type: ignore[misc]  # Its package is not there for every type check.
    """A ``grpc.aio.Server`` whose network work is done in Rust; it serves on the event loop that starts it.

    It takes all calls into Python at once. So those that are far too many are refused before anything is made for them;
    what they ask for is not known yet, so each counts as one, and the servicers refuse sooner.

    Args:
        options: Those of grpcio's server, as pairs of name and value.
        max_open: The most work that may be open, in plain requests; for what refused clients are told.
        max_taken: The most calls that are taken.
        is_bounded: Returns whether calls of a method, by its path, are refused beyond that.
        interceptors: What each call goes through first, in this order.
        on_refused: Called with the path and the status of each call that is refused so.
    """

    def __init__(
        self,
        options: Sequence[tuple[str, Any]],
        max_open: int,
        max_taken: int,
        is_bounded: Callable[[str], bool],
        interceptors: Sequence[Any] = (),
        on_refused: Callable[[str, grpc.StatusCode], None] = lambda path, code: None,
    ) -> None:
        super().__init__(options=options, interceptors=interceptors)
        self._front: Any  # The superclass's, as the next three.
        self._calls: dict[int, Any]
        self._table: list[tuple[str, Any]]
        self._stopping: bool
        self._max_taken = max_taken
        self._is_bounded = is_bounded
        self._on_refused = on_refused
        self._bounded_methods: frozenset[int] | None = None
        code, message, metadata = refusal_of(overloaded(max_open), 0.0)
        self._refusal = code.value[0], message, list(metadata)
        self._refused_code = code

    async def stop(self, grace: float | None) -> None:
        """Take no more calls, let those under way end for at most ``grace`` seconds, and send their answers."""
        front: pygrpc_native.NativeGrpcFront | None = self._front
        if front is not None and not isinstance(front, _Lingering):
            self._front = _Lingering(front)
        await super().stop(grace)

    def _on_events(self, events: list[tuple[Any, ...]]) -> None:
        """Begin calls and cancel others, as the superclass does, but refuse those that are too many."""
        num_open = len(self._calls)
        if num_open + len(events) <= self._max_taken or self._stopping:
            super()._on_events(events)
            return
        if self._bounded_methods is None:
            self._bounded_methods = frozenset(
                number for number, (path, _) in enumerate(self._table) if self._is_bounded(path)
            )
        taken = []
        for event in events:
            kind, call_id, method_id = event[:3]
            if kind == EVENT_CALL and method_id in self._bounded_methods and num_open >= self._max_taken:
                self._front.fail(call_id, *self._refusal)
                self._on_refused(self._table[method_id][0], self._refused_code)
                continue
            num_open += kind == EVENT_CALL
            taken.append(event)
        super()._on_events(taken)


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
