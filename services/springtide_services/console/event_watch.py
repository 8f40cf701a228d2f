"""Events as they come in, for browsers: one reader at the topic's end, which runs while somebody looks."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from springtide.settings.model import Settings
from springtide_services.access.roles import WATCH
from springtide_services.console.event_streams import EventStream, Feed, event
from springtide_services.console.event_words import is_about
from springtide_services.gateway.events_in import NO_KAFKA
from springtide_services.gateway.refusals import refusal
from springtide_services.gateway.route_guard import RouteGuard

if TYPE_CHECKING:  # It imports what reads Kafka, and NumPy: where somebody looks.
    from springtide_services.console.event_reader import Found

_FLUSH_S = 0.25
_MAX_PER_S = 50  # Events that a browser is shown; the others are counted.
_BEGIN_S = 5.0  # From a request to its answer's begin.


class EventWatch:
    """Answers ``GET /v1/events``: first an event ``watching``, then ``events`` at most each quarter of a second.

    The data of ``events`` are ``{"events": […], "numNotShown": …}``; of ``failure`` ``{"code": …, "message": …}``.

    Args:
        settings: The broker and the topic.
        guard: Who may.
    """

    def __init__(self, settings: Settings, guard: RouteGuard) -> None:
        self._kafka = settings.kafka
        self._guard = guard
        self._feeds: dict[tuple[str, str], _WatchFeed] = {}
        self._task: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> Any:
        """Answer a request; with ``?user=`` or ``?item=`` only with what is about them."""
        admitted = await self._guard.admit(WATCH, request)
        if isinstance(admitted, Response):
            return admitted
        if not self._kafka.bootstrap_servers:
            return refusal("unimplemented", NO_KAFKA, 501)
        about = request.query_params.get("user", ""), request.query_params.get("item", "")
        feed = self._feeds.setdefault(about, _WatchFeed(*about))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="event-watch")
        return EventStream(feed)

    def end(self) -> None:
        """End all streams."""
        for feed in self._feeds.values():
            feed.end()

    async def _watch(self) -> None:
        """Read until nobody looks."""
        from springtide_services.console.event_reader import Reader

        reader = Reader(self._kafka)
        thread = threading.Thread(target=reader.run, name="event-watch", daemon=True)
        thread.start()
        try:
            while True:
                await asyncio.sleep(_FLUSH_S)
                self._feeds = {about: feed for about, feed in self._feeds.items() if feed.is_heard or feed.is_new()}
                if not self._feeds:
                    return
                found = reader.take()
                for feed in self._feeds.values():
                    feed.take(found)
        finally:
            reader.stopping.set()


class _WatchFeed(Feed):
    def __init__(self, user_id: str, item_id: str) -> None:
        super().__init__()
        self._made_s = time.monotonic()
        self._about = user_id, item_id
        self._budget = float(_MAX_PER_S)
        self._state: bytes | None = None

    def greeting(self) -> Sequence[bytes]:
        """Return what is known of the reader."""
        return () if self._state is None else (self._state,)

    def is_new(self) -> bool:
        """Return whether it was made a moment ago: it is heard once its answer has begun."""
        return time.monotonic() < self._made_s + _BEGIN_S

    def take(self, found: "Found") -> None:
        """Send what was found, as far as the budget of a second goes."""
        if found.problem:
            self._turn(event("failure", {"code": "unavailable", "message": found.problem}))
        elif found.is_watching:
            self._turn(event("watching", {}))
        self._budget = min(_MAX_PER_S, self._budget + _MAX_PER_S * _FLUSH_S)
        of_ours = [each for each in found.events if is_about(each, *self._about)]
        num_shown = min(len(of_ours), int(self._budget))
        self._budget -= num_shown
        num_not_shown = len(of_ours) - num_shown + found.num_skipped
        if num_shown or num_not_shown:
            shown = of_ours[len(of_ours) - num_shown :]
            self.send(event("events", {"events": shown, "numNotShown": num_not_shown}))

    def _turn(self, state: bytes) -> None:
        if state != self._state:
            self._state = state
            self.send(state)
