"""Events from JSON objects: which field of an object becomes which field of an event."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from springtide.errors import EventRefusedError
from springtide.events.limits import MAX_NUMBER, shorten
from springtide.v1.events_pb2 import Event, FloatList, Interaction, NodeDelete, NodeUpsert, Relation, StringList

Row = Mapping[str, Any]
TimeUnit = Literal["auto", "days", "s", "ms", "us", "ns"]
Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]

_NS_PER_UNIT: Mapping[TimeUnit, int] = {"days": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_AUTO: tuple[tuple[int, TimeUnit], ...] = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
"""The unit of numbers below a bound, which is the year 5138 in this unit and 1973 in the next."""
_MIN_AUTO = 10**8  # March 1973 in seconds: a smaller number is in days, in hours, or no time.
_MAX_SECONDS = 253_402_300_799  # The end of the year 9999, where protobuf's Timestamp ends.
_MIN_SECONDS = -62_135_596_800
_EXAMPLE_TIME = "2024-01-31T18:30:00Z"
_MAX_EVENT_ID_BYTES = 256  # The default of events.max_id_bytes.


class _Fields(BaseModel):
    """What all mappings share.

    Attributes:
        time: Field with the event's time; empty for the envelope's.
        time_unit: Unit of a time that is a number since 1970; ``auto`` goes by its size.
        event_id: Field with the event's id; empty for the envelope's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: str = ""
    time_unit: TimeUnit = "auto"
    event_id: str = ""

    def event_of(self, row: Row, event_id: str, timestamp_ns: int | None) -> Event:
        """Return the event of a row.

        Args:
            row: The JSON object.
            event_id: The envelope's id.
            timestamp_ns: The envelope's time, nanoseconds since 1970; None if it has none.

        Raises:
            EventRefusedError: If a field is missing, or is not of its kind.
        """
        try:
            event = self._payload(row)
        except ValueError as error:  # Half of a surrogate pair, which JSON can write and UTF-8 cannot.
            raise EventRefusedError("undecodable", f"wanted text in Unicode: {error}") from error
        if self.time:
            timestamp_ns = time_of(_field(row, self.time), self.time_unit, self.time)
        if timestamp_ns is None:
            raise EventRefusedError("missing_time", "wanted a time, got none: neither the envelope nor `time` gives it")
        event.event_time.seconds, event.event_time.nanos = divmod(timestamp_ns, 10**9)
        event.event_id = _id(row, self.event_id) if self.event_id else event_id
        return event

    def example(self) -> dict[str, Any]:
        """Return a row that has all fields."""
        row: dict[str, Any] = {}
        for name, value in self._example_fields().items():
            if name:
                *parents, last = name.split(".")
                inner = row
                for parent in parents:
                    inner = inner.setdefault(parent, {})
                inner[last] = value
        return row

    def _payload(self, row: Row) -> Event:
        """Return an event with its payload alone; each subclass makes one kind."""
        raise NotImplementedError

    def _example_fields(self) -> dict[str, Any]:
        return {self.time: _EXAMPLE_TIME, self.event_id: "e1"}


class InteractionFields(_Fields):
    """A row is an interaction.

    Attributes:
        user: Field with the user's id.
        item: Field with the item's id.
        type: The interaction type of all rows; or
        type_field: the field with the type.
        value: Field with the rating or quantity; empty for none.
        recommendation_id: Field with the id of the answer in which the user met the item; empty for none.
        context: Fields that go into the context, by their last names.
    """

    event: Literal["interaction"]
    user: Name
    item: Name
    type: str = ""
    type_field: str = ""
    value: str = ""
    recommendation_id: str = ""
    context: Names = ()

    @model_validator(mode="after")
    def _has_one_type(self) -> "InteractionFields":
        if bool(self.type) == bool(self.type_field):
            raise ValueError("wanted either type, such as purchase, or type_field, the field that holds it")
        return self

    def _payload(self, row: Row) -> Event:
        value = _field(row, self.value) if self.value else None
        answer_id = _field(row, self.recommendation_id) if self.recommendation_id else None
        return Event(
            interaction=Interaction(
                user=_id(row, self.user),
                item=_id(row, self.item),
                type=self.type or _id(row, self.type_field),
                value=None if value is None else _number(value, self.value),
                recommendation_id="" if answer_id is None else _id(row, self.recommendation_id),
                context={
                    name.rpartition(".")[2]: _text(found, name)
                    for name in self.context
                    if (found := _field(row, name)) is not None
                },
            )
        )

    def _example_fields(self) -> dict[str, Any]:
        ids = {self.user: "ann", self.item: "bread", self.type_field: "purchase", self.value: 1}
        ids[self.recommendation_id] = "r1"
        return {**super()._example_fields(), **ids, **dict.fromkeys(self.context, "x")}


class NodeFields(_Fields):
    """A row is a node with attributes.

    Attributes:
        node_type: The node's type, such as ``item``.
        id: Field with its id.
        categories: Fields that are categorical attributes; a list has several values, null clears the attribute.
        numbers: Fields that are numbers; null changes nothing.
        texts: Fields that are texts; null changes nothing.
        vectors: Fields that are lists of numbers, or texts that are such lists in JSON, as pgvector writes them; null
            changes nothing, and an empty list clears the attribute.
        on_delete: Whether a deleted row forgets the node.
    """

    event: Literal["node_upsert"]
    node_type: Name
    id: Name
    categories: Names = ()
    numbers: Names = ()
    texts: Names = ()
    vectors: Names = ()
    on_delete: Literal["forget", "ignore"] = "forget"

    def _payload(self, row: Row) -> Event:
        def present(names: Names) -> dict[str, Any]:
            return {name: found for name in names if (found := _field(row, name)) is not None}

        return Event(
            node_upsert=NodeUpsert(
                type=self.node_type,
                id=_id(row, self.id),
                categories={name: StringList(values=_texts(row, name)) for name in self.categories if _has(row, name)},
                numbers={name: _number(found, name) for name, found in present(self.numbers).items()},
                texts={name: _text(found, name) for name, found in present(self.texts).items()},
                vectors={name: FloatList(values=_vector(found, name)) for name, found in present(self.vectors).items()},
            )
        )

    def deletion_of(self, row: Row, event_id: str, timestamp_ns: int | None) -> Event:
        """Return the event that forgets the row's node; see ``event_of``."""
        delete = NodeDeleteFields(event="node_delete", node_type=self.node_type, id=self.id)
        return delete.event_of(row, event_id, timestamp_ns)

    def _example_fields(self) -> dict[str, Any]:
        attributes: dict[str, Any] = dict.fromkeys((*self.categories, *self.texts), "x")
        attributes |= dict.fromkeys(self.numbers, 1) | {name: [0.5, 1] for name in self.vectors}
        return {**super()._example_fields(), **attributes, self.id: "bread"}


class NodeDeleteFields(_Fields):
    """A row names a node to forget.

    Attributes:
        node_type: The node's type.
        id: Field with its id.
    """

    event: Literal["node_delete"]
    node_type: Name
    id: Name

    def _payload(self, row: Row) -> Event:
        return Event(node_delete=NodeDelete(type=self.node_type, id=_id(row, self.id)))

    def _example_fields(self) -> dict[str, Any]:
        return {**super()._example_fields(), self.id: "bread"}


class RelationFields(_Fields):
    """A row is an edge between two nodes.

    Attributes:
        source_type: Type of the source.
        source: Field with its id.
        relation: Name of the relation.
        target_type: Type of the target.
        target: Field with its id.
        weight: Field with the weight; empty for 1.
    """

    event: Literal["relation"]
    source_type: Name
    source: Name
    relation: Name
    target_type: Name
    target: Name
    weight: str = ""

    def _payload(self, row: Row) -> Event:
        weight = _field(row, self.weight) if self.weight else None
        return Event(
            relation=Relation(
                source_type=self.source_type,
                source_id=_id(row, self.source),
                relation=self.relation,
                target_type=self.target_type,
                target_id=_id(row, self.target),
                weight=None if weight is None else _number(weight, self.weight),
            )
        )

    def _example_fields(self) -> dict[str, Any]:
        return {**super()._example_fields(), self.source: "bread", self.target: "1", self.weight: 1}


EventMapping = Annotated[
    InteractionFields | NodeFields | NodeDeleteFields | RelationFields, Field(discriminator="event")
]
"""How a JSON object becomes an event."""


def short_event_id(event_id: str) -> str:
    """Return an id that fits: itself, or a digest of it if it is longer than 256 bytes."""
    encoded = event_id.encode(errors="replace")
    if len(encoded) <= _MAX_EVENT_ID_BYTES:
        return encoded.decode()
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def parse_object(value: bytes | str, what: str) -> dict[str, Any]:
    """Parse a JSON object; whole numbers keep all their digits.

    Raises:
        EventRefusedError: If it is something else.
    """
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise EventRefusedError("undecodable", f"{what}: wanted a JSON object: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise EventRefusedError("undecodable", f"{what}: wanted a JSON object, got {shorten(json.dumps(found))}")
    return found


def time_of(value: Any, unit: TimeUnit, name: str) -> int:
    """Return a time in nanoseconds since 1970: a number in the unit, or RFC 3339 text with a zone.

    Raises:
        EventRefusedError: If it is neither.
    """
    wanted = f"{name}: wanted a number since 1970, or a time with its zone such as {_EXAMPLE_TIME}"
    if isinstance(value, str):
        try:
            time = dt.datetime.fromisoformat(value)
        except ValueError:
            raise EventRefusedError("missing_time", f"{wanted}, got {shorten(value)}") from None
        if time.tzinfo is None:
            kind = "a date without a time of day" if len(value) <= len("2024-01-31") else "a time without a zone"
            raise EventRefusedError("missing_time", f"{wanted}, got {kind}: {value!r}")
        since = time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        timestamp_ns = ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 10**3
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**21:
        if unit == "auto":
            if abs(value) < _MIN_AUTO:
                raise EventRefusedError("missing_time", f"{name}: got {value}, whose unit is in doubt: set time_unit")
            unit = next((unit for bound, unit in _AUTO if abs(value) < bound), "ns")
        timestamp_ns = round(value * _NS_PER_UNIT[unit])
    else:
        raise EventRefusedError("missing_time", f"{wanted}, got {shorten(json.dumps(value))}")
    if not _MIN_SECONDS <= timestamp_ns // 10**9 <= _MAX_SECONDS:
        raise EventRefusedError("time_out_of_range", f"{name}: wanted a time in the years 1 to 9999, got {value}")
    return timestamp_ns


def _field(row: Row, name: str) -> Any:
    """Return a field by its name, or by its path with dots; None if there is none."""
    if name in row:
        return row[name]
    found: Any = row
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _has(row: Row, name: str) -> bool:
    *parents, last = name.split(".")
    parent = _field(row, ".".join(parents)) if parents else row
    return name in row or (isinstance(parent, Mapping) and last in parent)


def _id(row: Row, name: str) -> str:
    value = _field(row, name)
    if isinstance(value, Mapping) and len(value) == 1:  # MongoDB's {"$oid": "…"} and {"$numberLong": "…"}.
        ((key, inner),) = value.items()
        value = inner if key.startswith("$") else value
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        fields = ", ".join(list(row)[:20]) or "none"
        raise EventRefusedError("empty_id", f"{name}: wanted an id, got none (fields: {fields})")
    raise EventRefusedError(
        "empty_id", f"{name}: wanted an id as text or a whole number, got {shorten(json.dumps(value, default=str))}"
    )


def _number(value: Any, name: str) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    elif isinstance(value, bool):
        return float(value)
    elif isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            pass
    raise EventRefusedError("not_finite", f"{name}: wanted a number, got {shorten(json.dumps(value, default=str))}")


def _vector(value: Any, name: str) -> list[float]:
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, list):
        raise EventRefusedError(
            "undecodable", f"{name}: wanted a list of numbers, got {shorten(json.dumps(value, default=str))}"
        )
    numbers = [_number(each, f"{name}[{position}]") for position, each in enumerate(found)]
    for position, number in enumerate(numbers):
        if not -MAX_NUMBER <= number <= MAX_NUMBER:  # A larger one would be infinite in the event, and NaN is none.
            raise EventRefusedError(
                "not_finite", f"{name}[{position}]: wanted a finite number in 32 bits, got {number}"
            )
    return numbers


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    raise EventRefusedError("undecodable", f"{name}: wanted text, got {shorten(json.dumps(value, default=str))}")


def _texts(row: Row, name: str) -> list[str]:
    value = _field(row, name)
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [_text(each, name) for each in values]
