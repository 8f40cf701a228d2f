"""What can be known about a Kafka before it is used: findings, each with the way out."""

import math
import shlex
from collections.abc import Iterator

from kafka.codec import has_lz4, has_snappy, has_zstd

from springtide.clock import MS_PER_DAY, MS_PER_SECOND
from springtide.settings.model import Settings
from springtide_services.findings import Finding, Level
from springtide_services.stream.broker_errors import BrokerProblemError, Need, to_read
from springtide_services.stream.group_offsets import group_name
from springtide_services.stream.kafka_facts import KafkaFacts, TopicState, read_facts

_MAX_CLOCK_DIFFERENCE_MS = 5_000
_BATCH_OVERHEAD_BYTES = 65_536  # max.message.bytes limits a batch of records, which is larger than its records.
_ENOUGH_COPIES = 2
_CODECS = {  # Compression to the package that kafka-python needs for it, and whether it is installed.
    "lz4": ("lz4", has_lz4),
    "snappy": ("python-snappy", has_snappy),
    "zstd": ("zstandard", has_zstd),
}


def check_kafka(settings: Settings) -> list[Finding]:
    """Check the cluster that the settings name; nothing on it is changed."""
    try:
        facts = read_facts(settings)
    except BrokerProblemError as error:
        return [Finding("connection", Level.FAILURE, error.problem.message)]
    return list(findings(facts, settings))


def findings(facts: KafkaFacts, settings: Settings) -> Iterator[Finding]:
    """Yield what the facts mean for these settings."""
    yield from _connection(facts, settings)
    yield from _events_topic(facts, settings)
    if facts.events.state == "exists":
        yield from _partitions(facts.events, settings)
        yield from _copies(facts, settings)
        yield from _topic_config(facts.events, settings)
    yield from _codecs(facts.events)
    yield from _clock(facts)
    yield from _dead_letters(facts, settings)
    yield from _group(facts, settings)


def _connection(facts: KafkaFacts, settings: Settings) -> Iterator[Finding]:
    options = settings.kafka.client_options
    protocol, user = options.get("security_protocol", "PLAINTEXT"), options.get("sasl_plain_username")
    brokers = "1 broker answers" if facts.num_brokers == 1 else f"{facts.num_brokers} brokers answer"
    as_user = f", as user {user!r}" if user else ""
    yield Finding("connection", Level.OK, f"{brokers} over {protocol}{as_user}")
    if facts.unreachable_servers:
        yield Finding(
            "connection",
            Level.WARNING,
            f"no connection to {', '.join(facts.unreachable_servers)} (kafka.bootstrap_servers)",
            "Start them, or name others.",
        )


def _events_topic(facts: KafkaFacts, settings: Settings) -> Iterator[Finding]:
    kafka, topic = settings.kafka, facts.events
    need = to_read(kafka)
    if topic.state == "hidden":
        yield Finding(
            "rights",
            Level.FAILURE,
            f"our user has no right to see topic {topic.name!r}, if it exists",
            "Give the rights to read and describe it.",
            need.grant_command(kafka),
        )
        return
    if topic.state == "missing":
        yield _missing_topic(facts, settings)
    missing = _missing_rights(topic, need)
    if missing:
        wanted = Need("topic", topic.name, missing)
        yield Finding(
            "rights",
            Level.FAILURE,
            f"our user has no right to {' and '.join(missing)} on topic {topic.name!r}: no event is read",
            "Give it.",
            wanted.grant_command(kafka),
        )
    elif topic.state == "exists":
        known = topic.rights is not None
        message = "exists, and may be read" if known else "exists; the broker does not say who may read it"
        yield Finding("topic", Level.OK, f"topic {topic.name!r} {message}")
        if topic.partitions_without_leader:
            numbers = ", ".join(map(str, topic.partitions_without_leader))
            yield Finding(
                "topic",
                Level.FAILURE,
                f"topic {topic.name!r} has no leader for partitions {numbers}: they can be neither read nor written",
                "Start the brokers that hold their copies.",
                _topics_command(settings, "--describe", "--topic", topic.name),
            )


def _missing_topic(facts: KafkaFacts, settings: Settings) -> Finding:
    kafka = settings.kafka
    create = _topics_command(settings, "--create", "--topic", kafka.topic, "--partitions", str(kafka.num_partitions))
    if _may_create(facts, facts.events):
        return Finding(
            "topic",
            Level.OK,
            f"topic {kafka.topic!r} does not exist; the server creates it with {kafka.num_partitions} partitions. A "
            "producer that comes first may make it with fewer",
            "Create it before the producers start.",
            create,
        )
    return Finding(
        "topic",
        Level.FAILURE,
        f"topic {kafka.topic!r} does not exist, and our user has no right to create it: the server waits for it",
        "Create it.",
        create,
    )


def _partitions(topic: TopicState, settings: Settings) -> Iterator[Finding]:
    wanted = settings.kafka.num_partitions
    message = f"topic {topic.name!r} has {topic.num_partitions} partitions, kafka.num_partitions is {wanted}"
    if topic.num_partitions >= wanted:
        yield Finding("partitions", Level.OK, message)
        return
    yield Finding(
        "partitions",
        Level.WARNING,
        f"{message}: a producer or an operator made it first",
        "Add partitions, which are read without a restart; or lower kafka.num_partitions.",
        _topics_command(settings, "--alter", "--topic", topic.name, "--partitions", str(wanted)),
    )


def _copies(facts: KafkaFacts, settings: Settings) -> Iterator[Finding]:
    topic = facts.events
    minimum = topic.number("min.insync.replicas")
    copies = "1 copy" if topic.num_copies == 1 else f"{topic.num_copies} copies"
    message = f"topic {topic.name!r} has {copies}, and the cluster has {facts.num_brokers} broker(s)"
    message += "" if minimum is None else f", min.insync.replicas is {minimum}"
    if facts.num_brokers < _ENOUGH_COPIES:
        yield Finding("copies", Level.OK, f"{message}: with one broker, events are as safe as its disk")
    elif topic.num_copies < _ENOUGH_COPIES:
        yield Finding(
            "copies",
            Level.WARNING,
            f"{message}: a broker that is lost takes events with it",
            "Move the partitions to several brokers with kafka-reassign-partitions; or create the topic with copies.",
        )
    elif minimum is not None and minimum >= topic.num_copies:
        yield Finding(
            "copies",
            Level.WARNING,
            f"{message}: while any one of these brokers is down, no event can be written",
            "Lower min.insync.replicas.",
            _config_command(settings, topic, f"min.insync.replicas={topic.num_copies - 1}"),
        )
    elif minimum == 1:
        yield Finding(
            "copies",
            Level.WARNING,
            f"{message}: an event is acknowledged while only one broker has it",
            "Raise min.insync.replicas.",
            _config_command(settings, topic, f"min.insync.replicas={_ENOUGH_COPIES}"),
        )
    else:
        yield Finding("copies", Level.OK, message)


def _topic_config(topic: TopicState, settings: Settings) -> Iterator[Finding]:
    if not topic.config:
        refused = topic.rights is not None and "DESCRIBE_CONFIGS" not in topic.rights
        command = Need("topic", topic.name, ("DescribeConfigs",)).grant_command(settings.kafka) if refused else ""
        yield Finding(
            "topic settings",
            Level.UNKNOWN,
            f"retention, cleanup policy and largest record of topic {topic.name!r} cannot be known: "
            + ("our user has no right to describe its settings" if refused else "the broker does not say"),
            "Give the right to describe its settings." if refused else "",
            command,
        )
        return
    yield _cleanup(topic, settings)
    yield _retention(topic, settings)
    yield _record_size(topic, settings)


def _cleanup(topic: TopicState, settings: Settings) -> Finding:
    policy = (topic.config or {}).get("cleanup.policy", "")
    if "compact" not in policy:
        return Finding("cleanup policy", Level.OK, f"topic {topic.name!r} has cleanup.policy {policy}")
    return Finding(
        "cleanup policy",
        Level.FAILURE,
        f"topic {topic.name!r} has cleanup.policy {policy}: Kafka keeps only the newest event of each key, so that all "
        "others of a user are lost, without a word",
        "Set cleanup.policy to delete.",
        _config_command(settings, topic, "cleanup.policy=delete"),
    )


def _retention(topic: TopicState, settings: Settings) -> Finding:
    max_age_days = settings.graph.max_age_days
    wanted_ms = math.inf if max_age_days is None else max_age_days * MS_PER_DAY
    policy = (topic.config or {}).get("cleanup.policy", "")
    retention_ms, retention_bytes = topic.number("retention.ms"), topic.number("retention.bytes")
    kept_ms = math.inf if retention_ms is None or retention_ms < 0 or "delete" not in policy else retention_ms
    limits = [f"for {_days(kept_ms)}"]
    if retention_bytes is not None and retention_bytes >= 0 and "delete" in policy:
        limits.append(f"at most {retention_bytes:,} bytes per partition")
    wanted = "edges of any age" if max_age_days is None else f"edges of {max_age_days:g} days"
    message = f"topic {topic.name!r} keeps events {' and '.join(limits)}, the graph keeps {wanted} (graph.max_age_days)"
    if kept_ms >= wanted_ms and len(limits) == 1:
        return Finding("retention", Level.OK, message)
    retention = "-1" if max_age_days is None else str(math.ceil(wanted_ms))
    return Finding(
        "retention",
        Level.WARNING,
        f"{message}: a graph built anew from the topic would lack older ones, and a server that is away for longer "
        "loses events",
        "Keep events as long as the graph does; or set graph.max_age_days; and back up the checkpoints.",
        _config_command(settings, topic, f"retention.ms={retention},retention.bytes=-1"),
    )


def _record_size(topic: TopicState, settings: Settings) -> Finding:
    max_event_bytes, max_message_bytes = settings.events.max_event_bytes, topic.number("max.message.bytes")
    message = f"topic {topic.name!r} takes batches of {max_message_bytes:,} bytes, the server takes records of "
    message += f"{max_event_bytes:,} (events.max_event_bytes)"
    if max_message_bytes is None or 0 <= max_message_bytes - max_event_bytes <= _BATCH_OVERHEAD_BYTES:
        return Finding("record size", Level.OK, message)
    if max_message_bytes < max_event_bytes:
        return Finding(
            "record size",
            Level.WARNING,
            f"{message}: the topic refuses larger ones, packed batches of `springtide publish` among them",
            "Raise max.message.bytes, or lower events.max_event_bytes.",
            _config_command(settings, topic, f"max.message.bytes={max_event_bytes + _BATCH_OVERHEAD_BYTES}"),
        )
    return Finding(
        "record size",
        Level.WARNING,
        f"{message}: larger ones become dead letters",
        "Raise events.max_event_bytes, or lower max.message.bytes.",
        _config_command(settings, topic, f"max.message.bytes={max_event_bytes + _BATCH_OVERHEAD_BYTES}"),
    )


def _codecs(topic: TopicState) -> Iterator[Finding]:
    missing = {codec: package for codec, (package, is_installed) in _CODECS.items() if not is_installed()}
    compression = (topic.config or {}).get("compression.type", "producer")
    if not missing:
        yield Finding("codecs", Level.OK, f"gzip, {', '.join(_CODECS)} can be read")
        return
    message = f"batches compressed with {', '.join(missing)} cannot be read"
    if compression in missing:
        message += f", and topic {topic.name!r} compresses all with {compression}"
    elif compression != "producer":  # The broker compresses everything anew with what can be read.
        yield Finding("codecs", Level.OK, f"topic {topic.name!r} compresses all with {compression}, which can be read")
        return
    yield Finding(
        "codecs",
        Level.FAILURE if compression in missing else Level.WARNING,
        f"{message}: the stream waits at the first of them",
        "Install their libraries.",
        shlex.join(["pip", "install", *missing.values()]),
    )


def _clock(facts: KafkaFacts) -> Iterator[Finding]:
    newest_ms, clock_ms = facts.newest_record_ahead_ms, facts.clock_ahead_ms
    if clock_ms is None:
        yield Finding(
            "clock", Level.UNKNOWN, "the brokers' clock cannot be known: our user may not describe the cluster"
        )
    elif abs(clock_ms) > _MAX_CLOCK_DIFFERENCE_MS:
        ahead = "ahead of" if clock_ms > 0 else "behind"
        yield Finding(
            "clock",
            Level.WARNING,
            f"the brokers' clock is {abs(clock_ms) / MS_PER_SECOND:,.0f} s {ahead} this machine's: ages of events are "
            "wrong by as much",
            "Synchronize the clocks of brokers, producers and servers (NTP).",
        )
    else:
        yield Finding("clock", Level.OK, f"the brokers' clock and this machine's differ by {abs(clock_ms):,.0f} ms")
    if newest_ms is not None and newest_ms > _MAX_CLOCK_DIFFERENCE_MS:
        yield Finding(
            "clock",
            Level.WARNING,
            f"the newest record is dated {newest_ms / MS_PER_SECOND:,.0f} s after this machine's time",
            "Synchronize the clocks of producers and servers (NTP).",
        )


def _dead_letters(facts: KafkaFacts, settings: Settings) -> Iterator[Finding]:
    kafka, topic = settings.kafka, facts.dead_letters
    if topic.rights is None and topic.state != "hidden":
        yield Finding("dead letters", Level.UNKNOWN, f"the broker does not say who may write to topic {topic.name!r}")
        return
    wanted: tuple[str, ...] = ("Write", "Describe")
    if topic.state != "exists" and not _may_create(facts, topic):
        wanted += ("Create",)
    missing = _missing_rights(topic, Need("topic", topic.name, wanted)) if topic.state != "hidden" else wanted
    if not missing:
        exists = "exists" if topic.state == "exists" else "is made when the first record is refused"
        yield Finding("dead letters", Level.OK, f"topic {topic.name!r} {exists}, and may be written")
        return
    follows = {
        "wait": "the stream waits at the first record that is refused",
        "file": f"refused records go to {kafka.dead_letter_file}",
        "count": "refused records are counted, and put nowhere",
    }[kafka.on_dead_letter_failure]
    yield Finding(
        "dead letters",
        Level.FAILURE if kafka.on_dead_letter_failure == "wait" else Level.WARNING,
        f"our user has no right to {' and '.join(missing)} on topic {topic.name!r}: {follows}",
        "Give it; or set kafka.on_dead_letter_failure.",
        Need("topic", topic.name, missing).grant_command(kafka),
    )


def _group(facts: KafkaFacts, settings: Settings) -> Iterator[Finding]:
    group = group_name(settings)
    if facts.group == "refused":
        yield Finding(
            "group",
            Level.WARNING,
            f"our user has no right to Read group {group!r}: Kafka's tools do not show how far the server is",
            "Give it; or set kafka.group_id to an empty text.",
            Need("group", group, ("Read",)).grant_command(settings.kafka),
        )
    elif facts.group == "unknown":
        message = "offsets are committed to it after the first checkpoint; until then the right cannot be known"
        yield Finding("group", Level.UNKNOWN, f"group {group!r}: {message}")
    elif facts.group == "allowed":
        yield Finding("group", Level.OK, f"offsets may be committed to group {group!r}")


def _may_create(facts: KafkaFacts, topic: TopicState) -> bool:
    if topic.rights is None and topic.state != "hidden":
        return True  # The broker knows no rights.
    return "CREATE" in (topic.rights or ()) or "CREATE" in (facts.cluster_rights or ())


def _missing_rights(topic: TopicState, need: Need) -> tuple[str, ...]:
    if topic.rights is None:
        return ()
    return tuple(operation for operation in need.operations if operation.upper() not in topic.rights)


def _days(duration_ms: float) -> str:
    return "ever" if math.isinf(duration_ms) else f"{duration_ms / MS_PER_DAY:,.4g} days"


def _topics_command(settings: Settings, *words: str) -> str:
    return shlex.join(["kafka-topics", "--bootstrap-server", settings.kafka.bootstrap_servers.split(",")[0], *words])


def _config_command(settings: Settings, topic: TopicState, config: str) -> str:
    server = settings.kafka.bootstrap_servers.split(",")[0]
    words = ["kafka-configs", "--bootstrap-server", server, "--alter", "--entity-type", "topics"]
    return shlex.join([*words, "--entity-name", topic.name, "--add-config", config])
