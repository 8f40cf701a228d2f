"""What a Kafka cluster says about our topics, rights and clock, asked without changing anything."""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    NoError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from springtide.clock import wall_ms
from springtide.settings.model import Settings
from springtide_services.addresses import split_address
from springtide_services.stream.broker_errors import BrokerProblemError, explain
from springtide_services.stream.client_options import server_list
from springtide_services.stream.group_offsets import group_name
from springtide_services.stream.topics import check_connection, client_config

_TIMEOUTS = {"bootstrap_timeout_ms": 5_000, "request_timeout_ms": 5_000}
_CONNECT_TIMEOUT_S = 1.0
_DEFAULT_PORT = 9_092

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic, as the broker describes it to our user.

    Attributes:
        name: The topic's name.
        state: Whether the broker has it; ``hidden`` if our user may not know.
        num_partitions: Number of partitions; 0 unless it exists.
        num_copies: Replicas of the partition that has the fewest.
        partitions_without_leader: Partitions that can be neither read nor written now.
        rights: Operations that our user may do, such as ``READ``; None if the broker does not say.
        config: The topic's settings by name, defaults included; empty if they cannot be known.
    """

    name: str
    state: Literal["exists", "missing", "hidden"]
    num_partitions: int = 0
    num_copies: int = 0
    partitions_without_leader: tuple[int, ...] = ()
    rights: frozenset[str] | None = None
    config: Mapping[str, str] | None = None

    def number(self, key: str) -> int | None:
        """Return a setting of the topic as a number; None if it cannot be known."""
        value = (self.config or {}).get(key)
        return None if value is None else int(value)


@dataclass(frozen=True, slots=True)
class KafkaFacts:
    """What the cluster says.

    Attributes:
        num_brokers: Number of brokers.
        unreachable_servers: Bootstrap servers that take no connection, ``host:port``.
        events: The events topic.
        dead_letters: The dead-letter topic.
        cluster_rights: Operations that our user may do on the cluster; None if the broker does not say.
        group: Whether our user may commit offsets to the group; ``none`` if the settings name no group.
        clock_ahead_ms: How far the brokers' clock is ahead of ours, in milliseconds; None if it cannot be known.
        newest_record_ahead_ms: How far the newest timestamp in the events topic is ahead of our clock, in milliseconds;
            negative for the past, None if it cannot be known or there is no record.
    """

    num_brokers: int
    unreachable_servers: tuple[str, ...]
    events: TopicState
    dead_letters: TopicState
    cluster_rights: frozenset[str] | None
    group: Literal["allowed", "refused", "unknown", "none"]
    clock_ahead_ms: float | None
    newest_record_ahead_ms: float | None


def read_facts(settings: Settings) -> KafkaFacts:
    """Ask the cluster; what our user has no right to ask stays unknown.

    Raises:
        BrokerProblemError: If there is no connection, or the broker does not describe topics.
    """
    kafka = settings.kafka
    check_connection(kafka)
    try:
        with KafkaAdminClient(**{**_TIMEOUTS, **client_config(kafka)}) as admin:
            cluster = admin.describe_cluster()
            described = {
                topic["name"]: topic for topic in admin.describe_topics([kafka.topic, kafka.dead_letter_topic])
            }
            events = _topic_state(admin, kafka.topic, described)
            return KafkaFacts(
                num_brokers=len(cluster["brokers"]),
                unreachable_servers=() if kafka.client_options.get("proxy_url") else _unreachable(settings),
                events=events,
                dead_letters=_topic_state(admin, kafka.dead_letter_topic, described),
                cluster_rights=_rights(cluster),
                group=_group_state(admin, group_name(settings), tells_rights=events.rights is not None),
                clock_ahead_ms=_clock_ahead_ms(admin),
                newest_record_ahead_ms=_newest_record_ahead_ms(admin, events),
            )
    except KafkaError as error:
        raise BrokerProblemError(explain(error, kafka)) from error


def _unreachable(settings: Settings) -> tuple[str, ...]:
    unreachable = []
    for server in server_list(settings.kafka):
        try:
            socket.create_connection(split_address(server, _DEFAULT_PORT), timeout=_CONNECT_TIMEOUT_S).close()
        except OSError:
            unreachable.append(server)
    return tuple(unreachable)


def _rights(described: Mapping[str, Any]) -> frozenset[str] | None:
    operations = described.get("authorized_operations")
    return None if operations is None else frozenset(operations)


def _topic_state(admin: KafkaAdminClient, name: str, described: Mapping[str, Mapping[str, Any]]) -> TopicState:
    topic = described.get(name)
    error = UnknownTopicOrPartitionError if topic is None else for_code(topic["error_code"])
    if error is TopicAuthorizationFailedError:
        return TopicState(name, "hidden")
    if topic is None or error is UnknownTopicOrPartitionError:
        return TopicState(name, "missing", rights=None if topic is None else _rights(topic))
    if error is not NoError:
        raise error(f"topic {name!r}")
    partitions = topic["partitions"]
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    config = _known_or_none(lambda: admin.describe_configs([resource], config_filter="all")["topic"][name])
    return TopicState(
        name,
        "exists",
        num_partitions=len(partitions),
        num_copies=min(len(partition["replica_nodes"]) for partition in partitions),
        partitions_without_leader=tuple(
            sorted(partition["partition_index"] for partition in partitions if partition["leader_id"] < 0)
        ),
        rights=_rights(topic),
        config={key: str(value["value"]) for key, value in (config or {}).items()},
    )


def _group_state(
    admin: KafkaAdminClient, group: str, *, tells_rights: bool
) -> Literal["allowed", "refused", "unknown", "none"]:
    if not group:
        return "none"
    if not tells_rights:  # The embedded broker has no rights.
        return "unknown"
    try:
        described = admin.describe_groups([group])[group]
    except GroupAuthorizationFailedError:
        return "refused"
    except KafkaError:
        return "unknown"
    rights = _rights(described)
    if rights is None:  # The group does not exist yet.
        return "unknown"
    return "allowed" if "READ" in rights else "refused"


def _clock_ahead_ms(admin: KafkaAdminClient) -> float | None:
    """Ask the leader of the cluster's metadata when it was last caught up with itself, which is now."""
    asked_s, asked_ms = time.monotonic(), wall_ms()
    quorum = _known_or_none(admin.describe_metadata_quorum)
    if quorum is None:
        return None
    took_ms = (time.monotonic() - asked_s) * 1e3
    with contextlib.suppress(LookupError, ValueError):
        voters = quorum["topics"][0]["partitions"][0]["current_voters"]
        broker_ms = max(int(voter["last_caught_up_timestamp"]) for voter in voters)
        return float(broker_ms - asked_ms - took_ms / 2) if broker_ms > 0 else None
    return None


def _newest_record_ahead_ms(admin: KafkaAdminClient, topic: TopicState) -> float | None:
    if topic.state != "exists" or topic.rights is None:  # The embedded broker closes the connection.
        return None
    wanted = {TopicPartition(topic.name, number): OffsetSpec.MAX_TIMESTAMP for number in range(topic.num_partitions)}
    found = _known_or_none(lambda: admin.list_partition_offsets(wanted))
    newest_ms = max((offset.timestamp for offset in (found or {}).values()), default=-1)
    return None if newest_ms < 0 else float(newest_ms - wall_ms())


def _known_or_none(ask: Callable[[], _Answer]) -> _Answer | None:
    try:
        return ask()
    except KafkaError:  # A right that is missing, or a request that the broker does not know.
        return None
