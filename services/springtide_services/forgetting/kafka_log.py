"""What a topic still holds of an id: its records are read, since only the broker removes them."""

from dataclasses import dataclass, field

from kafka.errors import KafkaError

from springtide.events import RawEvent
from springtide.settings.model import KafkaSettings
from springtide.token_search import Token
from springtide_services.forgetting.contents import record_has
from springtide_services.stream.broker_errors import BrokerProblemError, explain
from springtide_services.stream.kafka_facts import TopicState
from springtide_services.stream.whole_topic import records_of


@dataclass(slots=True)
class Log:
    """What the search of a topic has found.

    Attributes:
        state: The topic.
        num_records: Records read.
        num_bytes: Bytes of their keys and values.
        num_found: How many have the id.
        last_offsets: By partition, the offset of the last one that has it.
        newest_ms: The newest time of those that have it, milliseconds since the Unix epoch.
    """

    state: TopicState
    num_records: int = 0
    num_bytes: int = 0
    num_found: int = 0
    last_offsets: dict[int, int] = field(default_factory=dict)
    newest_ms: int = 0

    @property
    def retention_ms(self) -> int | None:
        """How long the broker keeps records; None if for ever, or if it does not say."""
        retention_ms = self.state.number("retention.ms")
        return None if retention_ms is None or retention_ms < 0 else retention_ms


def search_log(kafka: KafkaSettings, state: TopicState, token: Token) -> Log:
    """Read a topic from its beginning to its end, and count the records that have an id.

    Raises:
        BrokerError: If the broker does not answer, or refuses.
    """
    log = Log(state)
    if state.state != "exists":
        return log
    try:
        for record in records_of(kafka, state.name):
            log.num_records += 1
            log.num_bytes += len(record.key or b"") + len(record.value or b"")
            headers = tuple(record.headers)
            raw = RawEvent(record.value, record.key, headers, state.name, record.partition, record.offset, 0)
            if record_has(raw, token):
                log.num_found += 1
                log.last_offsets[record.partition] = record.offset
                log.newest_ms = max(log.newest_ms, record.timestamp)
    except KafkaError as error:
        raise BrokerProblemError(explain(error, kafka)) from error
    return log
