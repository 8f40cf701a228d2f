"""Reading the dead-letter topic, and publishing what it holds again once its cause is mended."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from springtide.clock import wall_ms
from springtide.settings.model import KafkaSettings
from springtide_services.stream.broker_errors import BrokerProblemError, explain, to_write_dead_letters
from springtide_services.stream.dead_letters import (
    EXCEPTION,
    MESSAGE,
    OFFSET,
    OMITTED_BYTES,
    PARTITION,
    RAW,
    REASON,
    RECORD_TIME_MS,
    REFUSED_AT_MS,
    ROWS,
    TOPIC,
)
from springtide_services.stream.topics import client_config
from springtide_services.stream.whole_topic import records_of

REPLAYED = "springtide.replayed"  # Of a mark: the place of the letter, `PARTITION:OFFSET` in the dead-letter topic.
REPLAYED_AT_MS = "springtide.replayed_at_ms"

_ACK_S = 30.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused event in the dead-letter topic.

    Attributes:
        place: Where it is in the dead-letter topic, ``PARTITION:OFFSET``.
        reason: Why it was refused, in a word.
        message: The same in words.
        origin: Where the event was: topic, partition, offset.
        refused_ms: When it was refused, milliseconds since the Unix epoch.
        record_ms: The record's own time, milliseconds since the Unix epoch.
        key: The record's key.
        value: The record's value.
        headers: The record's own headers.
        raw: ``batch``, ``records`` or ``record`` if the value is what Kafka keeps and nobody could read; else empty.
        rows: The refused rows of a packed batch whose others were taken, as the header has them; empty otherwise.
        is_shortened: Whether the value was too large for a letter, and is not here.
        replayed_ms: When it was replayed last; None if it was not.
    """

    place: str
    reason: str
    message: str
    origin: tuple[str, int, int]
    refused_ms: int
    record_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = field(repr=False)
    raw: str = ""
    rows: str = ""
    is_shortened: bool = False
    replayed_ms: int | None = None

    @property
    def obstacle(self) -> str:
        """Why it cannot be replayed, in words; empty if it can."""
        if self.raw:
            return f"it holds a {self.raw} that nobody could read; `show --output` writes the bytes"
        if self.is_shortened:
            return "its value was too large for a letter, and is only in the events topic"
        if self.rows:
            return "the other rows of its packed batch were taken; publish the refused ones with ids of their own"
        return ""


def read_letters(kafka: KafkaSettings) -> list[DeadLetter]:
    """Return all letters of the dead-letter topic, in the order of their partitions and offsets.

    Raises:
        BrokerError: If the broker does not answer, or refuses.
    """
    letters: dict[str, DeadLetter] = {}
    marks: dict[str, int] = {}
    try:
        for record in records_of(kafka, kafka.dead_letter_topic):
            headers = [(name, value or b"") for name, value in record.headers]
            named = {name: value.decode(errors="replace") for name, value in headers}
            if REPLAYED in named and EXCEPTION not in named:
                marks[named[REPLAYED]] = _number(named.get(REPLAYED_AT_MS))
            elif REASON in named:
                letter = _letter(record, headers, named)
                letters[letter.place] = letter
    except KafkaError as error:
        raise BrokerProblemError(explain(error, kafka)) from error
    for place, replayed_ms in marks.items():
        if place in letters:
            letters[place] = _marked(letters[place], replayed_ms)
    return list(letters.values())


def replay(kafka: KafkaSettings, letters: Sequence[DeadLetter]) -> Iterator[DeadLetter]:
    """Publish the original records of letters again, and mark each; yield it once both are stored.

    Key, value, headers and partition are those of the original; the record's time is that of now, since the broker may
    remove what is older than the topic's retention at once. A letter that was published and could not be
    marked, since the broker went away or the command was stopped in between, is published again by the next replay.

    Raises:
        BrokerError: If the broker does not answer, or refuses.
    """
    try:
        producer = KafkaProducer(**client_config(kafka, KafkaProducer), acks="all")
        try:
            numbers = producer.partitions_for(kafka.topic)
            for letter in letters:
                number = letter.origin[1] if letter.origin[1] in numbers else None
                producer.send(kafka.topic, letter.value, letter.key, [*letter.headers], number).get(_ACK_S)
                mark = [(REPLAYED, letter.place.encode()), (REPLAYED_AT_MS, str(wall_ms()).encode())]
                producer.send(kafka.dead_letter_topic, b"", None, mark, int(letter.place.partition(":")[0])).get(_ACK_S)
                yield letter
        finally:
            producer.close(timeout=5.0)
    except KafkaError as error:
        raise BrokerProblemError(explain(error, kafka, to_write_dead_letters(kafka))) from error


def _letter(record: Any, headers: Sequence[tuple[str, bytes]], named: Mapping[str, str]) -> DeadLetter:
    names = [name for name, _ in headers]
    own = headers[: len(names) - 1 - names[::-1].index(EXCEPTION)] if EXCEPTION in names else headers
    return DeadLetter(
        place=f"{record.partition}:{record.offset}",
        reason=named[REASON],
        message=named.get(MESSAGE, ""),
        origin=(named.get(TOPIC, ""), _number(named.get(PARTITION)), _number(named.get(OFFSET))),
        refused_ms=_number(named.get(REFUSED_AT_MS)),
        record_ms=_number(named.get(RECORD_TIME_MS)),
        key=record.key,
        value=record.value,
        headers=own,
        raw=named.get(RAW, ""),
        rows=named.get(ROWS, ""),
        is_shortened=OMITTED_BYTES in named,
    )


def _marked(letter: DeadLetter, replayed_ms: int) -> DeadLetter:
    return dataclasses.replace(letter, replayed_ms=replayed_ms)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else 0
