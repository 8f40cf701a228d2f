"""A decoder: a line of user, item, type and seconds since 1970, with bars between."""

from collections.abc import Callable, Sequence

from springtide.errors import EventRefusedError
from springtide.plugins.contracts import DecoderFactory, EventDecoder, RawEvent
from springtide.plugins.hookspecs import hookimpl
from springtide.v1.events_pb2 import Event


class MyPart(EventDecoder):
    """Reads ``ann|bread|purchase|1706725800`` as an interaction.

    Args:
        separator: What stands between the columns.
    """

    content_types = ("text/x-my-part",)

    def __init__(self, separator: str = "|") -> None:
        self.separator = separator

    def decode(self, record: RawEvent) -> Sequence[Event]:
        """Return the interaction."""
        try:
            user, item, type_name, seconds = (record.value or b"").decode().split(self.separator)
            event = Event(interaction={"user": user, "item": item, "type": type_name})
            event.event_time.FromSeconds(int(seconds))
        except ValueError as error:
            columns = self.separator.join(("user", "item", "type", "seconds"))
            raise EventRefusedError("undecodable", f"wanted {columns}, got {record.value!r}: {error}") from error
        return [event]

    def examples(self) -> Sequence[RawEvent]:
        """Return a record that it reads."""
        line = self.separator.join(("ann", "bread", "purchase", "1706725800"))
        return [RawEvent(line.encode(), headers=(("content-type", b"text/x-my-part"),))]


@hookimpl
def register_decoders(register: Callable[[str, DecoderFactory], None]) -> None:
    """Register the decoder."""
    register("my_part", MyPart)
