"""Change events of a database, as Debezium's connectors write them with the JSON converter."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from springtide.errors import EventRefusedError
from springtide.events.codecs import content_type_of
from springtide.plugins.contracts import EventDecoder, RawEvent
from springtide.v1.events_pb2 import Event
from springtide_plugins.decoders.mapping import (
    EventMapping,
    InteractionFields,
    NodeFields,
    parse_object,
    short_event_id,
)

_CREATED, _UPDATED, _DELETED, _SNAPSHOT = "c", "u", "d", "r"
_TRUNCATED, _MESSAGE = "t", "m"
_POSITION = (  # Where the change stands in the database's log, by connector; what it lacks is left out.
    *("lsn", "txId", "sequence"),  # PostgreSQL
    *("gtid", "file", "pos", "row"),  # MySQL, MariaDB
    *("change_lsn", "commit_lsn", "event_serial_no"),  # SQL Server
    *("scn", "commit_scn", "ssn", "rs_id"),  # Oracle
    *("ord", "stripeAudit", "wallTime"),  # MongoDB
)
_NS_PER_UNIT = {  # Schemas of columns that hold a time, to nanoseconds a unit.
    "io.debezium.time.Date": 86_400 * 10**9,
    "io.debezium.time.Timestamp": 10**6,
    "io.debezium.time.MicroTimestamp": 10**3,
    "io.debezium.time.NanoTimestamp": 1,
    "org.apache.kafka.connect.data.Date": 86_400 * 10**9,
    "org.apache.kafka.connect.data.Timestamp": 10**6,
}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_VARIABLE_DECIMAL = "io.debezium.data.VariableScaleDecimal"
# PostgreSQL does not log a large column that did not change; the second is the first in base64.
_UNAVAILABLE = ("__debezium_unavailable_value", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==")
_KEY_STARTS = (b"{", b"Struct{", b"\0")  # Keys by the converters for JSON, for text, and of a schema registry.
_OF_OTHERS = ("status", "ddl", "tableChanges")  # Fields of transaction boundaries and of schema changes.


class Debezium(EventDecoder):
    """Reads Debezium's change events, with their schema or without: each row becomes an event as ``tables`` says.

    Rows that the transform ``ExtractNewRecordState`` has flattened are read, too, if it adds the fields ``op`` and
    ``table`` (``add.fields=op,table,source.ts_ms,source.lsn``).

    A created row, or one of a snapshot, is an event. A changed row is one only if it is a node or a relation. A deleted
    row forgets its node. Tombstones, and the ends of transactions, are passed over. The time is the database's, unless
    the table names a column; a snapshot's is that of the snapshot. Numbers and times of MongoDB's documents are read as
    JSON has them (``$numberDecimal``, ``$date``), without their types. The id of an event is the change's position in
    the database's log, with the row's key.

    Args:
        tables: By table, as ``schema.table``, ``database.table`` or its name alone: which columns become which event.
        other_tables: Whether changes of other tables go to the dead letters, or are passed over.
    """

    def __init__(
        self,
        tables: dict[str, EventMapping] = {},  # noqa: B006  # never changed; shown as {}
        other_tables: Literal["refuse", "ignore"] = "refuse",
    ) -> None:
        self.tables = tables
        self.other_tables = other_tables

    def recognises(self, record: RawEvent) -> bool:
        """Return whether it is a JSON object with ``op`` and ``source``, or a tombstone: a key without a value."""
        value = record.value
        if not value:
            return value is None and (record.key or b"").lstrip().startswith(_KEY_STARTS)
        is_change = (b'"op"' in value and b'"source"' in value) or (b'"__op"' in value and b'"__table"' in value)
        if value[:64].lstrip()[:1] != b"{" or not is_change:
            return False
        content_type = content_type_of(record.headers)
        return content_type is None or content_type == "application/json"

    def decode(self, record: RawEvent) -> Sequence[Event]:
        """Return the events of a change."""
        if not record.value:
            return ()  # A tombstone, for log compaction: the deletion came before it.
        envelope = parse_object(record.value, "change event")
        schema, change = envelope.get("schema"), envelope
        if "payload" in envelope and "op" not in envelope and "__op" not in envelope:
            change = envelope["payload"]
            if change is None:
                return ()
            if not isinstance(change, dict):
                raise _refusal(f"wanted payload to be a JSON object, got {type(change).__name__}")
        if "op" not in change and "__op" in change:
            change, schema = _unflattened(change), None
        op, source = change.get("op"), change.get("source")
        if op is None and any(name in change for name in _OF_OTHERS):
            return ()
        if not isinstance(op, str) or not isinstance(source, Mapping):
            raise _refusal(f"wanted op and source, as Debezium writes them, got op {op!r}")
        if op == _MESSAGE:
            return ()
        name, mapping = self._table_of(source)
        if mapping is None:
            return ()
        if op == _TRUNCATED:
            raise _refusal(f"table {name} was emptied (op t): which rows it had is not known; delete them one by one")
        if op not in (_CREATED, _UPDATED, _DELETED, _SNAPSHOT):
            raise _refusal(f"wanted an op of c, u, d, r, got {op!r}")
        if op == _UPDATED and isinstance(mapping, InteractionFields):
            return ()
        if op == _DELETED and not (isinstance(mapping, NodeFields) and mapping.on_delete == "forget"):
            return ()
        side = "before" if op == _DELETED else "after"
        row = _row_of(change.get(side), side, op, schema, None if op != _DELETED else _key_of(record.key, source))
        event_id = _event_id(source, name, op, record.key, row)
        time = _first_number(source.get("ts_ms"), change.get("ts_ms"))
        timestamp_ns = None if time is None else time * 10**6
        if op == _DELETED and isinstance(mapping, NodeFields):
            return (mapping.deletion_of(row, event_id, timestamp_ns),)
        return (mapping.event_of(row, event_id, timestamp_ns),)

    def examples(self) -> Sequence[RawEvent]:
        """Return a tombstone, and for each table a created row, without and with its schema."""
        records = [RawEvent(None, key=b'{"id":1}')]
        for position, (table, mapping) in enumerate(self.tables.items()):
            schema, _, name = table.rpartition(".")
            source: dict[str, Any] = {
                "connector": "postgresql",
                "name": "shop",
                "schema": schema or "public",
                "table": name,
            }
            source |= {"ts_ms": 1_706_725_800_000, "lsn": position}
            change = {"before": None, "after": mapping.example(), "source": source, "op": _CREATED, "ts_ms": 0}
            records += [
                RawEvent(json.dumps(value).encode(), key=b'{"id":1}')
                for value in (change, {"schema": {"type": "struct", "fields": []}, "payload": change})
            ]
        return records

    def _table_of(self, source: Mapping[str, Any]) -> tuple[str, EventMapping | None]:
        """Return the table's name, and its mapping; None if its changes are to be passed over."""
        table = source.get("table") or source.get("collection")
        if not isinstance(table, str):
            return "", None  # Such as a schema change, which has no table.
        parents = [source.get("db"), source.get("schema")]
        known = [parent for parent in parents if isinstance(parent, str) and parent]
        names = [".".join((*known, table)), *(f"{parent}.{table}" for parent in reversed(known)), table]
        for name in names:
            if name in self.tables:
                return name, self.tables[name]
        if self.other_tables == "ignore":
            return names[0], None
        choices = ", ".join(self.tables) or "none"
        raise _refusal(
            f"table {names[0]} is not in tables (choices: {choices}); other_tables = 'ignore' passes it over"
        )


def _unflattened(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the envelope of a row that ``ExtractNewRecordState`` has flattened; its own fields begin with ``__``."""
    row = {name: value for name, value in flat.items() if not name.startswith("__")}
    about = {name.removeprefix("__"): value for name, value in flat.items() if name.startswith("__")}
    source = {name.removeprefix("source_"): value for name, value in about.items()}
    op = _DELETED if str(about.get("deleted")).lower() == "true" else about["op"]
    return {"op": op, "source": source, "before": row, "after": row, "ts_ms": about.get("ts_ms")}


def _key_of(key: bytes | None, source: Mapping[str, Any]) -> Any:
    """Return what a record's key says of the row; None if there is no key."""
    if not key:
        return None
    found = parse_object(key, "key")
    fields = found["payload"] if isinstance(found.get("payload"), dict) else found
    if isinstance(source.get("collection"), str) and isinstance(fields.get("id"), str):
        # MongoDB's connector writes the document's _id as JSON in a text.
        return json.dumps({"_id": _json_or_text(fields["id"])})
    return fields


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _without_types(value: Any) -> Any:
    """Return a value of MongoDB's extended JSON, such as ``{"$numberLong": "5"}``, as JSON has it."""
    if isinstance(value, list):
        return [_without_types(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) != 1:
        return {name: _without_types(each) for name, each in value.items()}
    ((kind, inner),) = value.items()
    if not kind.startswith("$"):
        return {kind: _without_types(inner)}
    try:
        if kind in ("$numberLong", "$numberInt"):
            return int(inner)
        if kind == "$numberDouble":
            return float(inner)
        if kind == "$timestamp":
            return _as_text(int(inner["t"]) * 10**9)
        if kind == "$date":
            milliseconds = _without_types(inner)
            is_number = isinstance(milliseconds, int) and not isinstance(milliseconds, bool)
            return _as_text(milliseconds * 10**6) if is_number else milliseconds
    except (ValueError, TypeError, KeyError, OverflowError, EventRefusedError):
        return value  # It is refused if it is used.
    return inner if kind in ("$oid", "$uuid", "$symbol", "$numberDecimal") else value


def _row_of(row: Any, side: str, op: str, schema: Any, key: Any) -> Mapping[str, Any]:
    """Return the row before or after the change, with its columns as JSON would have them."""
    if row is None and op == _DELETED:  # Without REPLICA IDENTITY the key is all that is known.
        row = key
    if isinstance(row, str):  # MongoDB's connector writes the document as JSON in a text.
        row = _without_types(parse_object(row, side))
    if row is None and op == _UPDATED:
        raise _refusal(
            f"wanted the row in {side}, got none: set capture.mode of MongoDB's connector to change_streams_update_full"
        )
    if not isinstance(row, Mapping):
        raise _refusal(f"wanted the row in {side}, as op {op} has it, got {type(row).__name__}")
    row = {**row, **_converted(row, schema, side)}
    return {name: value for name, value in row.items() if value not in _UNAVAILABLE}


def _converted(row: Mapping[str, Any], schema: Any, side: str) -> dict[str, Any]:
    """Return the columns that the schema says how to read: decimals, and times in nanoseconds as text."""
    converted: dict[str, Any] = {}
    for field in _fields_of(schema, side):
        name, kind = str(field.get("field")), field.get("name")
        value = row.get(name)
        if value is None:
            continue
        if kind in _NS_PER_UNIT and isinstance(value, int):
            converted[name] = _as_text(value * _NS_PER_UNIT[kind])
        elif kind == _DECIMAL and isinstance(value, str):
            parameters = field.get("parameters")
            scale = parameters.get("scale") if isinstance(parameters, Mapping) else None
            converted[name] = _decimal(value, scale, name)
        elif kind == _VARIABLE_DECIMAL and isinstance(value, Mapping):
            converted[name] = _decimal(value.get("value"), value.get("scale"), name)
    return converted


def _fields_of(schema: Any, side: str) -> list[Mapping[str, Any]]:
    """Return the fields of ``before`` or ``after`` in a Connect schema; an empty list if there are none."""
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    for part in fields if isinstance(fields, list) else ():
        if isinstance(part, Mapping) and part.get("field") == side and isinstance(part.get("fields"), list):
            return [field for field in part["fields"] if isinstance(field, Mapping)]
    return []


def _as_text(timestamp_ns: int) -> str:
    event = Event()
    seconds, nanos = divmod(timestamp_ns, 10**9)
    event.event_time.seconds, event.event_time.nanos = seconds, nanos
    try:
        return event.event_time.ToJsonString()
    except ValueError as error:
        raise EventRefusedError("time_out_of_range", f"wanted a time in the years 1 to 9999: {error}") from error


def _decimal(value: Any, scale: Any, name: str) -> float | int:
    """Return Connect's Decimal: a big-endian number in base64, over a power of ten."""
    try:
        unscaled = int.from_bytes(base64.b64decode(value, validate=True), "big", signed=True)
        places = int(scale or 0)
        return unscaled if places == 0 else float(unscaled / 10**places)
    except (ValueError, TypeError, OverflowError) as error:
        raise _refusal(f"{name}: wanted a decimal as Connect writes it, got {value!r}: {error}") from error


def _event_id(source: Mapping[str, Any], table: str, op: str, key: bytes | None, row: Mapping[str, Any]) -> str:
    """Return an id that a change keeps when it is sent again: its place in the log, and which row it was.

    The place alone is not enough: all rows of a snapshot, and of a statement, may have the same.
    """
    position = [str(source[name]) for name in _POSITION if source.get(name) is not None]
    position = position or [str(source.get("ts_ms"))]
    written = key if key else json.dumps(row, sort_keys=True, default=str).encode()
    digest = hashlib.blake2b(written, digest_size=8).hexdigest()
    return short_event_id(" ".join((str(source.get("name", "")), table, op, *position, digest)))


def _first_number(*found: Any) -> int | None:
    return next(
        (value for value in found if isinstance(value, int) and not isinstance(value, bool) and value > 0), None
    )


def _refusal(message: str) -> EventRefusedError:
    return EventRefusedError("undecodable", f"change event: {message}")
