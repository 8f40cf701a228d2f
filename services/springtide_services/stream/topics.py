"""Topics: created where they are missing, and described."""

import contextlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, NoError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from springtide.clock import Deadline
from springtide.errors import BrokerError
from springtide.settings.model import KafkaSettings, Settings
from springtide_services.stream.broker_errors import BrokerProblemError, Need, Problem, explain
from springtide_services.stream.client_options import options_for, server_list
from springtide_services.stream.handshake import try_handshake

_CREATE_TIMEOUT_MS = 15_000
_CONNECT_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A broker's description of a topic.

    Attributes:
        name: The topic's name.
        topic_id: The UUID that the broker assigned to it; a recreated topic has another one. Empty if the broker has no
            topic ids.
        partitions: The partitions' numbers, ascending.
    """

    name: str
    topic_id: str
    partitions: tuple[int, ...]


def client_config(kafka: KafkaSettings, client: type | None = None) -> dict[str, Any]:
    """Return the options of our kafka-python clients; ``client_options`` of the settings takes precedence.

    Args:
        kafka: The settings.
        client: KafkaConsumer or KafkaProducer, for the options that only it takes.
    """
    return {
        "bootstrap_servers": server_list(kafka),
        "client_id": f"springtide-{socket.gethostname()}",
        **options_for(kafka, client),
    }


def with_client_id(kafka: KafkaSettings, *words: object) -> KafkaSettings:
    """Return settings whose clients tell the broker which process they are in: ``springtide-server-HOST-50051``.

    Args:
        kafka: The settings; a ``client_id`` in ``client_options`` stays.
        words: What the process is, and which one on this machine.
    """
    kind, *others = words
    client_id = "-".join(map(str, ("springtide", kind, socket.gethostname(), *others)))
    return kafka.model_copy(update={"client_options": {"client_id": client_id, **kafka.client_options}})


def check_connection(kafka: KafkaSettings) -> None:
    """Return if a bootstrap server takes a connection with the settings' protocol, user and password.

    To be called before a client is made: it says why there is no connection, which kafka-python's clients do not.

    Raises:
        BrokerProblemError: If none does.
    """
    try:
        try_handshake(client_config(kafka))
    except KafkaError as error:
        raise BrokerProblemError(explain(error, kafka)) from error


def wait_for_broker(kafka: KafkaSettings, timeout_s: float = 30.0) -> None:
    """Wait until a bootstrap server takes connections.

    Raises:
        BrokerError: If none does within ``timeout_s`` seconds; at once if waiting does not help, such as for a wrong
            password.
    """
    deadline = Deadline.after(timeout_s)
    while True:
        try:
            return check_connection(kafka)
        except BrokerProblemError as error:
            if not error.problem.heals:
                raise
            if deadline.is_over():
                raise BrokerError(f"{error} (after {timeout_s:g} s)") from error
        time.sleep(_CONNECT_RETRY_S)


def ensure_topics(settings: Settings, timeout_s: float = 30.0) -> None:
    """Create the events topic and the dead-letter topic if they are missing; existing ones are not changed.

    Raises:
        BrokerError: If no broker answers within ``timeout_s`` seconds, or it refuses to create a topic.
    """
    kafka = settings.kafka
    make_missing_topics(kafka, {kafka.topic: kafka.num_partitions, kafka.dead_letter_topic: 1}, timeout_s)


def make_missing_topics(
    kafka: KafkaSettings,
    wanted: Mapping[str, int],
    timeout_s: float = 30.0,
    operations: tuple[str, ...] = ("Read", "Describe"),
) -> None:
    """Create the topics that are missing.

    Args:
        kafka: The broker.
        wanted: Number of partitions by topic name.
        timeout_s: Seconds to wait for a broker.
        operations: What the caller does with the topics, in the words of `kafka-acls`, for the error.

    Raises:
        BrokerError: If no broker answers within ``timeout_s`` seconds, or it refuses to create a topic.
    """
    wait_for_broker(kafka, timeout_s)
    need = Need("topic", next(iter(wanted)), operations)
    try:
        with KafkaAdminClient(**client_config(kafka)) as admin:
            made = []
            for name, num_partitions in wanted.items():
                need = Need("topic", name, operations)
                if read_topic_facts(admin, name) is None:
                    need = Need("topic", name, ("Create",))
                    with contextlib.suppress(TopicAlreadyExistsError):  # Another process may have created it meanwhile.
                        admin.create_topics({name: {"num_partitions": num_partitions}}, timeout_ms=_CREATE_TIMEOUT_MS)
                    made.append(name)
            if made:
                admin.wait_for_topics(made, timeout_ms=_CREATE_TIMEOUT_MS)
    except KafkaError as error:
        problem = explain(error, kafka, need)
        message = f"topic {need.name!r} cannot be found or created: {problem.message}"
        raise BrokerProblemError(Problem(problem.kind, message)) from error


def read_topic_facts(admin: KafkaAdminClient, name: str) -> TopicFacts | None:
    """Return the broker's description of a topic, or None if it has no topic of that name.

    Raises:
        KafkaError: If the broker does not answer, or cannot describe the topic now.
    """
    described: list[Mapping[str, Any]] = admin.describe_topics([name])
    for topic in described:
        error = for_code(topic["error_code"])
        if topic["name"] == name and error is not UnknownTopicOrPartitionError:
            if error is not NoError:
                raise error(f"topic {name!r}")
            partitions = tuple(sorted(partition["partition_index"] for partition in topic["partitions"]))
            return TopicFacts(name, str(topic.get("topic_id") or ""), partitions)
    return None
