"""``POST /v1/events``: events for the stream from those who have no Kafka client."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from springtide.clock import wall_ms
from springtide.errors import BrokerError, InvalidRequestError
from springtide.settings.model import Settings
from springtide.v1 import recommender_pb2
from springtide_services.access.roles import PUBLISH
from springtide_services.gateway.refusals import RETRY_AFTER, refusal
from springtide_services.gateway.route_guard import RouteGuard
from springtide_services.tracing.spans import Tracing

if TYPE_CHECKING:  # They import NumPy: at the first events, so that a console without any stays small.
    from springtide_services.gateway.event_reading import ReadEvents
    from springtide_services.stream.producer import EventPublisher, SendTraced

NO_KAFKA = "this console knows no Kafka: kafka.bootstrap_servers of its settings names none"
_NUM_THREADS = 4  # They wait for acknowledgements most of the time.
_MAX_WAITING = 64  # Requests; more are refused at once.
_PATIENCE_S = 10.0  # A broker that has not acknowledged by then is away; nothing is sent later.
_RETRY_S = 1


class EventsIn:
    """Publishes the events of requests, and answers once the broker has them.

    The answer has ``position``, which makes a request with it as ``minPosition`` wait until these events count.

    Args:
        settings: The broker and the topic; rules and limits of events.
        guard: Who may.
        tracing: The spans of this process; None for no traces.
    """

    def __init__(self, settings: Settings, guard: RouteGuard, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._guard = guard
        self._traced: Any = None
        if tracing is not None:
            from springtide_services.tracing.records import TracedPublishing

            self._traced = TracedPublishing(tracing, settings.kafka.topic)
        self._pool = ThreadPoolExecutor(_NUM_THREADS, "publish")
        self._lock = threading.Lock()
        self._publisher: EventPublisher | None = None
        self._num_waiting = 0

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        admitted = await self._guard.admit(PUBLISH, request)
        if isinstance(admitted, Response):
            return admitted
        if not self._settings.kafka.bootstrap_servers:
            return refusal("unimplemented", NO_KAFKA, 501)
        if self._num_waiting >= _MAX_WAITING:
            return refusal(
                "resource_exhausted", "too many requests wait for the broker", 429, {RETRY_AFTER: str(_RETRY_S)}
            )
        body = await request.body()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._num_waiting += 1
        try:
            read, next_offsets = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._publish, body, kind, request.headers.get("traceparent", "")
            )
        except InvalidRequestError as error:
            from springtide_services.gateway.event_reading import TooManyEventsError

            if isinstance(error, TooManyEventsError):
                return refusal("resource_exhausted", str(error), 413)
            return refusal("invalid_argument", str(error), 400)
        except BrokerError as error:
            words = f"{error} (events of this request may have been published; with an eventId they can be sent again)"
            return refusal("unavailable", words, 503, {RETRY_AFTER: str(_RETRY_S)})
        finally:
            self._num_waiting -= 1
        return _answer(read, next_offsets)

    def close(self) -> None:
        """Close the connection to the broker."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._publisher is not None:
            self._publisher.close()

    def _publish(self, body: bytes, kind: str, traceparent: str) -> "tuple[ReadEvents, Mapping[int, int]]":
        from springtide_services.gateway.event_reading import read_events
        from springtide_services.stream.producer import EventPublisher

        read = read_events(body, kind, self._settings, wall_ms())
        if not read.good:
            return read, {}
        with self._lock:
            if self._publisher is None:
                self._publisher = EventPublisher(self._settings, patience_s=_PATIENCE_S)
        return read, self._publisher.publish_together(read.good, self._sending(traceparent))

    def _sending(self, traceparent: str) -> "SendTraced | None":
        traced = self._traced
        return None if traced is None else lambda send: traced.send(send, traceparent)


def _answer(read: "ReadEvents", next_offsets: Mapping[int, int]) -> Response:
    position = json_format.MessageToDict(recommender_pb2.GraphPosition(next_offsets=next_offsets))
    refused = [{"index": each.index, "reason": each.reason, "message": each.message} for each in read.refused]
    body: dict[str, Any] = {"position": position, "numPublished": len(read.good), "refused": refused}
    if read.good:
        return JSONResponse(body)
    first = read.refused[0]
    words = f"no event was published; event {first.index}: {first.message}"
    return JSONResponse({"code": "invalid_argument", "message": words, **body}, 400)


def in_openapi(max_events: int) -> Mapping[str, Any]:
    """Return what OpenAPI says of ``POST /v1/events``.

    Args:
        max_events: Most events of a request.
    """
    event = {"$ref": "#/components/schemas/Event"}
    refused = {"$ref": "#/components/responses/Refused"}
    many: Sequence[Any] = (event, {"type": "array", "items": event, "minItems": 1, "maxItems": max_events})
    return {
        "summary": "Publishes events",
        "description": "One event, a list, or one a line. Answers once the broker has them. Events that the server "
        "would refuse are listed in `refused`; all others are published.",
        "operationId": "publishEvents",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": many}}, LINES_KIND: {"schema": {"type": "string"}}},
        },
        "responses": {
            "200": {
                "description": "The events that are good are published.",
                "content": {"application/json": {"schema": _ANSWER}},
            },
            "default": refused,
        },
    }


LINES_KIND = "application/x-ndjson"
_ANSWER = {
    "type": "object",
    "properties": {
        "position": {
            "type": "object",
            "description": "For `minPosition` of a request that is to count them.",
            "properties": {"nextOffsets": {"type": "object", "additionalProperties": {"type": "string"}}},
        },
        "numPublished": {"type": "integer"},
        "refused": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer"},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
