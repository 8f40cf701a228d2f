"""What an event must keep to, and the reasons for which one is refused."""

from collections.abc import Mapping

from springtide.errors import EventRefusedError
from springtide.settings.model import EventSettings

REASONS: Mapping[str, str] = {
    "bad_batch": "the columns of a packed batch do not fit together",
    "bad_weight": "a relation's weight is not above 0",
    "context_too_large": "a context map has too many entries, or too long ones",
    "empty_id": "an id, a type or a name is empty",
    "empty_payload": "the record says nothing: no value, or no payload in it",
    "future_time": "the event time lies further in the future than is tolerated",
    "id_too_long": "an id, a type or a name is too long",
    "missing_time": "there is no event time",
    "missing_value": "the interaction's type is told apart by its value, and there is none",
    "not_finite": "a number is NaN, infinite, or too large for 32 bits",
    "oversize": "the record is too large",
    "text_too_long": "a text attribute is too long",
    "time_out_of_range": "the event time lies before the year 1",
    "undecodable": "the bytes are not what the content type says",
    "unknown_content_type": "nothing can decode the content type",
    "unknown_type": "no rule takes interactions of this type",
    "wrong_attribute_kind": "the attribute was of another kind before",
}

EARLIEST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00Z, where protobuf's Timestamp begins.
MAX_NUMBER = 3.4028234e38  # The largest float32: numbers are kept in 32 bits.
MIN_WEIGHT = 1.2e-38  # The smallest normal float32: below it a weight would be nothing, or slow.
_MAX_SHOWN = 80  # Characters of an offending value that a message repeats.


class Limits:
    """The settings' bounds, and the checks that hold values to them.

    Every check returns nothing and raises EventRefusedError; ``field`` is the path that its message names.
    """

    def __init__(self, settings: EventSettings) -> None:
        self.max_future_ms = int(settings.max_future_s * 1_000)
        self.max_id_bytes = settings.max_id_bytes
        self.max_text_bytes = settings.max_text_bytes
        self.max_event_bytes = settings.max_event_bytes
        self.max_context_entries = settings.max_context_entries
        # A character takes at most 4 bytes of UTF-8: what is this short need not be encoded to be measured.
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
        """Refuse what is NaN or infinite, also once it is kept in 32 bits."""
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise EventRefusedError("not_finite", f"{field}: wanted a finite number of 32 bits, got {value}")

    def check_text(self, field: str, value: str) -> None:
        """Refuse text that is too long; it may be empty."""
        num_bytes = len(value.encode())
        if num_bytes > self.max_text_bytes:
            raise EventRefusedError(
                "text_too_long", f"{field}: wanted at most {self.max_text_bytes} bytes, got {num_bytes}"
            )

    def check_time(self, timestamp_ms: int, now_ms: int) -> None:
        """Refuse a time too far in the future, or before the year 1."""
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
        """Refuse a context map with too many entries, with too long ones, or with an empty name."""
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
    """Return the value quoted, cut to what a message can carry."""
    return repr(value) if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]!r}…"
