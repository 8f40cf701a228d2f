"""`springtide up`, as a person runs it: one process that looks after the others and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from springtide.settings.model import KafkaSettings, Settings
from springtide.v1 import events_pb2 as pb
from springtide.v1 import recommender_pb2
from springtide_services.addresses import free_port
from springtide_services.serving.client import Client
from springtide_services.stream.producer import EventPublisher

SPRINGTIDE = Path(sys.executable).with_name("springtide")
BUDGET_S = 120.0  # A busy machine may need half a minute to import torch in four processes at once.


class Up:
    """A running `springtide up`, and what it has said so far."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._log = folder / "up.log"
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("KAFKA_BOOTSTRAP_SERVERS", "SPRINGTIDE_SETTINGS")
        }
        environment |= {"SPRINGTIDE_SERVER__PORT": "0", "TMPDIR": str(folder), **variables}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([SPRINGTIDE, "up"], cwd=folder, stderr=log, stdout=log, env=environment)

    def said(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self._log.read_text())

    def until_said(self, pattern: str) -> re.Match[str]:
        eventually(lambda: self.said(pattern) is not None or self.process.poll() is not None)
        match = self.said(pattern)
        assert match is not None, self._log.read_text()
        return match

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, command: str) -> psutil.Process | None:
        return next((child for child in self.children() if command in child.cmdline()), None)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BUDGET_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def test_up_serves_heals_and_leaves_nothing_behind(up: Up, tmp_path: Path) -> None:
    kafka = KafkaSettings(bootstrap_servers=up.until_said(r"Kafka +(\S+), topic springtide.events")[1])
    address = up.until_said(r"gRPC +(\S+)")[1]
    assert up.said("forgets everything when it stops")
    request = recommender_pb2.RecommendRequest(user="ann")
    with EventPublisher(Settings(kafka=kafka)) as publisher, Client(address) as client:
        event = pb.Event(interaction=pb.Interaction(user="ann", item="umbrella", type="purchase"))
        event.event_time.GetCurrentTime()
        partition, offset = publisher.publish(event)
        request.min_position.next_offsets[partition] = offset + 1
        request.wait.FromSeconds(10)
        assert [item.item for item in client.recommend(request).items] == ["umbrella"]

        server = up.child("serve")
        assert server is not None
        server.kill()
        up.until_said(r'"reason": "signal SIGKILL", "restart_in_s": 1\.0, "event": "child_ended"')
        eventually(client.is_serving)
        assert [item.item for item in client.recommend(request).items] == ["umbrella"]

    children = up.children()
    assert len(children) >= 3  # Broker, server, trainer.
    up.process.send_signal(signal.SIGTERM)

    assert up.process.wait(BUDGET_S) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert list(tmp_path.glob("springtide-*")) == []  # Its temporary folders.


def test_up_that_is_killed_takes_its_children_with_it(up: Up) -> None:
    eventually(lambda: up.child("serve") is not None and up.child("--schedule") is not None)
    children = up.children()
    assert len(children) >= 3

    up.process.kill()
    up.process.wait()

    _, alive = psutil.wait_procs(children, timeout=BUDGET_S)
    assert alive == []


def test_up_on_an_ipv6_host_is_ready_and_says_where(tmp_path: Path) -> None:
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    running = Up(tmp_path, SPRINGTIDE_SERVER__HOST="::1", SPRINGTIDE_SERVER__PORT=str(port))
    try:
        running.until_said(rf"gRPC +\[::1\]:{port}\b")
        running.until_said(rf"springtide recommend ann --address '\[::1\]:{port}'")
    finally:
        running.process.terminate()
        assert running.process.wait(BUDGET_S) == 0
