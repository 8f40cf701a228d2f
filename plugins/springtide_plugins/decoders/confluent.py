"""Records in the frame of a schema registry, as Confluent's serializers write them."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from springtide.errors import EventRefusedError
from springtide.events.codecs import CONTENT_TYPE, JSON, PROTOBUF, content_type_of
from springtide.plugins.contracts import EventDecoder, RawEvent

_MAGIC, _MAGIC_GUID = 0, 1
_SCHEMA_ID_BYTES, _GUID_BYTES = 4, 16
_GUID_HEADER = "__value_schema_id"  # Where newer serializers put the frame, if they are told to.
_MAX_INDEXES = 16  # Depth of a nested message.


class Confluent(EventDecoder):
    """Takes the frame of a schema registry off: protobuf or JSON Schema, its id in the value or in a header.

    The frame is a zero byte and the schema's id (four bytes), and for protobuf the path of the message in its file.
    What is inside is read as any other record, by another decoder or as an event. No registry is asked. Avro is not
    read: its bytes say nothing without their schema.

    Args:
        schema_ids: Ids that are accepted; empty accepts all.
        message_indexes: Path of the message in its proto file: 0 is the first, as ``Event`` is in ``events.proto``.
    """

    def __init__(
        self,
        schema_ids: tuple[Annotated[int, Field(ge=0)], ...] = (),
        message_indexes: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,),
    ) -> None:
        self.schema_ids = frozenset(schema_ids)
        self.message_indexes = message_indexes

    def recognises(self, record: RawEvent) -> bool:
        """Return whether the value begins with a zero byte, which no event does, or a header holds the frame."""
        if record.value and record.value[0] == _MAGIC:
            return True
        for name, _ in record.headers:  # noqa: SIM110  # `any` takes twice as long, for each record with headers.
            if name == _GUID_HEADER:
                return True
        return False

    def decode(self, record: RawEvent) -> RawEvent:
        """Return the record without the frame, and with the content type of what was in it."""
        value, headers = record.value or b"", record.headers
        frame = next((frame or b"" for name, frame in headers if name == _GUID_HEADER), None)
        if frame is not None:
            headers = [(name, header) for name, header in headers if name != _GUID_HEADER]
            size = _GUID_BYTES if frame[:1] == bytes([_MAGIC_GUID]) else _SCHEMA_ID_BYTES
            if len(frame) <= size or frame[0] not in (_MAGIC, _MAGIC_GUID):
                raise _refusal(f"wanted a schema's id in header {_GUID_HEADER}, got {frame[:24]!r}")
            self._check_schema_id(frame)
            if len(frame) > 1 + size:
                self._skip_indexes(frame, 1 + size)
            return _unframed(record, value, headers, is_json=len(frame) == 1 + size)
        body = 1 + _SCHEMA_ID_BYTES
        if len(value) <= body:
            raise _refusal(f"wanted a frame of {body} bytes and what is in it, got {len(value)} bytes")
        self._check_schema_id(value)
        # No path begins with a brace, which would be a negative number of indexes.
        is_json = value[body : body + 64].lstrip()[:1] in (b"{", b"[")
        start = body if is_json else self._skip_indexes(value, body)
        return _unframed(record, value[start:], headers, is_json=is_json)

    def examples(self) -> Sequence[RawEvent]:
        """Return an event in JSON and in protobuf: ann purchased bread."""
        schema_id = min(self.schema_ids, default=1).to_bytes(_SCHEMA_ID_BYTES, "big")
        json = b'{"interaction":{"user":"ann","item":"bread","type":"purchase"},"eventTime":"2024-01-31T18:30:00Z"}'
        protobuf = bytes.fromhex("1206088893eaad061a160a03616e6e120562726561641a087075726368617365")
        path = b"\0" if self.message_indexes == (0,) else _varints(len(self.message_indexes), *self.message_indexes)
        return [RawEvent(b"\0" + schema_id + json), RawEvent(b"\0" + schema_id + path + protobuf)]

    def _check_schema_id(self, frame: bytes) -> None:
        if self.schema_ids and frame[0] == _MAGIC:
            schema_id = int.from_bytes(frame[1 : 1 + _SCHEMA_ID_BYTES], "big")
            if schema_id not in self.schema_ids:
                choices = ", ".join(map(str, sorted(self.schema_ids)))
                raise _refusal(f"wanted one of the schema ids {choices} (schema_ids), got {schema_id}")

    def _skip_indexes(self, data: bytes, at: int) -> int:
        """Check the path of the message in its file; return where the message begins."""
        count, start = _read_varint(data, at)
        indexes: list[int] = [0] if count == 0 else []
        if not 0 <= count <= _MAX_INDEXES:
            raise _refusal("wanted protobuf with its message's path, or JSON, got other bytes (Avro is not read)")
        for _ in range(count):
            index, start = _read_varint(data, start)
            indexes.append(index)
        if tuple(indexes) != self.message_indexes:
            raise _refusal(
                f"wanted message {list(self.message_indexes)} of the proto file (message_indexes), got {indexes}: the "
                "record holds another message, or Avro, which is not read"
            )
        return start


def _unframed(
    record: RawEvent, value: bytes, headers: Sequence[tuple[str, bytes | None]], *, is_json: bool
) -> RawEvent:
    content_type = content_type_of(headers)
    # An envelope's own content type stays: it says what the JSON is.
    if content_type is None or is_json != ("json" in content_type):
        others = [(name, header) for name, header in headers if name.lower() != CONTENT_TYPE]
        headers = [*others, (CONTENT_TYPE, (JSON if is_json else PROTOBUF).encode())]
    return record._replace(value=value, headers=headers)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag varint; return it, and where it ends."""
    number = shift = 0
    while at < len(data) and shift <= 28:
        byte = data[at]
        number |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return (number >> 1) ^ -(number & 1), at
    raise _refusal("wanted the path of a protobuf message in its file, or JSON, got other bytes (Avro is not read)")


def _varints(*numbers: int) -> bytes:
    """Return small numbers as zigzag varints of one byte each."""
    return bytes(min(number, 63) << 1 for number in numbers)


def _refusal(message: str) -> EventRefusedError:
    return EventRefusedError("undecodable", f"schema registry frame: {message}")
