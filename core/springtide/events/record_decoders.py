"""The contract of decoders: reading records that other tools wrote."""

from collections.abc import Sequence

from springtide.events.codecs import content_type_of
from springtide.events.raw import RawEvent
from springtide.v1 import events_pb2


class EventDecoder:
    """Reads the records of one producer or format, such as change events of a database.

    Records that no decoder recognises are read as a serialized ``Event``, or as JSON if their header says so. A decoder
    keeps nothing from one record to the next: a record that is read again gives the same events, ids included.

    Attributes:
        content_types: Content types, in lower case and without parameters, whose records are its own.
        reads_unmarked: Whether it also reads records without headers whose first byte may begin a serialized Event
            (``0a 12 1a 22 2a 32 3a``), such as messages of another proto. Every record is then offered to it, and
            reading events takes twice as long.

    Example:
        >>> from springtide.events import RawEvent
        >>> class Pairs(EventDecoder):
        ...     content_types = ("text/x-pair",)
        ...
        ...     def decode(self, record):
        ...         user, item = record.value.decode().split()
        ...         event = events_pb2.Event(interaction={"user": user, "item": item, "type": "view"})
        ...         event.event_time.FromMilliseconds(record.timestamp_ms)
        ...         return [event]
        >>> record = RawEvent(b"ann bread", headers=[("content-type", b"text/x-pair")])
        >>> Pairs().recognises(record)
        True
        >>> Pairs().decode(record)[0].interaction.item
        'bread'
    """

    content_types: Sequence[str] = ()
    reads_unmarked: bool = False

    def recognises(self, record: RawEvent) -> bool:
        """Return whether the record is this decoder's; it must be sure. By default, its content type tells.

        It is called for each record that is no plain protobuf, so it must be quick and must not raise.
        """
        return bool(record.headers) and content_type_of(record.headers) in self.content_types

    def decode(self, record: RawEvent) -> Sequence[events_pb2.Event] | RawEvent:
        """Return the events of a record that it recognises.

        Returns:
            The events, in order; none if the record says nothing that the graph keeps. Or the record with something
            taken off it, such as a frame, to be read by another decoder.

        Raises:
            EventRefusedError: If the record is bad; it goes to the dead-letter topic with the message. Any other error
                does the same, but says less.
        """
        raise NotImplementedError

    def examples(self) -> Sequence[RawEvent]:
        """Return records that it reads, for the conformance checks; at least one."""
        raise NotImplementedError
