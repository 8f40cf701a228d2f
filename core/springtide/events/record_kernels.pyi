"""Types of the reading of Kafka's records, whose meaning is told in ``record_kernels.pyx``."""

from springtide.events.raw import RawEvent

def read_records(
    data: bytes,
    count: int,
    topic: str,
    partition: int,
    base_offset: int,
    first_timestamp_ms: int,
    append_time_ms: int | None,
) -> list[RawEvent] | None: ...
