"""Three brokers, one of them killed and another paused under load: what was acknowledged is read, and read once."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from springtide.clock import Deadline
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.topics import client_config, ensure_topics

pytestmark = pytest.mark.kafka


class Cluster:
    """Three brokers in a folder, by the program KAFKA_START and the one named ``stop`` beside it."""

    def __init__(self, folder: Path) -> None:
        self._start = os.environ.get("KAFKA_START", "")
        if not self._start:
            pytest.skip("needs KAFKA_START, a program that starts a Kafka")
        self._folder = folder
        lines = self.start().splitlines()
        self.servers = next(line.partition("=")[2] for line in lines if "KAFKA_BOOTSTRAP_SERVERS" in line)

    def start(self) -> str:
        """Start what has stopped, on the same ports and data."""
        command = [self._start, "--brokers", "3", "--dir", str(self._folder)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def stop(self, *words: object) -> None:
        command = [Path(self._start).with_name("stop"), self._folder, *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "kafka")
    yield made
    made.stop("--resume")
    made.stop("--kill")


class Load(threading.Thread):
    """Sends an event of its own user every few milliseconds, and notes which ones were acknowledged by all copies."""

    def __init__(self, kafka: KafkaSettings) -> None:
        super().__init__(name="load", daemon=True)
        self.acknowledged: set[str] = set()
        self.is_over = threading.Event()
        self._kafka = kafka

    def run(self) -> None:
        producer = KafkaProducer(**client_config(self._kafka), acks="all", delivery_timeout_ms=60_000)
        sent = []
        number = 0
        while not self.is_over.wait(0.005):
            event = events_pb2.Event(interaction={"user": f"u{number}", "item": "bread", "type": "purchase"})
            event.event_time.FromMilliseconds(1_000 + number)
            partition = number % self._kafka.num_partitions
            sent.append(
                (f"u{number}", producer.send(self._kafka.topic, event.SerializeToString(), partition=partition))
            )
            number += 1
        for user, future in sent:
            try:
                future.get(90)
            except KafkaError:
                continue  # Not acknowledged: it may be in the log or not.
            self.acknowledged.add(user)
        producer.close()


def leaders(kafka: KafkaSettings) -> list[int]:
    with KafkaAdminClient(**client_config(kafka)) as admin:
        (topic,) = admin.describe_topics([kafka.topic])
    return [int(partition["leader_id"]) for partition in topic["partitions"]]


@pytest.mark.fault("one broker of three killed, another paused")
@pytest.mark.timeout(300)
def test_acknowledged_events_are_read_once_though_brokers_fail(cluster: Cluster) -> None:
    kafka = KafkaSettings(bootstrap_servers=cluster.servers, topic="test.three-brokers", num_partitions=3)
    settings = Settings(kafka=kafka)
    ensure_topics(settings)
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    load = Load(kafka)
    load.start()
    time.sleep(3.0)  # Of load before anything breaks.

    first, *_ = leaders(kafka)
    cluster.stop(first, "--kill")
    paused = next(number for number in (1, 2, 3) if number != first)
    cluster.stop(paused, "--pause")  # One of three is left: nothing is acknowledged now, and nothing may be lost.
    time.sleep(8.0)  # So long nothing can be written.
    cluster.stop(paused, "--resume")
    time.sleep(3.0)  # Of load on two brokers.
    cluster.start()
    time.sleep(5.0)  # And on three.
    load.is_over.set()
    load.join(120.0)
    assert not load.is_alive()

    deadline = Deadline.after(60.0)
    while not load.acknowledged <= set(state.graph.nodes("user").ids.all_ids()):
        assert not deadline.is_over(), (loop.status(), len(load.acknowledged), state.num_events)
        time.sleep(0.1)
    time.sleep(1.0)  # What was read twice would come now.
    loop.stop()
    assert loop.status().failure is None
    assert len(load.acknowledged) > 1_000
    users = state.graph.nodes("user").ids.all_ids()
    assert state.num_events == len(users), "none was read twice"
