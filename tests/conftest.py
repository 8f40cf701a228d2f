"""A broker for the tests that need one, and topics that no other test touches."""

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from springtide.settings.model import KafkaSettings, Settings
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.topics import ensure_topics

_topic_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Bootstrap servers of the broker named by KAFKA_BOOTSTRAP_SERVERS, or else of an embedded one."""
    named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    if named:
        yield named
        return
    with EmbeddedBroker() as embedded:
        yield embedded.bootstrap_servers


@pytest.fixture
def fresh_kafka(broker: str) -> Callable[..., KafkaSettings]:
    """Make Kafka settings with topics that exist and that no other test uses: ``fresh_kafka(num_partitions=2)``."""

    def make(num_partitions: int = 2, **others: object) -> KafkaSettings:
        suffix = f"{os.getpid()}-{next(_topic_numbers)}"
        kafka = KafkaSettings(
            bootstrap_servers=broker,
            topic=f"test.events-{suffix}",
            dead_letter_topic=f"test.dead-letters-{suffix}",
            num_partitions=num_partitions,
            **others,
        )
        ensure_topics(Settings(kafka=kafka))
        return kafka

    return make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what only a real Apache Kafka does, unless one is named."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return
    skip = pytest.mark.skip(reason="needs a real Apache Kafka: make test-kafka")
    for item in items:
        if item.get_closest_marker("kafka") is not None:
            item.add_marker(skip)
