"""Events in a request: one, a list, or one a line, in JSON; each is checked as a server would check it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from springtide.errors import InvalidRequestError
from springtide.events.decoding import Decoder
from springtide.events.raw import RawEvent
from springtide.settings.model import Settings
from springtide.v1 import events_pb2

LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines")
_MAX_MESSAGE = 500  # Characters.


class TooManyEventsError(InvalidRequestError):
    """Raised when a request brings more events than it may."""


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """An event that is not published.

    Attributes:
        index: Which one of the request's, from 0.
        reason: Why, in a word: see ``springtide.events.limits.REASONS``.
        message: What was wanted, and what came.
    """

    index: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """The events of a request.

    Attributes:
        good: Those that a server with these settings takes whole, in order.
        refused: The others, in order.
    """

    good: Sequence[events_pb2.Event]
    refused: Sequence[RefusedEvent]


def read_events(body: bytes, kind: str, settings: Settings, now_ms: int) -> ReadEvents:
    """Read and check the events of a request.

    An event of which a server would take only a part, such as a packed batch with a bad row, is refused as a whole: its
    sender can mend it.

    Args:
        body: The request's body.
        kind: Its media type.
        settings: Rules and limits of events.
        now_ms: Wall time, milliseconds since the Unix epoch.

    Raises:
        InvalidRequestError: If the body is no JSON, or holds no events or too many.
    """
    events: list[tuple[int, events_pb2.Event]] = []
    refused: dict[int, RefusedEvent] = {}
    for index, value in enumerate(_values(body, kind, settings.console.max_events)):
        try:
            events.append((index, _event_of(value)))
        except (json_format.ParseError, ValueError, RecursionError, TypeError) as error:
            refused[index] = RefusedEvent(index, "undecodable", _short(f"wanted JSON of an Event: {error}"))
    if not events and not refused:
        raise InvalidRequestError("body", "wanted an event, a list of events, or one a line, got none")
    records = [RawEvent(event.SerializeToString(), offset=index, timestamp_ms=now_ms) for index, event in events]
    decoder = Decoder(settings.interaction_rules(), settings.events)
    for found in decoder.decode(records, now_ms)[1]:
        index = found.record.offset
        refused.setdefault(index, RefusedEvent(index, found.reason, _short(found.message)))
    good = [event for index, event in events if index not in refused]
    return ReadEvents(good, [refused[index] for index in sorted(refused)])


def _values(body: bytes, kind: str, max_events: int) -> Iterator[Any]:
    """Yield what the body holds for each event: JSON's values, or lines."""
    if kind in LINES:
        values: Sequence[Any] = [line for line in body.splitlines() if line.strip()]
    else:
        try:
            whole = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError("body", f"wanted JSON: {_short(str(error))}") from error
        values = whole if isinstance(whole, list) else [whole]
    if len(values) > max_events:
        raise TooManyEventsError(
            "body", f"wanted at most {max_events:,} events (console.max_events), got {len(values):,}"
        )
    yield from values


def _event_of(value: Any) -> events_pb2.Event:
    if isinstance(value, bytes):
        value = json.loads(value)
    if not isinstance(value, dict):
        raise TypeError(f"wanted an object, got {type(value).__name__}")
    return json_format.ParseDict(value, events_pb2.Event())


def _short(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"
