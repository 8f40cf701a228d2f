"""Words for bytes that are no event: what they look like, and what their producer has to change."""

import datetime as dt
import json
import math
from typing import Any

from springtide.events.limits import MAX_NUMBER, shorten

_TIME_EXAMPLE = '"2024-01-31T18:30:00Z"'
_JSON_STARTS = (b"{", b"[")
_MAX_DETAIL = 300  # Characters of the parser's own message.
_MS_FROM = 100_000_000_000  # 1973 in milliseconds, the year 5138 in seconds: larger numbers are milliseconds.
_IDS = {
    "interaction": ("user", "item", "type"),
    "nodeUpsert": ("type", "id"),
    "nodeDelete": ("type", "id"),
    "relation": ("sourceType", "sourceId", "relation", "targetType", "targetId"),
}
_OTHER_NAMES = {
    **dict.fromkeys(("userId", "user_id", "customerId", "visitorId"), "user"),
    **dict.fromkeys(("itemId", "item_id", "productId", "product_id"), "item"),
    **dict.fromkeys(("event", "eventType", "event_type", "action"), "type"),
    **dict.fromkeys(("rating", "quantity"), "value"),
    **dict.fromkeys(("timestamp", "time", "ts", "date", "datetime", "createdAt", "created_at"), "eventTime"),
}
"""What producers call a field, and what it is called here."""


def looks_like_json(value: bytes) -> bool:
    """Return whether bytes begin as a JSON object or list does; no serialized Event begins so."""
    return value[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in _JSON_STARTS


def describe_unmarked(value: bytes) -> str:
    """Return what the bytes of a record without a content type look like, and what is missing; empty if unknown."""
    if looks_like_json(value):
        envelope = _envelope_words(_load(value))
        return (
            "the bytes look like JSON, and the record has no header that says so: "
            + (envelope or "send the header content-type: application/json with each record")
        )  # fmt: skip
    if value[:1] == b"\0" and len(value) > 5:
        return (
            f"the bytes begin as a schema registry's frame does (a zero byte, then schema id "
            f"{int.from_bytes(value[1:5], 'big')}): list the decoder confluent in [events.decoders]"
        )
    if value[:2] == b"\x1f\x8b":
        return "the bytes are compressed with gzip: send them plain, and set compression.type of the producer instead"
    if value[:1] == b"<":
        return "the bytes look like XML, which is not read"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return ""
    return f"the bytes are the text {shorten(text)}" if text.isprintable() else ""


def describe_bad_json(value: bytes, error: Exception) -> str:
    """Return why a record that should be an Event in protobuf's JSON mapping is none.

    Args:
        value: The record's bytes.
        error: What the parser said.
    """
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError:
        is_wide = value[:2] in (b"\xff\xfe", b"\xfe\xff") or value[:2].find(b"\0") >= 0
        return "wanted JSON in UTF-8, got " + ("UTF-16" if is_wide else "bytes that are no UTF-8")
    if not text.strip():
        return "wanted a JSON object, got nothing but spaces"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as bad:
        if isinstance(bad, json.JSONDecodeError) and bad.msg == "Extra data":
            return "wanted one JSON object, got several in one record: send each as a record of its own"
        return f"wanted a JSON object: {str(bad)[:_MAX_DETAIL]}"
    if isinstance(found, list):
        return f"wanted one event as a JSON object, got a list of {len(found)}: send each as a record of its own"
    if isinstance(found, str) and found.lstrip()[:1] in ("{", "["):
        return "wanted an event as a JSON object, got one as text in quotes: it was made JSON twice"
    if not isinstance(found, dict):
        return f"wanted an event as a JSON object, got {shorten(text.strip())}"
    return _time_words(found) or describe_bad_fields(found) or _parser_words(error)


def describe_bad_fields(found: dict[str, Any]) -> str:
    """Return which field of an event in JSON is of a wrong kind or has another name; empty if unknown."""
    return _id_words(found) or _map_words(found) or _envelope_words(found) or _name_words(found)


def without_bad_attributes(value: bytes) -> tuple[dict[str, Any], list[str]]:
    """Take the attributes whose values are of a wrong kind out of an upsert in JSON.

    Args:
        value: The record's bytes.

    Returns:
        The event without them, and what was wrong with each; nothing if it is no upsert or has no such attributes.
    """
    found = _load(value)
    upsert = found.get("nodeUpsert", found.get("node_upsert")) if isinstance(found, dict) else None
    problems: list[str] = []
    if not isinstance(upsert, dict):
        return {}, []
    for field in ("categories", "numbers", "texts", "vectors"):
        entries = upsert.get(field)
        if not isinstance(entries, dict):
            continue
        for name, entry in list(entries.items()):
            if words := _entry_words(field, entry):
                problems.append(f"node_upsert.{field}[{shorten(name)}]: {words}")
                del entries[name]
    return (found, problems) if problems else ({}, [])


def _load(value: bytes) -> Any:
    try:
        return json.loads(value.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _parser_words(error: Exception) -> str:
    detail = " ".join(str(error).split()).replace("Available Fields(except extensions)", "fields")
    return f"wanted a springtide.v1.Event in protobuf's JSON mapping: {detail[:_MAX_DETAIL]}"


def _time_words(found: dict[str, Any]) -> str:
    time = found.get("eventTime", found.get("event_time"))
    wanted = f"event_time: wanted a time with its zone, such as {_TIME_EXAMPLE}, got "
    if time is None or (isinstance(time, str) and _is_good_time(time)):
        return ""
    if isinstance(time, bool) or not isinstance(time, str | int | float):
        return f"{wanted}{shorten(json.dumps(time))}"
    if isinstance(time, int | float):
        seconds, unit = (time / 1_000, "milliseconds") if abs(time) >= _MS_FROM else (time, "seconds")
        try:
            meant = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        except (ValueError, OverflowError, OSError):
            return f"{wanted}the number {time}"
        return f'{wanted}the number {time}: as {unit} since 1970 it would be "{meant}"'
    try:
        dt.date.fromisoformat(time)
    except ValueError:
        pass
    else:
        return f"{wanted}the date {time!r} without a time of day"
    try:
        has_zone = dt.datetime.fromisoformat(time).tzinfo is not None
    except ValueError:
        return f"{wanted}{shorten(time)}"
    if not has_zone:
        return f"{wanted}{time!r} without a zone: add Z for UTC, or an offset such as +02:00"
    return f"{wanted}{time!r}: write a T before the time of day, and the offset as +02:00"


def _is_good_time(time: str) -> bool:
    # protobuf takes RFC 3339 and nothing more.
    return len(time) > 10 and time[10] == "T" and (time.endswith("Z") or time[-6:-5] in ("+", "-"))


def _id_words(found: dict[str, Any]) -> str:
    for payload, fields in _IDS.items():
        inner = found.get(payload, found.get(_snake(payload)))
        if inner is None:
            continue
        if not isinstance(inner, dict):
            return f"{_snake(payload)}: wanted a JSON object, got {shorten(json.dumps(inner))}"
        for field in fields:
            value = inner.get(field, inner.get(_snake(field)))
            if value is not None and not isinstance(value, str):
                where = f"{_snake(payload)}.{_snake(field)}"
                return f"{where}: wanted text in quotes, got {shorten(json.dumps(value))}; ids and types are text"
    if isinstance(found.get("eventId", found.get("event_id")), int | float):
        return f"event_id: wanted text in quotes, got {found.get('eventId', found.get('event_id'))}"
    return ""


def _map_words(found: dict[str, Any]) -> str:
    """Return which entry of a map, such as an attribute, has a value of a wrong kind."""
    for payload, maps in (("interaction", ("context",)), ("nodeUpsert", ("categories", "numbers", "texts", "vectors"))):
        inner = found.get(payload, found.get(_snake(payload)))
        if not isinstance(inner, dict):
            continue
        for field in maps:
            entries = inner.get(field)
            where = f"{_snake(payload)}.{field}"
            if entries is not None and not isinstance(entries, dict):
                return f"{where}: wanted a JSON object, got {shorten(json.dumps(entries))}"
            for name, value in (entries or {}).items():
                if words := _entry_words(field, value):
                    return f"{where}.{name}: {words}"
    return ""


def _entry_words(field: str, value: Any) -> str:
    """Return what is wrong with the value of an entry of a map; empty if nothing is."""
    got = f"got {shorten(json.dumps(value))}"
    if field == "categories":
        values = value.get("values", []) if isinstance(value, dict) else None
        is_good = isinstance(values, list) and all(isinstance(each, str) for each in values)
        return "" if is_good else f'wanted an object such as {{"values": ["bread"]}}, {got}'
    if field == "vectors":
        values = value.get("values", []) if isinstance(value, dict) else None
        is_good = isinstance(values, list) and all(_is_number(each) and _fits_32_bits(each) for each in values)
        return "" if is_good else f'wanted an object such as {{"values": [0.25, -1.5]}}, {got}'
    if field == "numbers":
        return "" if _is_number(value) else f"wanted a number, {got}"
    return "" if isinstance(value, str) else f"wanted text in quotes, {got}"


def _is_number(value: Any) -> bool:
    if isinstance(value, str):  # protobuf's JSON mapping takes numbers in quotes.
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fits_32_bits(value: Any) -> bool:
    # protobuf refuses a larger float, and the event with it; NaN and infinite ones it takes, and others refuse them.
    number = float(value)
    return abs(number) <= MAX_NUMBER or not math.isfinite(number)


def _name_words(found: dict[str, Any]) -> str:
    """Return what is said of fields that are inside something, not inside anything, or called otherwise."""
    for wrapper in ("payload", "event", "data", "value", "message"):
        inner = found.get(wrapper)
        if isinstance(inner, dict) and inner.keys() & {*_IDS, *map(_snake, _IDS), "batch"}:
            way_out = ": set value.converter.schemas.enable=false of Kafka Connect" if "schema" in found else ""
            return f"the event is inside {wrapper!r}: send what is in it{way_out}"
    if "schema" in found and isinstance(found.get("payload"), dict):
        return (
            "it is a row of Kafka Connect with its schema, and no event: wanted interaction, nodeUpsert, relation, "
            "nodeDelete or batch"
        )
    flat = {_OTHER_NAMES.get(name, name) for name in found}
    if {"user", "item"} <= flat:
        return (
            "user, item and type stand outside 'interaction': wanted "
            f'{{"eventTime": {_TIME_EXAMPLE}, "interaction": {{"user": "ann", "item": "bread", "type": "purchase"}}}}'
        )
    interaction = found.get("interaction")
    wanted = {"user", "item", "type", "value", "context", "recommendationId"}
    for name in interaction if isinstance(interaction, dict) else ():
        other = _OTHER_NAMES.get(name)
        if other in wanted and name not in wanted:
            return f"interaction: no field named {name!r}: it is called {other!r}"
    if "eventTime" not in found and "event_time" not in found:
        for name in found:
            if _OTHER_NAMES.get(name) == "eventTime":
                return f"no field named {name!r}: the time of the event is called 'eventTime'"
    return ""


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _envelope_words(found: Any) -> str:
    if not isinstance(found, dict):
        return ""
    payload = found.get("payload", found)
    if isinstance(payload, dict) and "op" in payload and ("before" in payload or "after" in payload):
        return "it is a change event of Debezium: list the decoder debezium, with its tables, in [events.decoders]"
    if "specversion" in found:
        return "it is a CloudEvent: list the decoder cloudevents in [events.decoders]"
    return ""
