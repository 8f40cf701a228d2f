"""Reading a topic from its beginning to its end, once, beside the stream."""

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from springtide.clock import Deadline
from springtide.errors import BrokerError
from springtide.settings.model import KafkaSettings
from springtide_services.stream.topics import client_config

_SILENCE_S = 10.0  # Without an answer for that long, a broker counts as gone.


def records_of(kafka: KafkaSettings, topic: str) -> Iterator[Any]:
    """Yield the records that a topic has now, as kafka-python gives them; those of one partition in order.

    Raises:
        BrokerError: If the broker gives no more, though it has more.
        KafkaError: If it does not answer, or refuses.
    """
    consumer = KafkaConsumer(
        **client_config(kafka, KafkaConsumer), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        left = {TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()}
        consumer.assign(sorted(left))
        deadline = Deadline.after(_SILENCE_S)
        while left:
            for records in consumer.poll(500).values():
                deadline = Deadline.after(_SILENCE_S)
                yield from records
            # By the fetch responses: ``end_offsets`` is wrong on the embedded broker.
            ends = {partition: consumer.highwater(partition) for partition in left}
            left = {each for each, end in ends.items() if end is None or consumer.position(each) < end}
            if left and deadline.is_over():
                raise BrokerError(f"the broker gives no more of topic {topic!r}")
    finally:
        consumer.close(autocommit=False)
