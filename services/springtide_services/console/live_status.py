"""The status of the server, live: asked for once a second, however many browsers look."""

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import json_format

from springtide.clock import wall_ms
from springtide.v1 import admin_pb2
from springtide_services.console.event_streams import Feed, event
from springtide_services.gateway.refusals import connect_error_of
from springtide_services.gateway.upstream import Upstream, all_methods

Metadata = tuple[tuple[str, str], ...]

_EVERY_S = 1.0
_TIMEOUT_S = 5.0
_WINDOW_S = 5.0  # Rates are over this time, so that they do not jump.
_KEPT = 600  # Samples: ten minutes.
_MAX_FEEDS = 32  # Tokens whose samples are kept while nobody looks.
_ASKS = "springtide.v1.RecommenderService/"
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class LiveStatus:
    """Feeds of the status, one for each token that browsers show.

    First an event ``history``, a list of what was seen in the last minutes. Then each second an event ``status``, which
    is GetStatus's answer, and an event ``rates`` with ``{"eventsPerS": …, "requestsPerS": …}``, null until they are
    known; or an event ``failure`` with ``{"code": …, "message": …}``.

    Args:
        upstream: The server.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._feeds: OrderedDict[Metadata, _StatusFeed] = OrderedDict()

    async def open(self, metadata: Metadata) -> Feed:
        """Return the feed of a token.

        Args:
            metadata: What to show the server.

        Raises:
            grpc.aio.AioRpcError: If the server refuses the token.
        """
        feed = self._feeds.get(metadata) or _StatusFeed(self._upstream, metadata)
        await feed.begin()
        if self._feeds.setdefault(metadata, feed) is feed:
            self._feeds.move_to_end(metadata)
        unheard = [key for key, each in self._feeds.items() if not each.is_heard and each is not feed]
        for key in unheard[: max(0, len(self._feeds) - _MAX_FEEDS)]:
            del self._feeds[key]
        return feed

    def end(self) -> None:
        """End all feeds."""
        for feed in self._feeds.values():
            feed.end()


class _StatusFeed(Feed):
    def __init__(self, upstream: Upstream, metadata: Metadata) -> None:
        super().__init__()
        self._upstream = upstream
        self._metadata = metadata
        self._method = all_methods()["/springtide.v1.AdminService/GetStatus"]
        self._rates = Rates()
        self._history: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._latest: list[bytes] = []
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def greeting(self) -> Sequence[bytes]:
        """Return what was seen before, and what is known now."""
        return [event("history", list(self._history)), *self._latest]

    async def begin(self) -> None:
        """Ask a first time, and each second from then on, until nobody listens.

        Raises:
            grpc.aio.AioRpcError: If the server refuses the token.
        """
        async with self._lock:
            if self._task is None or self._task.done():
                await self._ask()
                self._task = asyncio.create_task(self._go_on(), name="live-status")

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            next_s = max(next_s + _EVERY_S, loop.time())
            await asyncio.sleep(next_s - loop.time())
            if not self.is_heard:
                return
            try:
                await self._ask()
            except grpc.aio.AioRpcError as error:
                self.send(_failure(error))
                self.end()
                return

    async def _ask(self) -> None:
        try:
            status = await self._upstream.call(self._method, admin_pb2.GetStatusRequest(), self._metadata, _TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() in _REFUSED:
                raise
            self._latest = [_failure(error)]
        else:
            rates = self._rates.after(status, asyncio.get_running_loop().time())
            shown = json.loads(json_format.MessageToJson(status))
            self._latest = [event("status", shown), event("rates", rates)]
            self._history.append(_sample(status, shown.get("startTime"), wall_ms()))
        for chunk in self._latest:
            self.send(chunk)


def _sample(status: admin_pb2.GetStatusResponse, start_time: str | None, now_ms: int) -> dict[str, Any]:
    return {
        "time_ms": now_ms,
        "start_time": start_time,
        "num_applied": status.num_applied,
        "lag_events": status.lag_events,
        "resident_bytes": status.resident_bytes,
        "graph_bytes": status.graph_bytes,
        "num_edges": sum(status.num_edges.values()),
        "num_calls": sum(sum(calls.num_ended.values()) for calls in status.calls),
        "num_dead_letters": sum(status.num_dead_letters.values()),
    }


class Rates:
    """Events and requests a second, over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()
        self._server_start: Any = None

    def after(self, status: admin_pb2.GetStatusResponse, now_s: float) -> dict[str, float | None]:
        """Return the rates after one more status, in requests and events a second; None until they are known.

        Args:
            status: The status.
            now_s: Monotonic time.
        """
        start = (status.start_time.seconds, status.start_time.nanos)
        if start != self._server_start:  # Another process, which counts from 0.
            self._seen.clear()
            self._server_start = start
        num_requests = sum(sum(calls.num_ended.values()) for calls in status.calls if calls.method.startswith(_ASKS))
        self._seen.append((now_s, status.num_applied, num_requests))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= _WINDOW_S:
            self._seen.popleft()
        then_s, *then = self._seen[0]
        if now_s <= then_s:
            return {"eventsPerS": None, "requestsPerS": None}
        events, requests = (
            max(0, now - before) / (now_s - then_s)
            for now, before in zip((status.num_applied, num_requests), then, strict=True)
        )
        return {"eventsPerS": round(events, 2), "requestsPerS": round(requests, 2)}


def _failure(error: grpc.aio.AioRpcError) -> bytes:
    refused = connect_error_of(error)
    return event("failure", {"code": refused.code.value, "message": refused.message})
