"""`springtide up`, as a person runs it: one process that looks after the others and leaves nothing behind."""

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError

from springtide.settings.model import KafkaSettings, Settings
from springtide.v1 import events_pb2 as pb
from springtide.v1 import recommender_pb2
from springtide_services.addresses import free_port
from springtide_services.serving.client import Client
from springtide_services.stream.producer import EventPublisher

SPRINGTIDE = Path(sys.executable).with_name("springtide")
END_S = 893_286_638  # 1998-04-22 23:10:38 UTC
QUICK = {
    "SPRINGTIDE_MODEL__WIDTH": "16",
    "SPRINGTIDE_TRAINING__STEPS": "20",
    "SPRINGTIDE_TRAINING__FINE_TUNE_STEPS": "5",
    "SPRINGTIDE_GATE__NUM_QUESTIONS": "100",
}
pytestmark = pytest.mark.timeout(600)
_GONE_S = 15.0  # A broker that has not acknowledged by then is gone; kafka-python may leave a future open for ever.
BUDGET_S = 120.0  # A busy machine may need half a minute to import torch in four processes at once.


class Up:
    """A running `springtide up`, and what it has said so far."""

    def __init__(self, folder: Path, *arguments: str, has_console: bool = False, **variables: str) -> None:
        self._log = folder / "up.log"
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("KAFKA_BOOTSTRAP_SERVERS", "SPRINGTIDE_SETTINGS")
        }
        environment |= {"SPRINGTIDE_SERVER__PORT": "0", "TMPDIR": str(folder), **variables}
        with self._log.open("wb") as log:
            command = [SPRINGTIDE, "up", *([] if has_console else ["--no-console"]), *arguments]
            self.process = subprocess.Popen(command, cwd=folder, stderr=log, stdout=log, env=environment)

    def said(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self._log.read_text())

    def until_said(self, pattern: str, budget_s: float = BUDGET_S) -> re.Match[str]:
        eventually(lambda: self.said(pattern) is not None or self.process.poll() is not None, budget_s)
        match = self.said(pattern)
        assert match is not None, self._log.read_text()
        return match

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, command: str) -> psutil.Process | None:
        return next((child for child in self.children() if command in child.cmdline()), None)


def eventually(condition: Callable[[], bool], budget_s: float = BUDGET_S) -> None:
    deadline = time.monotonic() + budget_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path, has_console=True, SPRINGTIDE_CONSOLE__PORT="0")
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def test_up_serves_heals_and_leaves_nothing_behind(up: Up, tmp_path: Path) -> None:
    kafka = KafkaSettings(bootstrap_servers=up.until_said(r"Kafka +(\S+), topic springtide.events")[1])
    address = up.until_said(r"gRPC +(\S+)")[1]
    url = up.until_said(r"Console +(\S+)")[1]
    with urllib.request.urlopen(f"{url}/readyz", timeout=60) as ready:
        assert ready.status == 200
    assert up.said("start again in this folder, and all that was read is there")
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
    assert len(children) >= 4  # Broker, server, trainer, console.
    up.process.send_signal(signal.SIGTERM)

    assert up.process.wait(BUDGET_S) == 0
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert [path.name for path in tmp_path.glob("springtide-*")] == ["springtide-state"]  # No temporary folders.


def publish_purchases(running: Up, users: Sequence[str]) -> recommender_pb2.RecommendRequest:
    """Publish a purchase of each user, and return a request that waits until all of them were read."""
    kafka = KafkaSettings(bootstrap_servers=running.until_said(r"Kafka +(\S+), topic springtide.events")[1])
    request = recommender_pb2.RecommendRequest(user=users[0])
    request.wait.FromSeconds(10)
    with EventPublisher(Settings(kafka=kafka)) as publisher:
        for user in users:
            event = pb.Event(interaction=pb.Interaction(user=user, item="umbrella", type="purchase"))
            event.event_time.GetCurrentTime()
            partition, offset = publisher.publish(event)
            request.min_position.next_offsets[partition] = offset + 1
    return request


class Load(threading.Thread):
    """Publishes purchases, many at once, until the broker is gone; it counts those that were acknowledged."""

    def __init__(self, servers: str) -> None:
        super().__init__(name="load", daemon=True)
        self.num_acknowledged = 0
        self.num_unknown = 0  # Sent, and not acknowledged: they may be there or not.
        times = {"delivery_timeout_ms": 3_000, "request_timeout_ms": 2_000, "max_block_ms": int(1_000 * _GONE_S)}
        self._producer = KafkaProducer(bootstrap_servers=servers, **times)

    def run(self) -> None:
        event = pb.Event(interaction=pb.Interaction(item="umbrella", type="purchase"))
        event.event_time.GetCurrentTime()
        while not self.num_unknown:
            sent = []
            for number in range(100):
                event.interaction.user = f"user {self.num_acknowledged + number}"
                sent.append(self._producer.send("springtide.events", event.SerializeToString()))
            given_up_s = time.monotonic() + _GONE_S
            for each in sent:
                try:
                    each.get(max(0.0, given_up_s - time.monotonic()))
                    self.num_acknowledged += 1
                except KafkaError:
                    self.num_unknown += 1
        self._producer._sender.force_close()
        self._producer.close(timeout=1.0)


def num_edges(running: Up) -> int:
    with Client(running.until_said(r"gRPC +(\S+)")[1], running.until_said(r"Admin +(\S+)")[1]) as client:
        return sum(client.status().num_edges.values())


@pytest.mark.long
@pytest.mark.fault("up killed, all of it; stopped under load")
def test_up_goes_on_where_it_was_killed_or_stopped(up: Up, tmp_path: Path) -> None:
    request = publish_purchases(up, ["ann", "bob"])
    with Client(up.until_said(r"gRPC +(\S+)")[1]) as client:
        assert client.recommend(request).items  # Both were read; no checkpoint has them yet.
    up.process.kill()
    up.process.wait()
    eventually(lambda: not locked(tmp_path))

    second = Up(tmp_path)
    try:
        second.until_said("Try it")
        assert num_edges(second) == 2
        load = Load(second.until_said(r"Kafka +(\S+), topic springtide.events")[1])
        load.start()
        eventually(lambda: load.num_acknowledged > 500)
        num_before = load.num_acknowledged  # Nobody waits until the server has read them, and more come meanwhile.
    finally:
        second.process.terminate()
        assert second.process.wait(BUDGET_S) == 0
    load.join(BUDGET_S)

    third = Up(tmp_path)
    try:
        third.until_said("Try it")
        assert 500 < num_before <= num_edges(third) - 2 <= load.num_acknowledged + load.num_unknown
    finally:
        third.process.terminate()
        assert third.process.wait(BUDGET_S) == 0


@pytest.mark.long
def test_up_refuses_checkpoints_of_another_kafka_and_an_ephemeral_one_leaves_nothing(tmp_path: Path) -> None:
    first = Up(tmp_path)
    try:
        publish_purchases(first, ["ann"])
    finally:
        first.process.terminate()
        assert first.process.wait(BUDGET_S) == 0
    shutil.rmtree(tmp_path / "springtide-state" / "journal")

    second = Up(tmp_path)
    try:
        second.until_said("the checkpoints were read from another Kafka")
    finally:
        second.process.terminate()
        second.process.wait(BUDGET_S)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    third = Up(elsewhere, "--ephemeral")
    try:
        publish_purchases(third, ["ann"])
        third.until_said("All of it is forgotten at the end")
    finally:
        third.process.terminate()
        assert third.process.wait(BUDGET_S) == 0
    assert [path.name for path in elsewhere.iterdir()] == ["up.log"]


def locked(folder: Path) -> bool:
    """Return whether a server of a folder still has the lock of its checkpoints."""
    with (folder / "springtide-state" / "checkpoints" / "writer.lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


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


def write_events(path: Path, num_events: int) -> str:
    """Write events of 40 days that ended long ago: even users take even items, odd users odd ones."""
    draws = random.Random(1)
    rows = []
    for number in range(num_events):
        user = draws.randrange(60)
        item = user % 2 + 2 * int(draws.expovariate(0.1))
        rows.append(f"u{user},i{item},{END_S - 1_152 * (num_events - 1 - number)}")
    path.write_text("who,what,timestamp\n" + "\n".join(rows) + "\n")
    return rows[-1].split(",")[0]


def test_up_with_a_file_goes_from_it_to_recommendations(tmp_path: Path) -> None:
    user = write_events(tmp_path / "small.csv", 1_000)
    options = ["small.csv", "--columns", "user=who,item=what", "--type", "purchase"]
    running = Up(tmp_path, *options, **QUICK)
    try:
        address = running.until_said(r"gRPC +(\S+)", 3 * BUDGET_S)[1]
        for stage in (r"Check .* 1000/1000", "Start", r"Publish .* 1000/1000", r"Read into the graph .* 1000/1000"):
            assert running.said(rf"✓ {stage} .*\d:\d\d:\d\d") is not None
        assert running.said(r"✓ Train: \S+ .*\d:\d\d:\d\d")
        assert running.said(r"From the file to this answer: \d+\.\d s")
        assert running.said(rf"For the user of the last event, {user}:")
        assert running.said(rf"springtide recommend --address {address} {user}")
        assert running.said("as of 1998-04-22 23:1\\d UTC, the stream's time")
        assert running.said(rf"Logs +server.log, trainer.log in\s+{tmp_path}")
        shown = re.findall(r"^ *\d +(i\d+) +-?\d", running.until_said(r"(?s)last event(.*)From the file")[1], re.M)
        admin_address = running.until_said(r"Admin +(\S+)")[1]
        with Client(address, admin_address) as client:
            answer = client.recommend(recommender_pb2.RecommendRequest(user=user, count=5))
            status = client.status()
        assert [item.item for item in answer.items] == shown
        assert len(shown) == 5
        assert status.model_version == answer.model_version != ""
        assert sum(status.num_edges.values()) == 1_000
        assert running.process.poll() is None  # It stays up.
        children = running.children()
    finally:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(BUDGET_S) == 0
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert [path.name for path in tmp_path.glob("springtide-*")] == ["springtide-state"]


@pytest.mark.long
def test_up_with_two_files_of_too_few_events_answers_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(
        '{"eventTime": "1998-01-01T00:00:00Z", "nodeUpsert": {"type": "item", "id": "i0", "texts": {"title": "Tea"}}}\n'
    )
    write_events(tmp_path / "few.csv", 5)
    running = Up(tmp_path, "items.jsonl", "few.csv", "--columns", "user=who,item=what", "--type", "purchase")
    try:
        address = running.until_said(r"gRPC +(\S+)")[1]
        assert running.said("no model yet: ")
        assert running.said("no model yet: ranked by the fallback")
        with Client(address) as client:
            assert client.recommend(recommender_pb2.RecommendRequest(user="u1")).items
    finally:
        running.process.terminate()
        assert running.process.wait(BUDGET_S) == 0


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (
            "user,item,timestamp\nann,tea,soon\n",
            ["--type", "purchase"],
            r"line 2.*soon(.|\n)*Nothing was started",
        ),
        ("user,item,timestamp\nann,tea,5\n", [], r"no column for type(.|\n)*Nothing was started"),
        ("user,item,timestamp\nann,tea,5\n", ["--type", "licking"], "no event in it.csv that a server"),
        ("user,item,timestamp\n", ["--type", "purchase"], "no event in it.csv that a server"),
    ],
)
def test_what_is_wrong_with_a_file_is_found_before_anything_starts(
    tmp_path: Path, content: str, arguments: list[str], words: str
) -> None:
    (tmp_path / "it.csv").write_text(content)
    running = Up(tmp_path, "it.csv", *arguments)
    assert running.process.wait(BUDGET_S) == 1
    assert running.said(words), running.said(r"(?s).*")
    assert running.said("Start") is None


def test_options_of_files_are_refused_without_a_file(tmp_path: Path) -> None:
    running = Up(tmp_path, "--type", "purchase")
    assert running.process.wait(BUDGET_S) != 0
    assert running.said("wanted with a file, got none")
