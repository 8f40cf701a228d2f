"""What facts about a Kafka mean for the settings; reading the facts is tested on a real Kafka."""

import dataclasses
from typing import Any

import pytest

from springtide.clock import MS_PER_DAY
from springtide.settings.model import EventSettings, GraphSettings, KafkaSettings, Settings
from springtide_services.findings import Finding, Level
from springtide_services.stream import kafka_check
from springtide_services.stream.kafka_check import check_kafka, findings
from springtide_services.stream.kafka_facts import KafkaFacts, TopicState

RIGHTS = frozenset({"READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"})
CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "2",
    "compression.type": "producer",
}
SETTINGS = Settings(
    kafka=KafkaSettings(
        bootstrap_servers="kafka:9092", client_options={"sasl_plain_username": "ann", "security_protocol": "SASL_SSL"}
    )
)
EVENTS = TopicState("springtide.events", "exists", 4, 3, (), RIGHTS, CONFIG)
FACTS = KafkaFacts(
    num_brokers=3,
    unreachable_servers=(),
    events=EVENTS,
    dead_letters=TopicState("springtide.dead-letters", "exists", 1, 3, (), RIGHTS, CONFIG),
    cluster_rights=frozenset(),
    group="allowed",
    clock_ahead_ms=3.0,
    newest_record_ahead_ms=-1_000.0,
)


@pytest.fixture(autouse=True)
def all_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = {codec: (package, lambda: True) for codec, (package, _) in kafka_check._CODECS.items()}
    monkeypatch.setattr(kafka_check, "_CODECS", codecs)


def not_ok(facts: KafkaFacts, settings: Settings = SETTINGS) -> list[Finding]:
    return [finding for finding in findings(facts, settings) if finding.level is not Level.OK]


def with_events(**changes: Any) -> KafkaFacts:
    return dataclasses.replace(FACTS, events=dataclasses.replace(EVENTS, **changes))


def with_config(**changes: str) -> KafkaFacts:
    return with_events(config=CONFIG | {name.replace("_", "."): value for name, value in changes.items()})


def with_dead_letters(*rights: str, state: Any = "exists") -> KafkaFacts:
    topic = dataclasses.replace(FACTS.dead_letters, state=state, rights=frozenset(rights))
    return dataclasses.replace(FACTS, dead_letters=topic)


def test_kafka_as_it_should_be_gives_only_ok() -> None:
    assert not_ok(FACTS) == []
    subjects = {finding.subject for finding in findings(FACTS, SETTINGS)}
    assert subjects == {
        "connection", "topic", "partitions", "copies", "cleanup policy", "retention", "record size", "codecs", "clock",
        "dead letters", "group",
    }  # fmt: skip


CONFIGURE = "kafka-configs --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name springtide.events"
GRANT = "kafka-acls --bootstrap-server kafka:9092 --add --allow-principal User:ann"


@pytest.mark.parametrize(
    ("facts", "subject", "level", "words", "command"),
    [
        (
            with_events(num_partitions=1),
            "partitions",
            Level.WARNING,
            "1 partitions, kafka.num_partitions is 4",
            "kafka-topics --bootstrap-server kafka:9092 --alter --topic springtide.events --partitions 4",
        ),
        (with_events(num_copies=1), "copies", Level.WARNING, "takes events with it", ""),
        (
            with_config(min_insync_replicas="1"),
            "copies",
            Level.WARNING,
            "only one broker has it",
            f"{CONFIGURE} --add-config min.insync.replicas=2",
        ),
        (
            with_config(min_insync_replicas="3"),
            "copies",
            Level.WARNING,
            "no event can be written",
            f"{CONFIGURE} --add-config min.insync.replicas=2",
        ),
        (
            with_config(cleanup_policy="compact"),
            "cleanup policy",
            Level.FAILURE,
            "only the newest event of each key",
            f"{CONFIGURE} --add-config cleanup.policy=delete",
        ),
        (
            with_config(retention_ms=str(7 * MS_PER_DAY)),
            "retention",
            Level.WARNING,
            "for 7 days, the graph keeps edges of any age",
            f"{CONFIGURE} --add-config retention.ms=-1,retention.bytes=-1",
        ),
        (
            with_config(retention_bytes="1000000"),
            "retention",
            Level.WARNING,
            "for ever and at most 1,000,000 bytes per partition",
            f"{CONFIGURE} --add-config retention.ms=-1,retention.bytes=-1",
        ),
        (
            with_config(max_message_bytes="100000"),
            "record size",
            Level.WARNING,
            "the topic refuses larger ones",
            f"{CONFIGURE} --add-config max.message.bytes=1065536",
        ),
        (
            with_config(max_message_bytes="10000000"),
            "record size",
            Level.WARNING,
            "larger ones become dead letters",
            f"{CONFIGURE} --add-config max.message.bytes=1065536",
        ),
        (
            with_events(rights=RIGHTS - {"READ"}),
            "rights",
            Level.FAILURE,
            "no right to Read on topic 'springtide.events'",
            f"{GRANT} --operation Read --topic springtide.events",
        ),
        (
            with_events(rights=RIGHTS - {"DESCRIBE_CONFIGS"}, config={}),
            "topic settings",
            Level.UNKNOWN,
            "cannot be known: our user has no right",
            f"{GRANT} --operation DescribeConfigs --topic springtide.events",
        ),
        (
            with_events(partitions_without_leader=(1, 3)),
            "topic",
            Level.FAILURE,
            "no leader for partitions 1, 3",
            "kafka-topics --bootstrap-server kafka:9092 --describe --topic springtide.events",
        ),
        (
            dataclasses.replace(FACTS, events=TopicState("springtide.events", "missing", rights=RIGHTS)),
            "topic",
            Level.FAILURE,
            "does not exist, and our user has no right to create it",
            "kafka-topics --bootstrap-server kafka:9092 --create --topic springtide.events --partitions 4",
        ),
        (
            dataclasses.replace(FACTS, events=TopicState("springtide.events", "hidden")),
            "rights",
            Level.FAILURE,
            "no right to see topic",
            f"{GRANT} --operation Read --operation Describe --topic springtide.events",
        ),
        (
            dataclasses.replace(FACTS, unreachable_servers=("kafka-2:9092",)),
            "connection",
            Level.WARNING,
            "kafka-2:9092",
            "",
        ),
        (dataclasses.replace(FACTS, clock_ahead_ms=60_000.0), "clock", Level.WARNING, "60 s ahead of", ""),
        (dataclasses.replace(FACTS, clock_ahead_ms=-60_000.0), "clock", Level.WARNING, "60 s behind", ""),
        (dataclasses.replace(FACTS, clock_ahead_ms=None), "clock", Level.UNKNOWN, "cannot be known", ""),
        (dataclasses.replace(FACTS, newest_record_ahead_ms=9_000.0), "clock", Level.WARNING, "dated 9 s after", ""),
        (
            with_dead_letters("DESCRIBE"),
            "dead letters",
            Level.FAILURE,
            "no right to Write on topic 'springtide.dead-letters': the stream waits",
            f"{GRANT} --operation Write --topic springtide.dead-letters",
        ),
        (
            with_dead_letters("DESCRIBE", "WRITE", state="missing"),
            "dead letters",
            Level.FAILURE,
            "no right to Create",
            f"{GRANT} --operation Create --topic springtide.dead-letters",
        ),
    ],
)
def test_finding_names_what_follows_and_the_way_out(
    facts: KafkaFacts, subject: str, level: Level, words: str, command: str
) -> None:
    (finding,) = not_ok(facts)
    assert (finding.subject, finding.level, finding.command) == (subject, level, command)
    assert words in finding.message


def test_missing_right_to_the_group_is_a_warning() -> None:
    (finding,) = not_ok(dataclasses.replace(FACTS, group="refused"))
    assert finding.level is Level.WARNING
    assert "--operation Read --group springtide-" in finding.command


def test_dead_letters_that_need_no_topic_are_a_warning() -> None:
    kafka = SETTINGS.kafka.model_copy(update={"on_dead_letter_failure": "file"})
    (finding,) = not_ok(with_dead_letters("DESCRIBE"), SETTINGS.model_copy(update={"kafka": kafka}))
    assert finding.level is Level.WARNING
    assert "go to springtide-state/dead-letters.jsonl" in finding.message


def test_topic_that_may_be_created_is_ok() -> None:
    missing = TopicState("springtide.events", "missing", rights=RIGHTS | {"CREATE"})
    assert not_ok(dataclasses.replace(FACTS, events=missing)) == []
    missing = TopicState("springtide.events", "missing", rights=RIGHTS)
    assert not_ok(dataclasses.replace(FACTS, events=missing, cluster_rights=frozenset({"CREATE"}))) == []


def test_retention_as_long_as_the_graph_keeps_edges_is_ok() -> None:
    settings = SETTINGS.model_copy(update={"graph": GraphSettings(max_age_days=30)})
    assert not_ok(with_config(retention_ms=str(30 * MS_PER_DAY)), settings) == []
    (finding,) = not_ok(with_config(retention_ms=str(29 * MS_PER_DAY)), settings)
    assert f"retention.ms={30 * MS_PER_DAY}," in finding.command


def test_largest_record_follows_the_settings() -> None:
    settings = SETTINGS.model_copy(update={"events": EventSettings(max_event_bytes=10_000_000)})
    (finding,) = not_ok(FACTS, settings)
    assert finding.command.endswith("--add-config max.message.bytes=10065536")


def test_missing_codecs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = {"lz4": ("lz4", lambda: True), "snappy": ("python-snappy", lambda: False)}
    monkeypatch.setattr(kafka_check, "_CODECS", codecs)
    (finding,) = not_ok(FACTS)
    assert (finding.level, finding.command) == (Level.WARNING, "pip install python-snappy")
    (finding,) = not_ok(with_config(compression_type="snappy"))
    assert finding.level is Level.FAILURE
    assert not_ok(with_config(compression_type="lz4")) == []


def test_broker_that_knows_no_rights_gives_no_warning() -> None:
    events = TopicState("springtide.events", "exists", 4, 1, (), None, {})
    facts = KafkaFacts(1, (), events, TopicState("springtide.dead-letters", "missing"), None, "unknown", None, None)
    assert {finding.level for finding in not_ok(facts)} == {Level.UNKNOWN}


def test_kafka_that_is_away_is_one_failure() -> None:
    (finding,) = check_kafka(Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")))
    assert finding.level is Level.FAILURE
    assert "127.0.0.1:1" in finding.message
