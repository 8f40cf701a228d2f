"""Whether the topic still has the events that a restart would read: retention against the age of checkpoints."""

from collections.abc import Iterator, Mapping

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from springtide.checkpoint import CheckpointStore
from springtide.clock import MS_PER_DAY, MS_PER_SECOND, wall_ms
from springtide.errors import CheckpointError
from springtide.settings.model import Settings
from springtide_services.findings import Finding, Level
from springtide_services.stream.kafka_facts import read_facts
from springtide_services.stream.topics import client_config

_TIMEOUTS = {"bootstrap_timeout_ms": 5_000, "request_timeout_ms": 5_000}
_ENOUGH = 3  # Retention, in times of the longest span between two checkpoints that is to be expected.


def history_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what a restart from each kept checkpoint would miss; nothing if there is no checkpoint, or no answer."""
    try:
        store = CheckpointStore(settings.checkpoint.url)
        checkpoints = [store.open(name) for name in store.names()]
        positions = [(each, each.position) for each in checkpoints]
        topic = settings.kafka.topic
        first = _first_offsets(settings)
        retention_ms = read_facts(settings).events.number("retention.ms")
    except (CheckpointError, KafkaError, OSError):
        return  # Said by others.
    for checkpoint, position in positions:
        if position is None or position.topic != topic:
            continue
        lost = {
            number: first[number] - next_offset
            for number, next_offset in position.next_offsets.items()
            if first.get(number, 0) > next_offset
        }
        if not lost:
            continue
        is_newest = checkpoint.name == checkpoints[0].name
        words = ", ".join(f"{count:,} of partition {number}" for number, count in sorted(lost.items()))
        yield Finding(
            "history",
            Level.FAILURE if is_newest else Level.WARNING,
            f"topic {topic!r} has lost events that checkpoint {checkpoint.name} has not read: {words}. A restart from "
            "it " + ("stops there (kafka.on_lost)" if settings.kafka.on_lost == "stop" else "skips them"),
            "Start the server once with --skip-lost, and keep events longer."
            if is_newest
            else "Keep events longer than the oldest checkpoint is old.",
            "springtide serve --skip-lost" if is_newest else "",
        )
        if is_newest:
            return
    yield from _margin(settings, retention_ms, checkpoints[0].created_ms if checkpoints else None)


def _margin(settings: Settings, retention_ms: int | None, newest_ms: int | None) -> Iterator[Finding]:
    if newest_ms is None or retention_ms is None or retention_ms < 0:
        return
    age_ms = wall_ms() - newest_ms
    message = f"the newest checkpoint is {_age(age_ms)} old, and the topic keeps events for {_age(retention_ms)}"
    if _ENOUGH * max(age_ms, settings.checkpoint.every_s * MS_PER_SECOND) < retention_ms:
        yield Finding("history", Level.OK, message)
        return
    yield Finding(
        "history",
        Level.WARNING,
        f"{message}: a server that is away that long loses events",
        "Start the server now, and raise retention.ms of the topic.",
    )


def _first_offsets(settings: Settings) -> Mapping[int, int]:
    """Return the first offset that each partition of the events topic still has."""
    kafka = settings.kafka
    with KafkaAdminClient(**{**_TIMEOUTS, **client_config(kafka)}) as admin:
        described = admin.describe_topics([kafka.topic])
        partitions = [TopicPartition(kafka.topic, part["partition_index"]) for part in described[0]["partitions"]]
        found = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
        return {partition.partition: int(offset.offset) for partition, offset in found.items()}


def _age(duration_ms: float) -> str:
    if duration_ms >= 2 * MS_PER_DAY:
        return f"{duration_ms / MS_PER_DAY:,.0f} days"
    if duration_ms >= 2 * 3_600 * MS_PER_SECOND:
        return f"{duration_ms / MS_PER_SECOND / 3_600:,.0f} hours"
    return f"{max(duration_ms, 0) / MS_PER_SECOND:,.0f} s"
