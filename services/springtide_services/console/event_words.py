"""Records of the events topic as small JSON, for people who watch them come in."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from google.protobuf.message import DecodeError

from springtide.clock import MS_PER_SECOND
from springtide.v1 import events_pb2

_MAX_OF_BATCH = 50  # Rows of a packed batch that are shown.
_MAX_TEXT = 200  # Characters of a value that is no event.


def shown_events(record: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what a record holds: one event, the first rows of a packed batch, or the beginning of its text.

    Each has ``kind`` (``interaction``, ``nodeUpsert``, ``nodeDelete``, ``relation``, ``other``), ``place`` and
    ``recordTime``, and what the kind has: ``user``, ``item``, ``type``, ``value``, ``eventTime`` and so on. ``numMore``
    is how many rows of its batch follow that are not shown.

    Args:
        record: As kafka-python gives it.
    """
    about = {"place": f"{record.partition}:{record.offset}", "recordTime": _when(record.timestamp)}
    event = _parsed(record.value)
    if event is None:
        text = (record.value or b"")[: 4 * _MAX_TEXT].decode(errors="backslashreplace")[:_MAX_TEXT]
        yield {"kind": "other", "text": text, **about}
        return
    if event.HasField("event_time"):
        about["eventTime"] = event.event_time.ToJsonString()
    payload = event.WhichOneof("payload")
    if payload == "interaction":
        interaction = event.interaction
        value = {"value": interaction.value} if interaction.HasField("value") else {}
        yield {"kind": "interaction", **_of(interaction), **value, **about}
    elif payload == "node_upsert":
        upsert = event.node_upsert
        yield {"kind": "nodeUpsert", "type": upsert.type, "id": upsert.id, **about}
    elif payload == "node_delete":
        yield {"kind": "nodeDelete", "type": event.node_delete.type, "id": event.node_delete.id, **about}
    elif payload == "relation":
        relation = event.relation
        ends = {"source": relation.source_id, "target": relation.target_id}
        yield {"kind": "relation", "type": relation.relation, **ends, **about}
    else:
        yield from _rows(event.batch, about)


def is_about(shown: Mapping[str, Any], user_id: str, item_id: str) -> bool:
    """Return whether an event is about a user and an item; an empty id stands for any."""
    if user_id and user_id not in (shown.get("user"), shown.get("id"), shown.get("source"), shown.get("target")):
        return False
    return not item_id or item_id in (shown.get("item"), shown.get("id"), shown.get("source"), shown.get("target"))


def _of(interaction: events_pb2.Interaction) -> dict[str, Any]:
    return {"user": interaction.user, "item": interaction.item, "type": interaction.type}


def _rows(batch: events_pb2.EventBatch, about: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    names, num_more = batch.dictionary, max(0, len(batch.users) - _MAX_OF_BATCH)

    def name(code: int) -> str:
        return names[code] if code < len(names) else f"({code})"

    rows = zip(batch.users, batch.items, batch.event_times_ms, strict=False)
    for number, (user, item, time_ms) in enumerate(islice(rows, _MAX_OF_BATCH)):
        type_code = (
            batch.types[number] if number < len(batch.types) else (batch.types[0] if batch.types else len(names))
        )
        row = {"user": name(user), "item": name(item), "type": name(type_code), "eventTime": _when(time_ms)}
        more = {"numMore": num_more} if num_more and number == _MAX_OF_BATCH - 1 else {}
        yield {"kind": "interaction", **row, **more, **about}


def _parsed(value: bytes | None) -> events_pb2.Event | None:
    try:
        event = events_pb2.Event.FromString(value or b"")
    except DecodeError:
        return None
    return event if event.WhichOneof("payload") is not None else None


def _when(time_ms: int) -> str | None:
    try:
        return (
            datetime.fromtimestamp(time_ms / MS_PER_SECOND, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
    except (ValueError, OverflowError, OSError):
        return None
