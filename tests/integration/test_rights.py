"""What a Kafka with access rules must grant: reading needs Read and Describe on the topic, and nothing else."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ACL, ACLFilter, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from kafka.errors import SecurityDisabledError

from springtide.checkpoint import CheckpointStore
from springtide.clock import Deadline
from springtide.errors import BrokerError
from springtide.settings.model import CheckpointSettings, KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.cli.publish import publish_file
from springtide_services.stream import current_problem
from springtide_services.stream.group_offsets import group_name
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config

pytestmark = pytest.mark.kafka

Allow = Callable[[ResourceType, str, ACLOperation], None]


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return what has been logged since the last call, whether or not a test before this one has set up logging."""

    def read() -> str:
        text = capsys.readouterr().out + caplog.text
        caplog.clear()
        return text

    return read


@pytest.fixture
def allow(broker: str) -> Iterator[Allow]:
    """Give the user of the SCRAM listener a right: ``allow(ResourceType.TOPIC, "events", ACLOperation.READ)``."""
    if not os.environ.get("KAFKA_SASL_PLAINTEXT_BOOTSTRAP_SERVERS"):
        pytest.skip("wanted KAFKA_SASL_PLAINTEXT_BOOTSTRAP_SERVERS, a listener with users")
    principal = f"User:{os.environ['KAFKA_USERNAME']}"
    acls = []
    with KafkaAdminClient(bootstrap_servers=broker) as admin:
        try:
            admin.describe_acls(
                ACLFilter(
                    principal, None, ACLOperation.ANY, ACLPermissionType.ANY, ResourcePattern(ResourceType.TOPIC, "x")
                )
            )
        except SecurityDisabledError:
            pytest.skip("wanted a Kafka with access rules (authorizer.class.name)")

        def give(kind: ResourceType, name: str, operation: ACLOperation) -> None:
            acl = ACL(principal, "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
            admin.create_acls([acl])
            acls.append(acl)

        yield give
        if acls:
            admin.delete_acls(acls)


@pytest.fixture
def as_reader(fresh_kafka: Callable[..., KafkaSettings], allow: Allow, tmp_path: Path) -> Callable[..., Settings]:
    """Make settings of a user who may read the topic, and nothing else; the dead-letter topic does not exist."""

    def make(**changes: object) -> Settings:
        kafka = fresh_kafka(num_partitions=1)
        allow(ResourceType.TOPIC, kafka.topic, ACLOperation.READ)
        allow(ResourceType.TOPIC, kafka.topic, ACLOperation.DESCRIBE)
        with KafkaAdminClient(**client_config(kafka)) as admin:
            admin.delete_topics([kafka.dead_letter_topic])
        options = {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": os.environ["KAFKA_USERNAME"],
            "sasl_plain_password": os.environ["KAFKA_PASSWORD"],
        }
        servers = os.environ["KAFKA_SASL_PLAINTEXT_BOOTSTRAP_SERVERS"]
        update = {"bootstrap_servers": servers, "client_options": options, **changes}
        return Settings(
            kafka=kafka.model_copy(update=update), checkpoint=CheckpointSettings(url=str(tmp_path / "checkpoints"))
        )

    return make


@contextlib.contextmanager
def _running(settings: Settings, store: CheckpointStore | None = None) -> Iterator[tuple[IngestLoop, LiveState]]:
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, store)
    loop.start()
    try:
        yield loop, state
    finally:
        loop.stop()


def _until(is_so: Callable[[], object], budget_s: float = 60.0) -> None:
    deadline = Deadline.after(budget_s)
    while not is_so():
        assert not deadline.is_over(), f"not within {budget_s} s"
        time.sleep(0.01)


def _publish(broker: str, settings: Settings, *users: str) -> None:
    as_admin = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": broker, "client_options": {}})}
    )
    with EventPublisher(as_admin) as publisher:
        for user in users:
            event = events_pb2.Event(interaction={"user": user, "item": "bread", "type": "purchase"})
            event.event_time.FromMilliseconds(1_000)
            publisher.publish(event)


def _problem(loop: IngestLoop) -> tuple[str, str]:
    lasting = loop.status().problem
    return ("", "") if lasting is None else (lasting.problem.kind, lasting.problem.message)


def test_right_to_read_is_enough(broker: str, as_reader: Callable[..., Settings]) -> None:
    settings = as_reader()
    _publish(broker, settings, "ann", "bob")
    with _running(settings) as (loop, state):
        _until(lambda: loop.is_caught_up)
        assert state.num_events == 2
        assert loop.status().problem is None


def test_refused_record_waits_for_the_right_to_put_it_away(
    broker: str, as_reader: Callable[..., Settings], allow: Allow, logged: Callable[[], str]
) -> None:
    settings = as_reader()
    dead_letters = settings.kafka.dead_letter_topic
    _publish(broker, settings, "ann", "", "bob")
    with _running(settings) as (loop, state):
        _until(lambda: _problem(loop)[0] == "dead_letters")
        time.sleep(1.0)  # It reads the same records again and again meanwhile.
        kind, message = _problem(loop)
        assert kind == "dead_letters", "reading the same records again does not clear it"
        assert "a refused record cannot be put away" in message
        assert f"--topic {dead_letters}" in message
        assert "Request(" not in message
        assert loop.status().next_offsets == {0: 0}
        assert loop.status().failure is None
        allow(ResourceType.TOPIC, dead_letters, ACLOperation.CREATE)
        allow(ResourceType.TOPIC, dead_letters, ACLOperation.WRITE)
        _until(lambda: state.num_events == 2)
        assert loop.status().dead_letters == {"empty_id": 1}
        _until(lambda: loop.status().problem is None)
    assert logged().count("stream_waits") == 1, "said once, then seldom"


def test_refused_record_is_kept_in_a_file_if_the_settings_say_so(
    broker: str, as_reader: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "letters" / "dead.jsonl"
    settings = as_reader(on_dead_letter_failure="file", dead_letter_file=str(file))
    _publish(broker, settings, "ann", "", "bob")
    with _running(settings) as (loop, state):
        _until(lambda: state.num_events == 2)
        status = loop.status()
        assert (status.dead_letters, status.num_letters_not_written) == ({"empty_id": 1}, 1)
    (letter,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert (letter["topic"], letter["offset"], letter["reason"]) == (settings.kafka.topic, 1, "empty_id")


def test_refused_record_is_counted_if_the_settings_say_so(broker: str, as_reader: Callable[..., Settings]) -> None:
    settings = as_reader(on_dead_letter_failure="count")
    _publish(broker, settings, "ann", "", "bob")
    with _running(settings) as (loop, state):
        _until(lambda: state.num_events == 2)
        status = loop.status()
        assert (status.dead_letters, status.num_letters_not_written) == ({"empty_id": 1}, 1)


def test_missing_right_to_read_is_named_and_waited_for(
    broker: str, as_reader: Callable[..., Settings], fresh_kafka: Callable[..., KafkaSettings], allow: Allow
) -> None:
    settings = as_reader(topic=fresh_kafka(num_partitions=1).topic)
    topic = settings.kafka.topic
    _publish(broker, settings, "ann")
    with _running(settings) as (loop, state):
        _until(lambda: _problem(loop)[0] == "authorization")
        assert f"--operation Read --operation Describe --topic {topic}" in _problem(loop)[1]
        allow(ResourceType.TOPIC, topic, ACLOperation.DESCRIBE)
        time.sleep(0.5)  # It tries again meanwhile, and may not read yet.
        assert _problem(loop)[0] == "authorization"
        allow(ResourceType.TOPIC, topic, ACLOperation.READ)
        _until(lambda: state.num_events == 1)


def test_wrong_password_is_said_at_once(as_reader: Callable[..., Settings]) -> None:
    settings = as_reader()
    options = {**settings.kafka.client_options, "sasl_plain_password": "guessed"}
    with _running(
        settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"client_options": options})})
    ) as (loop, _):
        _until(lambda: _problem(loop)[0] == "authentication", budget_s=20.0)
        assert "guessed" not in _problem(loop)[1]
        assert loop.status().failure is None


def test_problem_is_logged_again_only_after_a_while(
    as_reader: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    monkeypatch.setattr(current_problem, "_LOG_AGAIN_S", 0.5)
    settings = as_reader()
    options = {**settings.kafka.client_options, "sasl_plain_password": "guessed"}
    with _running(settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"client_options": options})})):
        start_s, said = time.monotonic(), [0]

        def is_said_again() -> bool:
            said.append(logged().count("stream_waits"))  # Since the last look.
            return sum(said) >= 2

        _until(is_said_again)
    assert sum(said) + logged().count("stream_waits") <= 2 + (time.monotonic() - start_s) / 0.5


def test_missing_right_to_the_group_is_one_line_and_no_fault(
    broker: str, as_reader: Callable[..., Settings], allow: Allow, logged: Callable[[], str]
) -> None:
    settings = as_reader(group_id="springtide-test-{host}")
    store = CheckpointStore(settings.checkpoint.url)
    group = group_name(settings)

    def committed() -> int | None:
        with KafkaAdminClient(bootstrap_servers=broker) as admin:
            offsets = admin.list_group_offsets([group])[group]
        offset = offsets.get(TopicPartition(settings.kafka.topic, 0))
        return None if offset is None else offset.offset

    _publish(broker, settings, "ann", "bob")
    with _running(settings, store) as (loop, state):
        _until(lambda: state.num_events == 2)
        loop.checkpoint_now()
        _publish(broker, settings, "cid")
        _until(lambda: state.num_events == 3)
        loop.checkpoint_now()
        _until(lambda: "group_offsets_not_committed" in logged())
        assert loop.status().problem is None
        allow(ResourceType.GROUP, group, ACLOperation.READ)
        _publish(broker, settings, "dan")
        _until(lambda: state.num_events == 4)
        loop.checkpoint_now()
        _until(lambda: committed() == 4)
    assert "group_offsets_not_committed" not in logged()


def test_publisher_needs_the_right_to_write_alone_and_is_told_so(
    as_reader: Callable[..., Settings], fresh_kafka: Callable[..., KafkaSettings], allow: Allow, tmp_path: Path
) -> None:
    settings = as_reader(topic=fresh_kafka(num_partitions=1).topic)
    topic = settings.kafka.topic
    file = tmp_path / "events.jsonl"
    file.write_text('{"eventTime": "2017-07-02T12:53:20Z", "interaction": {"user": "u", "item": "i", "type": "view"}}')
    with pytest.raises(BrokerError, match=f"--operation Write --operation Describe --topic {topic}"):
        publish_file(settings, file)
    allow(ResourceType.TOPIC, topic, ACLOperation.DESCRIBE)
    with pytest.raises(BrokerError, match=f"an event was not taken: .*--operation Write .*--topic {topic}"):
        publish_file(settings, file)
    allow(ResourceType.TOPIC, topic, ACLOperation.WRITE)
    publish_file(settings, file)
