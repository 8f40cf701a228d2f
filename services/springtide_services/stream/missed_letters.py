"""The dead letters that nobody may have written: a writer died, and its successor had read on as a reader."""

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from springtide.clock import wall_ms
from springtide.errors import OffsetsLostError
from springtide.events import Refusal
from springtide.events.decoding import Decoder
from springtide.settings.model import KafkaSettings
from springtide.state import StreamPosition
from springtide_services.stream.source import KafkaSource

logger = structlog.stdlib.get_logger(__name__)


def write_missed_letters(
    kafka: KafkaSettings,
    since: StreamPosition | None,
    until: StreamPosition,
    decoder: Decoder,
    write: Callable[[Sequence[Refusal]], Counter[str]],
) -> Counter[str]:
    """Read a part of the topic again, apply nothing of it, and write what is refused.

    Letters that the former writer has written are written again: a take-over repeats dead letters, as a crash does, and
    never loses one.

    Args:
        kafka: The broker and the topic.
        since: The position of the newest checkpoint; None for the topic's beginning.
        until: How far the state has read.
        decoder: Decodes the records.
        write: Writes refusals, and returns the number of refused events by reason.

    Returns:
        The number of events by reason.

    Raises:
        KafkaError: If the broker does not answer.
        BrokerError: If it refuses.
    """
    counts: Counter[str] = Counter()
    try:
        with KafkaSource(kafka, since) as source:
            reached = dict(source.position.next_offsets)
            while any(offset > reached.get(number, 0) for number, offset in until.next_offsets.items()):
                if not source.check():
                    break
                records, broken = source.poll(kafka.poll_timeout_ms), source.take_broken()
                for record in records:
                    reached[record.partition] = record.offset + 1
                for each in broken:
                    reached[each.record.partition] = max(each.next_offset, reached.get(each.record.partition, 0))
                wanted = [each for each in records if each.offset < until.next_offsets.get(each.partition, 0)]
                refusals = decoder.decode(wanted, wall_ms())[1] if wanted else []
                refusals += [each.refusal for each in broken]
                if refusals:
                    counts.update(write(refusals))
                lag = source.lag()
                if not records and lag.num_events == lag.num_held:
                    break  # The rest cannot be read, or only marks the ends of transactions.
    except OffsetsLostError as error:
        logger.warning("missed_dead_letters_lost", error=str(error))
    return counts
