"""Records as the broker delivers them, and refused records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class RawEvent(NamedTuple):
    """One record of the events topic. It is a tuple because a million of them are created within seconds.

    Attributes:
        value: Bytes of the event; None for a record without a value.
        key: Key of the record.
        headers: Names and values, in order; a name may occur twice, a value may be missing.
        topic: Topic that it was read from.
        partition: Partition that it was read from.
        offset: Offset in the partition.
        timestamp_ms: Time of the record, by the producer's or the broker's clock; not the event time.
    """

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    topic: str = ""
    partition: int = 0
    offset: int = 0
    timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that was refused, or some of its rows or attributes.

    Attributes:
        record: The record, unchanged.
        reason: A short stable word, such as ``empty_id``: see ``springtide.events.limits.REASONS``.
        message: What was wanted, and what came.
        rows: Indices of the refused rows of a packed batch whose other rows were accepted; empty if the whole record
            was refused, or attributes that the message names.
        num_records: How many records these are, if they could not be told apart.
        raw: What the record's value is, if it could not be read: ``batch``, ``records`` or ``record``, as the broker
            keeps it; empty if it is the record's own value.
        next_offset: The offset after them; None for the record's own and 1.
        piece: Which part of the value this is, such as ``1/3``; empty for the whole.
    """

    record: RawEvent
    reason: str
    message: str
    rows: Sequence[int] = ()
    num_records: int = 1
    raw: str = ""
    next_offset: int | None = None
    piece: str = ""

    @property
    def num_events(self) -> int:
        """Number of refused events."""
        return len(self.rows) or self.num_records
