"""Decoding a record's bytes to an event message: protobuf, or JSON in protobuf's JSON mapping, as the header says."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from springtide.errors import EventRefusedError
from springtide.events.json_words import describe_bad_json, describe_unmarked, without_bad_attributes
from springtide.events.limits import shorten
from springtide.v1 import events_pb2

CONTENT_TYPE = "content-type"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"


class BadAttributesError(EventRefusedError):
    """Raised when attributes of an upsert cannot be decoded, and the rest of it can.

    Attributes:
        rest: The upsert without them.
    """

    def __init__(self, message: str, rest: events_pb2.Event) -> None:
        super().__init__("wrong_attribute_kind", message)
        self.rest = rest


Codec = Callable[[bytes], events_pb2.Event]


def parse_protobuf(value: bytes) -> events_pb2.Event:
    """Parse a serialized ``springtide.v1.Event``.

    Raises:
        EventRefusedError: If the bytes are something else.
    """
    try:
        return events_pb2.Event.FromString(value)
    except DecodeError as error:
        seen = describe_unmarked(value) or str(error)
        raise EventRefusedError(
            "undecodable", f"wanted a serialized springtide.v1.Event, got {len(value)} other bytes: {seen}"
        ) from error


def parse_json(value: bytes) -> events_pb2.Event:
    """Parse a ``springtide.v1.Event`` in protobuf's JSON mapping.

    Raises:
        BadAttributesError: If it is an upsert, and only some of its attributes are wrong.
        EventRefusedError: If the bytes are something else, or have a field that an event does not have.
    """
    try:
        return json_format.Parse(value.decode("utf-8-sig"), events_pb2.Event())
    except (json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        # json_format raises several kinds of errors: for bad UTF-8, lone surrogates, long numbers, deep nesting, lists
        # in place of objects.
        rest, problems = without_bad_attributes(value)
        if problems:
            with contextlib.suppress(json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError):
                good = json_format.ParseDict(rest, events_pb2.Event())
                raise BadAttributesError("; ".join(problems), good) from error
        if is_event(value):
            message = "wanted JSON, got a serialized springtide.v1.Event: its content-type is application/x-protobuf"
        else:
            message = describe_bad_json(value, error)
        raise EventRefusedError("undecodable", message) from error


def is_event(value: bytes) -> bool:
    """Return whether bytes are a serialized ``springtide.v1.Event`` with a payload."""
    try:
        return events_pb2.Event.FromString(value).WhichOneof("payload") is not None
    except DecodeError:
        return False


CODECS: Mapping[str, Codec] = {
    PROTOBUF: parse_protobuf,
    "application/protobuf": parse_protobuf,
    "application/vnd.google.protobuf": parse_protobuf,
    JSON: parse_json,
}


def content_type_of(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    """Return the content type that the headers name, in lower case and without parameters; None if none does."""
    for name, value in headers:
        if name.lower() == CONTENT_TYPE:
            return (value or b"").decode("latin-1").partition(";")[0].strip().lower()
    return None


def find_codec(headers: Sequence[tuple[str, bytes | None]]) -> Codec:
    """Return the codec for a record with these headers; protobuf if no header gives the content type.

    Raises:
        EventRefusedError: If there is no codec for the content type.
    """
    content_type = content_type_of(headers)
    if content_type is None:
        return parse_protobuf
    codec = CODECS.get(content_type)
    if codec is None:
        raise EventRefusedError(
            "unknown_content_type",
            f"header {CONTENT_TYPE}: no codec for {shorten(content_type)} (choices: {', '.join(CODECS)})",
        )
    return codec
