"""Reading on after events were lost: where each partition goes on, and which events are missing."""

from collections.abc import Mapping

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from springtide.clock import wall_ms
from springtide.settings.model import KafkaSettings
from springtide.state import StreamGap, StreamPosition
from springtide_services.stream.broker_errors import BrokerProblemError, Problem, explain
from springtide_services.stream.topics import TopicFacts, client_config, read_topic_facts

_TIMEOUTS = {"bootstrap_timeout_ms": 10_000, "request_timeout_ms": 10_000}


def skip_lost_events(
    kafka: KafkaSettings, position: StreamPosition, read_until_ms: int | None
) -> tuple[StreamPosition, list[StreamGap]]:
    """Return a position from which the topic can be read, and the gaps before it; the broker is only asked.

    A partition goes on where it stands if the broker has its next event; at its beginning if retention has removed the
    next event; and at its end if it was truncated: which of its events are new cannot be known, and none is read twice.
    A recreated topic, or another one, is read from its beginning, since none of its events was read.

    Args:
        kafka: The broker and the topic.
        position: How far the stream was read.
        read_until_ms: When it was read that far, in milliseconds since the Unix epoch; None if unknown.

    Raises:
        BrokerProblemError: If the broker has no such topic, or does not answer.
    """
    try:
        with KafkaAdminClient(**{**_TIMEOUTS, **client_config(kafka)}) as admin:
            facts = read_topic_facts(admin, kafka.topic)
        if facts is None:
            message = f"waiting for topic {kafka.topic!r}, which the broker does not have; a new one is read whole"
            raise BrokerProblemError(Problem("topic", message))
        beginnings, ends = _read_bounds(kafka, facts)
    except KafkaError as error:
        raise BrokerProblemError(explain(error, kafka)) from error
    reason = _reason_to_start_anew(facts, position)
    now_ms = wall_ms()
    next_offsets = dict(beginnings)
    gaps = []
    for number, offset in position.next_offsets.items():
        beginning, end = beginnings.get(number, 0), ends.get(number, 0)
        if reason:
            what, next_offset = reason, beginning
        elif offset < beginning:
            what, next_offset = "retention", beginning
        elif offset > end:
            what, next_offset = "truncated", end
        else:
            next_offsets[number] = offset
            continue
        gaps.append(StreamGap(position.topic, number, offset, next_offset, what, now_ms, read_until_ms))
        if number in beginnings:
            next_offsets[number] = next_offset
    return StreamPosition(kafka.topic, facts.topic_id, next_offsets), gaps


def very_first_position(kafka: KafkaSettings, lost: StreamPosition) -> StreamPosition:
    """Return the position of the very first event of a topic that was read before, whether or not it is still there.

    Args:
        kafka: The broker and the topic.
        lost: How far it was read; its topic is empty if that is unknown.

    Raises:
        KafkaError: If the broker does not answer.
    """
    with KafkaAdminClient(**{**_TIMEOUTS, **client_config(kafka)}) as admin:
        facts = read_topic_facts(admin, kafka.topic)
    partitions = {*lost.next_offsets, *(() if facts is None else facts.partitions)}
    return StreamPosition(lost.topic or kafka.topic, lost.topic_id, dict.fromkeys(sorted(partitions), 0))


def _reason_to_start_anew(facts: TopicFacts, position: StreamPosition) -> str:
    """Return why the topic is not the one that was read; an empty string if it is."""
    if facts.name != position.topic:
        return "other_topic"
    is_other_id = bool(facts.topic_id and position.topic_id) and facts.topic_id != position.topic_id
    return "recreated" if is_other_id or set(position.next_offsets) - set(facts.partitions) else ""


def _read_bounds(kafka: KafkaSettings, facts: TopicFacts) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """Return the offsets at which each partition begins and ends."""
    consumer = KafkaConsumer(
        **{**_TIMEOUTS, **client_config(kafka, KafkaConsumer)},
        enable_auto_commit=False,
        isolation_level="read_uncommitted",
    )
    try:
        partitions = [TopicPartition(facts.name, number) for number in facts.partitions]
        beginnings, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    finally:
        consumer.close(autocommit=False)
    return (
        {partition.partition: offset for partition, offset in beginnings.items()},
        {partition.partition: offset for partition, offset in ends.items()},
    )
