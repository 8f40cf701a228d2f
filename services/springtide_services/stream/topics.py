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
from springtide_services.addresses import split_address

_CREATE_TIMEOUT_MS = 15_000
_CONNECT_RETRY_S = 0.1
_DEFAULT_PORT = 9_092


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


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options of all our kafka-python clients; ``client_options`` of the settings takes precedence."""
    return {"bootstrap_servers": kafka.bootstrap_servers.split(","), "client_id": "springtide", **kafka.client_options}


def is_reachable(kafka: KafkaSettings) -> bool:
    """Return whether any bootstrap server takes a connection now; True without a check if there is a proxy.

    To be called before a client is made: kafka-python 3.0 leaks a thread and sockets if a client finds no broker.
    """
    if kafka.client_options.get("proxy_url"):
        return True
    for server in kafka.bootstrap_servers.split(","):
        address = split_address(server.strip(), _DEFAULT_PORT)
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=2.0):
            return True
    return False


def wait_for_broker(kafka: KafkaSettings, timeout_s: float = 30.0) -> None:
    """Wait until a bootstrap server takes connections.

    Raises:
        BrokerError: If none does within ``timeout_s`` seconds.
    """
    deadline = Deadline.after(timeout_s)
    while not is_reachable(kafka):
        if deadline.is_over():
            raise BrokerError(
                f"no broker answers on {kafka.bootstrap_servers!r} (kafka.bootstrap_servers) after {timeout_s:g} s"
            )
        time.sleep(_CONNECT_RETRY_S)


def ensure_topics(settings: Settings, timeout_s: float = 30.0) -> None:
    """Create the events topic and the dead-letter topic if they are missing; existing ones are not changed.

    Raises:
        BrokerError: If no broker answers within ``timeout_s`` seconds, or it refuses to create a topic.
    """
    kafka = settings.kafka
    make_missing_topics(kafka, {kafka.topic: kafka.num_partitions, kafka.dead_letter_topic: 1}, timeout_s)


def make_missing_topics(kafka: KafkaSettings, wanted: Mapping[str, int], timeout_s: float = 30.0) -> None:
    """Create the topics that are missing.

    Args:
        kafka: The broker.
        wanted: Number of partitions by topic name.
        timeout_s: Seconds to wait for a broker.

    Raises:
        BrokerError: If no broker answers within ``timeout_s`` seconds, or it refuses to create a topic.
    """
    wait_for_broker(kafka, timeout_s)
    try:
        with KafkaAdminClient(**client_config(kafka)) as admin:
            existing = set(admin.list_topics())
            for name, num_partitions in wanted.items():
                if name in existing:
                    continue
                with contextlib.suppress(TopicAlreadyExistsError):  # Another process may have created it meanwhile.
                    admin.create_topics({name: {"num_partitions": num_partitions}}, timeout_ms=_CREATE_TIMEOUT_MS)
            admin.wait_for_topics(list(wanted), timeout_ms=_CREATE_TIMEOUT_MS)
    except KafkaError as error:
        raise BrokerError(
            f"topics {', '.join(wanted)} cannot be created on {kafka.bootstrap_servers}: {error}"
        ) from error


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
