"""What comes from the broker before it is decoded, and what is refused of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class RawEvent(NamedTuple):
    """One record of the events topic, as the broker gave it. A tuple, because a million of them are made in seconds.

    Attributes:
        value: The event's bytes; None for a record without a value.
        key: The record's key.
        headers: Names and values, in their order; a name may stand twice, a value may be missing.
        topic: The topic it was read from.
        partition: The partition it was read from.
        offset: Its place in the partition.
        timestamp_ms: The record's own time, by the producer's or the broker's clock; not the event time.
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
    """A record that was refused, or rows of it.

    Attributes:
        record: The record as it came.
        reason: A short stable word, such as ``empty_id``: see ``springtide.events.limits.REASONS``.
        message: What was wanted and what came.
        rows: Of a packed batch whose other rows were taken: the positions of the refused rows. Empty if the whole
            record was refused.
    """

    record: RawEvent
    reason: str
    message: str
    rows: Sequence[int] = ()

    @property
    def num_events(self) -> int:
        """How many events were refused."""
        return len(self.rows) or 1
