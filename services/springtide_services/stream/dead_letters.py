"""Dead letters: refused events go to their own topic, unchanged, with the reason in the headers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka.producer.future import FutureRecordMetadata

from springtide.clock import Deadline, wall_ms
from springtide.errors import BrokerError, EventRefusedError
from springtide.events import RawEvent, Refusal
from springtide.settings.model import KafkaSettings
from springtide_services.stream.broker_errors import BrokerProblemError, Problem, explain, to_write_dead_letters
from springtide_services.stream.dead_letter_file import DeadLetterFile
from springtide_services.stream.topics import client_config, make_missing_topics

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
RAW = (
    "springtide.raw"  # Only of what could not be read: the value is a `batch`, `records` or a `record` as Kafka has it.
)
NEXT_OFFSET = "springtide.next_offset"  # With it: the offset after the last of them.
NUM_RECORDS = "springtide.num_records"  # With it: how many they are.
PIECE = "springtide.piece"  # Of a raw value that is in several letters: `1/3`.
OMITTED_BYTES = "springtide.omitted_bytes"  # Only if the letter was too large: TOPIC and OFFSET lead to the original.

_EXCEPTION_NAME = f"{EventRefusedError.__module__}.{EventRefusedError.__qualname__}"
_WRITE_TIMEOUT_S = 10.0
_NEXT_ATTEMPT_S = 30.0  # After a failed write, if the stream need not wait: an attempt may take the timeout above.
_MAX_REQUEST_BYTES = 2**30  # No limit by the client: the broker has its own.
_MAX_PIECE_BYTES = 500_000  # A topic takes a megabyte by default, and a batch with headers beside it may be more.
_MAX_ROWS_SHOWN = 1_000  # Headers have a limited size.
_MAX_KEPT_BYTES = 65_536  # Of key and headers, if the letter as a whole is too large.


class DeadLetterWriter:
    """Writes refused events to the dead-letter topic, which is created if it is missing; for one thread.

    Connects at the first refusal: a stream without one needs no right to write.

    Args:
        kafka: The broker, the topic, and what to do when a letter cannot be written.

    Attributes:
        file: The file for letters that the topic does not take.
        num_not_written: Refused events that the dead-letter topic did not take: they are in the file, or were counted.
        is_counting: Whether refusals are only counted, since another process reads the same stream and writes them.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.num_not_written = 0
        self.is_counting = False
        self.file = DeadLetterFile(kafka.dead_letter_file)
        self._kafka = kafka
        self._producer: KafkaProducer | None = None
        self._next_attempt = Deadline.after(0.0)

    def write(self, refusals: Sequence[Refusal]) -> Counter[str]:
        """Write refusals, wait until they are stored, and return the number of refused events by reason.

        Raises:
            BrokerProblemError: If they are not stored, and the stream must wait. Some may be written then, and are
                written again next time.
        """
        counts: Counter[str] = Counter()
        for refusal in refusals:
            counts[refusal.reason] += refusal.num_events
        if self.is_counting:
            return counts
        if not self._write_to_topic(refusals):
            if self._kafka.on_dead_letter_failure == "file":
                self.file.append(refusals)
            self.num_not_written += sum(counts.values())
        example = refusals[0]
        # Without its message, which shows what was refused: ids of users stay out of the log.
        logger.warning(
            "events_refused",
            reasons=dict(counts),
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

    def _write_to_topic(self, refusals: Sequence[Refusal]) -> bool:
        """Write refusals to the topic; return False if that fails, or failed a moment ago, and need not be waited for.

        Raises:
            BrokerProblemError: If it fails, and the settings say that the stream waits.
        """
        may_go_on = self._kafka.on_dead_letter_failure != "wait"
        if may_go_on and not self._next_attempt.is_over():
            return False
        try:
            self._send_all(refusals)
        except (KafkaError, BrokerError) as error:
            self.close()
            reason = explain(error, self._kafka, to_write_dead_letters(self._kafka))
            problem = Problem("dead_letters", f"a refused record cannot be put away: {reason.message}")
            if not may_go_on:
                raise BrokerProblemError(problem) from error
            logger.warning(
                "dead_letters_not_written", instead=self._kafka.on_dead_letter_failure, error=problem.message
            )
            self._next_attempt = Deadline.after(_NEXT_ATTEMPT_S)
            return False
        return True

    def _send_all(self, refusals: Sequence[Refusal]) -> None:
        letters = [(piece, self._send(piece)) for refusal in refusals for piece in _pieces(refusal)]
        for refusal, letter in letters:
            try:
                letter.get(_WRITE_TIMEOUT_S)
            except MessageSizeTooLargeError:
                self._send_shortened(refusal).get(_WRITE_TIMEOUT_S)

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
        if refusal.raw:
            about[RAW], about[NUM_RECORDS] = refusal.raw, refusal.num_records
            if refusal.piece:
                about[PIECE] = refusal.piece
            about[NEXT_OFFSET] = record.offset + 1 if refusal.next_offset is None else refusal.next_offset
        if num_omitted is not None:
            about[OMITTED_BYTES] = num_omitted
        # kafka-python cannot send a header without a value, or a record without key and value: both become empty.
        headers = [(name, b"" if value is None else value) for name, value in record.headers]
        headers += [(name, str(value).encode(errors="replace")) for name, value in about.items()]
        value = b"" if record.value is None and record.key is None else record.value
        return self._get_producer().send(self._kafka.dead_letter_topic, value, record.key, headers)

    def _get_producer(self) -> KafkaProducer:
        if self._producer is None:
            make_missing_topics(self._kafka, {self._kafka.dead_letter_topic: 1}, 0.0, ("Write",))
            options = {
                "acks": "all",
                "enable_idempotence": False,  # A letter that is too large would leave a gap in the sequence.
                "delivery_timeout_ms": int(_WRITE_TIMEOUT_S * 1_000),
                "request_timeout_ms": int(_WRITE_TIMEOUT_S * 500),
                "max_block_ms": int(_WRITE_TIMEOUT_S * 1_000),
                "max_request_size": _MAX_REQUEST_BYTES,
            }
            self._producer = KafkaProducer(**{**client_config(self._kafka, KafkaProducer), **options})
        return self._producer


def _pieces(refusal: Refusal) -> Iterator[Refusal]:
    """Yield the letters of a refusal: several where raw bytes are more than a letter may have, so that none is lost."""
    value = refusal.record.value or b""
    if not refusal.raw or len(value) <= _MAX_PIECE_BYTES:
        yield refusal
        return
    starts = range(0, len(value), _MAX_PIECE_BYTES)
    for number, start in enumerate(starts, 1):
        record = refusal.record._replace(value=value[start : start + _MAX_PIECE_BYTES])
        yield replace(refusal, record=record, piece=f"{number}/{len(starts)}")
