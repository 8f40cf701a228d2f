"""Dead letters: refused events go to their own topic, unchanged, with the reason in the headers."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError
from kafka.producer.future import FutureRecordMetadata

from springtide.clock import wall_ms
from springtide.errors import EventRefusedError
from springtide.events import RawEvent, Refusal
from springtide.settings.model import KafkaSettings
from springtide_services.stream.topics import client_config

logger = structlog.stdlib.get_logger(__name__)

# The names of Kafka Streams (KIP-1034), which other tools know; those with "springtide" are ours.
EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
REASON = "springtide.reason"
ROWS = "springtide.rows"  # Of a packed batch that was taken in part: the indices of the refused rows.
REFUSED_AT_MS = "springtide.refused_at_ms"
RECORD_TIME_MS = "springtide.record_time_ms"
OMITTED_BYTES = "springtide.omitted_bytes"  # Only if the letter was too large: TOPIC and OFFSET lead to the original.

_EXCEPTION_NAME = f"{EventRefusedError.__module__}.{EventRefusedError.__qualname__}"
_WRITE_TIMEOUT_S = 10.0
_MAX_REQUEST_BYTES = 2**30  # No limit by the client: the broker has its own.
_MAX_ROWS_SHOWN = 1_000  # Headers have a limited size.
_MAX_KEPT_BYTES = 65_536  # Of key and headers, if the letter as a whole is too large.


class DeadLetterWriter:
    """Writes refused events to the dead-letter topic; for one thread, and not to be used again after a failed write.

    Args:
        kafka: The broker and the topic.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: KafkaProducer | None = None  # Created at the first refusal: most streams have none.

    def write(self, refusals: Sequence[Refusal]) -> Counter[str]:
        """Write refusals, wait until the broker has all of them, and return the number of refused events by reason.

        Raises:
            KafkaError: If the broker did not take one; others may be written then, and are written again next time.
        """
        counts: Counter[str] = Counter()
        letters = [(refusal, self._send(refusal)) for refusal in refusals]
        for refusal, letter in letters:
            try:
                letter.get(_WRITE_TIMEOUT_S)
            except MessageSizeTooLargeError:
                self._send_shortened(refusal).get(_WRITE_TIMEOUT_S)
            counts[refusal.reason] += refusal.num_events
        example = refusals[0]
        logger.warning(
            "events_refused",
            reasons=dict(counts),
            first_message=example.message,
            partition=example.record.partition,
            offset=example.record.offset,
        )
        return counts

    def close(self) -> None:
        """Close the connection; ``write`` has left nothing unsent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, refusal: Refusal) -> FutureRecordMetadata:
        try:
            return self._send_as(refusal, refusal.record)
        except MessageSizeTooLargeError:
            return self._send_shortened(refusal)

    def _send_shortened(self, refusal: Refusal) -> FutureRecordMetadata:
        """Send a letter that fits in any topic: without the value, and without key and headers if these are large."""
        record = refusal.record
        num_value_bytes = len(record.value or b"")
        num_other_bytes = len(record.key or b"") + sum(len(name) + len(value or b"") for name, value in record.headers)
        if num_other_bytes <= _MAX_KEPT_BYTES:
            return self._send_as(refusal, record._replace(value=None), num_value_bytes)
        return self._send_as(
            refusal, record._replace(value=None, key=None, headers=()), num_value_bytes + num_other_bytes
        )

    def _send_as(self, refusal: Refusal, record: RawEvent, num_omitted: int | None = None) -> FutureRecordMetadata:
        about = {
            EXCEPTION: _EXCEPTION_NAME,
            MESSAGE: refusal.message,
            TOPIC: record.topic,
            PARTITION: record.partition,
            OFFSET: record.offset,
            REASON: refusal.reason,
            REFUSED_AT_MS: wall_ms(),
            RECORD_TIME_MS: record.timestamp_ms,
        }
        if refusal.rows:
            about[ROWS] = ",".join(map(str, refusal.rows[:_MAX_ROWS_SHOWN]))
        if num_omitted is not None:
            about[OMITTED_BYTES] = num_omitted
        # kafka-python cannot send a header without a value, or a record without key and value: both become empty.
        headers = [(name, b"" if value is None else value) for name, value in record.headers]
        headers += [(name, str(value).encode(errors="replace")) for name, value in about.items()]
        value = b"" if record.value is None and record.key is None else record.value
        return self._get_producer().send(self._kafka.dead_letter_topic, value, record.key, headers)

    def _get_producer(self) -> KafkaProducer:
        if self._producer is None:
            options = {
                "acks": "all",
                "enable_idempotence": False,  # A letter that is too large would leave a gap in the sequence.
                "delivery_timeout_ms": int(_WRITE_TIMEOUT_S * 1_000),
                "request_timeout_ms": int(_WRITE_TIMEOUT_S * 500),
                "max_block_ms": int(_WRITE_TIMEOUT_S * 1_000),
                "max_request_size": _MAX_REQUEST_BYTES,
            }
            self._producer = KafkaProducer(**{**client_config(self._kafka), **options})
        return self._producer
