"""The limits of events, and the reasons for which events are refused."""

from collections.abc import Collection, Mapping, Sequence

from springtide.errors import EventRefusedError
from springtide.settings.model import EventSettings

REASONS: Mapping[str, str] = {
    "bad_batch": "the columns of a packed batch do not fit together",
    "bad_weight": "a relation's weight is not above 0",
    "broken_batch": "a batch of records cannot be read: its compression or its checksum is broken",
    "broken_record": "a record has not Kafka's format, or a header whose name is not UTF-8",
    "context_too_large": "a context map has too many entries, or an entry is too long",
    "empty_id": "an id, a type or a name is empty",
    "empty_payload": "the record has no value, or the event has no payload",
    "future_time": "the event time is too far in the future",
    "id_too_long": "an id, a type or a name is too long",
    "missing_time": "the event has no time",
    "missing_value": "the rules of the interaction's type compare its value, and it has none",
    "not_finite": "a number is NaN, infinite, or too large for 32 bits",
    "oversize": "the record is too large",
    "poison": "applying the event failed, by a mistake of Springtide's or of a plugin's",
    "text_too_long": "a text attribute is too long",
    "time_out_of_range": "the event time is before the year 1",
    "too_many_attributes": "a node has too many attributes, or brings more names of attributes than its type may have",
    "too_many_types": "the event brings more node types or relations than there may be",
    "too_many_values": "a category attribute has too many values",
    "undecodable": "the bytes do not match the content type",
    "unknown_content_type": "there is no codec for the content type",
    "unknown_type": "there is no rule for interactions of this type",
    "vector_too_long": "a vector attribute has too many numbers",
    "wrong_attribute_kind": "an attribute has another kind than the settings say, or than most nodes have",
    "wrong_vector_length": "a vector attribute has another length than the first one of its name",
}

EARLIEST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00Z, where protobuf's Timestamp begins.
MAX_NUMBER = 3.4028234e38  # The largest float32: numbers are kept in 32 bits.
MIN_WEIGHT = 1.2e-38  # The smallest normal float32: a smaller weight would be 0, or slow to compute with.
_MAX_SHOWN = 80  # Characters of a bad value that a message shows.


class Limits:
    """The limits of the settings, and checks of values against them.

    Every check raises EventRefusedError if the value is bad; ``field`` is the path that its message names.
    """

    def __init__(self, settings: EventSettings) -> None:
        self.max_future_ms = int(settings.max_future_s * 1_000)
        self.max_id_bytes = settings.max_id_bytes
        self.max_text_bytes = settings.max_text_bytes
        self.max_event_bytes = settings.max_event_bytes
        self.max_context_entries = settings.max_context_entries
        self.max_attributes = settings.max_attributes
        self.max_attribute_names = settings.max_attribute_names
        self.max_category_values = settings.max_category_values
        self.max_vector_length = settings.max_vector_length
        self.max_types = settings.max_types
        # A character takes at most 4 bytes of UTF-8, so that shorter ids fit without being encoded.
        self.surely_short_id = settings.max_id_bytes // 4

    def check_id(self, field: str, value: str) -> None:
        """Refuse an id, a type or a name that is empty, blank or too long."""
        if not value or value.isspace():
            raise EventRefusedError("empty_id", f"{field}: wanted at least one visible character, got {value!r}")
        if len(value) > self.surely_short_id:
            num_bytes = len(value.encode())
            if num_bytes > self.max_id_bytes:
                raise EventRefusedError(
                    "id_too_long",
                    f"{field}: wanted at most {self.max_id_bytes} bytes, got {num_bytes}: {shorten(value)}",
                )

    def check_number(self, field: str, value: float) -> None:
        """Refuse a number that is NaN or infinite, or becomes infinite in 32 bits."""
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise EventRefusedError("not_finite", f"{field}: wanted a finite number in 32 bits, got {value}")

    def check_text(self, field: str, value: str) -> None:
        """Refuse text that is too long; it may be empty."""
        num_bytes = len(value.encode())
        if num_bytes > self.max_text_bytes:
            raise EventRefusedError(
                "text_too_long", f"{field}: wanted at most {self.max_text_bytes} bytes, got {num_bytes}"
            )

    def check_vector(self, field: str, values: Sequence[float]) -> None:
        """Refuse a vector that is too long, or has a number that is NaN or infinite in 32 bits; it may be empty."""
        if len(values) > self.max_vector_length:
            raise EventRefusedError(
                "vector_too_long",
                f"{field}: wanted at most {self.max_vector_length} numbers (events.max_vector_length), got "
                f"{len(values)}",
            )
        for position, value in enumerate(values):
            if not -MAX_NUMBER <= value <= MAX_NUMBER:
                self.check_number(f"{field}[{position}]", value)

    def check_num_attributes(self, names: Collection[str]) -> None:
        """Refuse a node with too many attributes: which of them to take would be anybody's guess."""
        if len(names) > self.max_attributes:
            first = sorted(names)[self.max_attributes]
            raise EventRefusedError(
                "too_many_attributes",
                f"node_upsert: wanted at most {self.max_attributes} attributes (events.max_attributes), got "
                f"{len(names)}; in the order of their names, {shorten(first)} is the first beyond",
            )

    def check_num_values(self, field: str, values: Sequence[str]) -> None:
        """Refuse a category attribute with too many values."""
        if len(values) > self.max_category_values:
            raise EventRefusedError(
                "too_many_values",
                f"{field}: wanted at most {self.max_category_values} values (events.max_category_values), got "
                f"{len(values)}; {shorten(values[self.max_category_values])} is the first beyond",
            )

    def check_time(self, timestamp_ms: int, now_ms: int) -> None:
        """Refuse a time that is too far in the future, or before the year 1."""
        if timestamp_ms > now_ms + self.max_future_ms:
            raise EventRefusedError(
                "future_time",
                f"event_time: wanted at most {self.max_future_ms} ms after now ({now_ms}), "
                f"got {timestamp_ms} (milliseconds since 1970)",
            )
        if timestamp_ms < EARLIEST_MS:
            raise EventRefusedError(
                "time_out_of_range", f"event_time: wanted the year 1 or later, got {timestamp_ms} ms"
            )

    def check_context(self, context: Mapping[str, str]) -> None:
        """Refuse a context map with too many entries, an entry that is too long, or an empty name."""
        if len(context) > self.max_context_entries:
            raise EventRefusedError(
                "context_too_large",
                f"interaction.context: wanted at most {self.max_context_entries} entries, got {len(context)}",
            )
        for name, value in context.items():
            if not name:
                raise EventRefusedError(
                    "empty_id", "interaction.context: wanted names of at least one character, got ''"
                )
            if len(name.encode()) > self.max_id_bytes or len(value.encode()) > self.max_text_bytes:
                raise EventRefusedError(
                    "context_too_large",
                    f"interaction.context[{shorten(name)}]: wanted a name of at most {self.max_id_bytes} bytes "
                    f"and a value of at most {self.max_text_bytes}",
                )


def shorten(value: str) -> str:
    """Return the value quoted, and cut to a length that fits into a message."""
    return repr(value) if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]!r}…"
