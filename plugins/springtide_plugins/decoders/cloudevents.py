"""CloudEvents 1.0 as its Kafka binding writes them: structured as JSON, and binary with `ce_` headers."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from springtide.errors import EventRefusedError
from springtide.events.codecs import CONTENT_TYPE, JSON, content_type_of, find_codec
from springtide.plugins.contracts import EventDecoder, RawEvent
from springtide.v1.events_pb2 import Event
from springtide_plugins.decoders.mapping import EventMapping, parse_object, short_event_id, time_of

_STRUCTURED = "application/cloudevents+json"
_ANY_STRUCTURED = "application/cloudevents"
_PREFIX = "ce_"
_VERSION = "ce_specversion"
_VERSIONS = (_VERSION, "ce-specversion")  # Some write hyphens, as over HTTP.
_LENGTHS = (len(_VERSION), len(CONTENT_TYPE))
_REQUIRED = ("id", "source", "specversion", "type")
_DATA = ("data", "data_base64")


class CloudEvents(EventDecoder):
    """Reads CloudEvents, structured or binary: the data is an event, or becomes one as ``types`` says.

    An event without an id gets ``source`` and ``id`` of the CloudEvent, one without a time gets its ``time``.

    Args:
        types: By CloudEvent type, which fields of the data become which event. Attributes are fields too, as in
            ``ce_subject``. Other types must carry an event as their data, in protobuf's JSON mapping or serialized.
    """

    def __init__(self, types: dict[str, EventMapping] = {}) -> None:  # noqa: B006  # never changed; shown as {}
        self.types = types

    def recognises(self, record: RawEvent) -> bool:
        """Return whether a header is the CloudEvent's version or names its content type, or it is one in JSON."""
        for name, value in record.headers:
            if len(name) in _LENGTHS:  # Others are passed over quickly: this runs for each record with headers.
                name = name.lower()
                if name in _VERSIONS:
                    return True
                if name == CONTENT_TYPE and (value or b"").lstrip().lower().startswith(_ANY_STRUCTURED.encode()):
                    return True
        value = record.value or b""
        return value[:64].lstrip()[:1] == b"{" and b'"specversion"' in value and _is_structured(record)

    def decode(self, record: RawEvent) -> Sequence[Event]:
        """Return the CloudEvent's event."""
        headers = {name.lower(): (value or b"").decode(errors="replace") for name, value in record.headers}
        content_type = headers.get(CONTENT_TYPE, "").partition(";")[0].strip().lower()
        is_binary = any(name in headers for name in _VERSIONS)
        if content_type.startswith(_ANY_STRUCTURED) or not is_binary:
            if content_type.startswith(_ANY_STRUCTURED) and content_type != _STRUCTURED:
                raise _refusal(f"wanted the format {_STRUCTURED}, got {content_type}")
            attributes = parse_object(record.value or b"", "CloudEvent")
            content_type = str(attributes.get("datacontenttype") or JSON).partition(";")[0].strip().lower()
            data = _structured_data(attributes)
        else:
            attributes = {name[len(_PREFIX) :]: value for name, value in headers.items() if _is_attribute(name)}
            data = record.value
        for name in _REQUIRED:
            if not isinstance(attributes.get(name), str) or not attributes[name]:
                raise _refusal(f"wanted the attribute {name}, which each CloudEvent has, got {attributes.get(name)!r}")
        if not str(attributes["specversion"]).startswith("1."):
            raise _refusal(f"wanted specversion 1.0, got {attributes['specversion']!r}")
        event_id = short_event_id(f"{attributes['source']} {attributes['id']}")
        time = attributes.get("time")
        timestamp_ns = None if time is None else time_of(time, "auto", "time")
        mapping = self.types.get(attributes["type"])
        if mapping is None:
            return [self._carried(data, content_type, attributes["type"], event_id, timestamp_ns)]
        row = data if isinstance(data, Mapping) else parse_object(data, "data") if data else {}
        about = {_PREFIX + name: value for name, value in attributes.items() if name not in _DATA}
        return [mapping.event_of({**row, **about}, event_id, timestamp_ns)]

    def examples(self) -> Sequence[RawEvent]:
        """Return a structured and a binary one that carry an event, and one of each type."""
        about = {"specversion": "1.0", "source": "/shop", "type": "springtide.event", "time": "2024-01-31T18:30:00Z"}
        carried = {"interaction": {"user": "ann", "item": "bread", "type": "purchase"}}
        contents: list[tuple[dict[str, str], Mapping[str, Any]]] = [(about, carried)]
        contents += [({**about, "type": name}, mapping.example()) for name, mapping in self.types.items()]
        records = []
        for number, (attributes, data) in enumerate(contents):
            attributes = {**attributes, "id": str(number)}
            attributes |= {key.removeprefix(_PREFIX): str(data[key]) for key in data if key.startswith(_PREFIX)}
            whole = {**attributes, "datacontenttype": JSON, "data": data}
            structured = ((CONTENT_TYPE, f"{_STRUCTURED}; charset=UTF-8".encode()),)
            binary = [(_PREFIX + name, value.encode()) for name, value in attributes.items()]
            records.append(RawEvent(json.dumps(whole).encode(), headers=structured))
            records.append(RawEvent(json.dumps(data).encode(), headers=(*binary, (CONTENT_TYPE, JSON.encode()))))
        return records

    def _carried(self, data: Any, content_type: str, name: str, event_id: str, timestamp_ns: int | None) -> Event:
        """Return the event that is the data itself, with the CloudEvent's id and time where it has none."""
        if not data:
            raise _refusal(f"wanted data, got none, and type {name!r} is not in types ({self._choices()})")
        if isinstance(data, Mapping):
            data, content_type = json.dumps(data).encode(), JSON
        try:
            event = find_codec(((CONTENT_TYPE, (content_type or JSON).encode()),))(data)
        except EventRefusedError as error:
            raise EventRefusedError(
                error.reason, f"data: {error}; type {name!r} is not in types ({self._choices()})"
            ) from error
        if not event.event_id:
            event.event_id = event_id
        if not event.HasField("event_time") and timestamp_ns is not None:
            event.event_time.seconds, event.event_time.nanos = divmod(timestamp_ns, 10**9)
        return event

    def _choices(self) -> str:
        return f"choices: {', '.join(self.types)}" if self.types else "which is empty"


def _is_structured(record: RawEvent) -> bool:
    """Return whether a JSON object is a CloudEvent; Python's SDK 1 gives it the content type of its data."""
    if content_type_of(record.headers) not in (None, JSON):
        return False
    try:
        found = json.loads(record.value or b"")
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(
        isinstance(found.get(name), str) for name in ("specversion", "type", "source")
    )


def _is_attribute(name: str) -> bool:
    return name.startswith((_PREFIX, "ce-"))


def _structured_data(attributes: Mapping[str, Any]) -> Any:
    """Return the data of a structured CloudEvent: a JSON object, or bytes."""
    if "data_base64" in attributes:
        try:
            return base64.b64decode(attributes["data_base64"], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise _refusal(f"wanted data_base64 in base64: {error}") from error
    data = attributes.get("data")
    if isinstance(data, str):  # JSON as text, as some libraries write it.
        return data.encode(errors="replace")
    if data is None or isinstance(data, dict):
        return data
    raise _refusal(f"wanted data that is a JSON object, got {type(data).__name__}")


def _refusal(message: str) -> EventRefusedError:
    return EventRefusedError("undecodable", f"CloudEvent: {message}")
