"""Server-sent events: one feed for many browsers, and the response that sends it to one of them."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

_KEEP_ALIVE_S = 15.0  # Proxies close connections that are silent for longer.
_SEND_TIMEOUT_S = 30.0  # Of a browser that takes nothing any more.
_MAX_WAITING = 200  # Events that wait for a slow browser; older ones are left out.
_KEEP_ALIVE = b": still here\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def event(name: str, data: Any) -> bytes:
    """Return an event with JSON as its data."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class Feed:
    """Events for all that listen; to be used from one event loop."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes | None]] = set()

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._queues)

    def greeting(self) -> Sequence[bytes]:
        """Return what a new listener gets at once."""
        return ()

    def send(self, chunk: bytes) -> None:
        """Send an event to all that listen."""
        for queue in self._queues:
            _put(queue, chunk)

    def end(self) -> None:
        """End the streams of all that listen."""
        for queue in self._queues:
            _put(queue, None)

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Queue[bytes | None]]:
        """Listen in the block; None in the queue is the end."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_WAITING)
        for chunk in self.greeting():
            queue.put_nowait(chunk)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)


class EventStream:
    """A response that sends a feed until the browser goes or the feed ends.

    Args:
        feed: The feed.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the feed, as ASGI has it."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] != "HEAD":
            with self._feed.listening() as queue:
                await _send_all(queue, receive, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_all(queue: asyncio.Queue[bytes | None], receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        while True:
            taking = asyncio.ensure_future(queue.get())
            await asyncio.wait({gone, taking}, timeout=_KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or not taking.done():
                taking.cancel()
            if gone.done():
                return
            chunk = taking.result() if taking.done() else _KEEP_ALIVE
            if chunk is None:
                return
            await asyncio.wait_for(
                send({"type": "http.response.body", "body": chunk, "more_body": True}), _SEND_TIMEOUT_S
            )
    except TimeoutError:
        return
    finally:
        gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _put(queue: asyncio.Queue[bytes | None], chunk: bytes | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(chunk)
