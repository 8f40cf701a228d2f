"""What runs until it is stopped ends in order, with exit code 0: on each stop signal, and when its parent dies."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.lock import HOLDER_FILE
from springtide.checkpoint.lock_holder import LockHolder
from springtide.checkpoint.lock_timing import LockTiming
from springtide.clock import wall_ms
from springtide.model.registry import ModelStore
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import StreamPosition
from springtide.testing import even_odd_state
from springtide_services.addresses import free_port
from springtide_services.exit_codes import EXIT_REFUSED
from springtide_services.stream.topics import ensure_topics
from springtide_services.termination import STOP_BUDGET_S
from springtide_services.training.training_folder import TrainingFolder

SPRINGTIDE = Path(sys.executable).with_name("springtide")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNTIL_STOPPED = (("up",), ("broker",), ("serve",), ("train", "--schedule"), ("demo",))
pytestmark = pytest.mark.timeout(600)
BUDGET_S = 120.0  # A busy machine may need half a minute to import torch in four processes at once.


class Command:
    """A running command of ours, and what it has written so far."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        folder.mkdir()
        self._log = folder / "output.log"
        kept = {name: value for name, value in os.environ.items() if name not in ("KAFKA_BOOTSTRAP_SERVERS",)}
        environment = {**kept, "TMPDIR": str(folder), "SPRINGTIDE_SERVER__PORT": "0", **variables}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [SPRINGTIDE, *arguments], cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
            )

    def output(self) -> str:
        return self._log.read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BUDGET_S
        while not condition():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def catches(self, number: int) -> bool:
        """Return whether the process has a handler for the signal by now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (number - 1) & 1)


@pytest.fixture(autouse=True)
def stop_signals_are_not_ignored() -> Iterator[None]:
    """Children inherit what is ignored: under nohup, and behind a shell's `&`, that is a stop signal."""
    former = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    former[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Start a command, in a folder of its own: ``start("serve", SPRINGTIDE_KAFKA__TOPIC="mine")``."""
    commands: list[Command] = []

    def _start(*arguments: str, **variables: str) -> Command:
        commands.append(Command(tmp_path / str(len(commands)), *arguments, **variables))
        return commands[-1]

    yield _start
    for command in commands:
        command.process.kill()
        command.process.communicate()


def assert_ended_in_order(command: Command) -> None:
    assert command.process.wait(BUDGET_S) == 0, command.output()
    assert "Fatal" not in command.output()
    assert "Traceback" not in command.output()


# What each command writes, or has running, once it is up.
UP: dict[str, tuple[tuple[str, ...], Callable[[Command], bool]]] = {
    "serve": (("serve", "--until-stdin-closes"), lambda command: '"serving"' in command.output()),
    "train": (("train", "--schedule", "--until-stdin-closes"), lambda command: '"settings"' in command.output()),
    "up": (("up", "--no-console"), lambda command: "gRPC  " in command.output()),
}


@pytest.mark.long
@pytest.mark.parametrize("name", UP)
def test_running_command_ends_in_order_on_a_stop_signal_and_on_a_second_one(
    name: str, start: Callable[..., Command], fresh_kafka: Callable[..., KafkaSettings]
) -> None:
    arguments, is_up = UP[name]
    numbers = (signal.SIGINT, signal.SIGHUP)  # Other tests end each of them by SIGTERM.
    commands = [start(*arguments, **(variables_of(fresh_kafka()) if name != "up" else {})) for _ in numbers]
    for number, command in zip(numbers, commands, strict=True):
        command.until(lambda command=command: is_up(command))  # type: ignore[misc]
        command.process.send_signal(number)
        time.sleep(0.2)  # As fast as somebody presses it.
        command.process.send_signal(number)  # The impatient press Ctrl-C twice.

    for command in commands:
        assert_ended_in_order(command)


@pytest.mark.parametrize("name", ["serve", "train"])
def test_child_ends_in_order_when_its_parent_is_gone(
    name: str, start: Callable[..., Command], fresh_kafka: Callable[..., KafkaSettings]
) -> None:
    arguments, is_up = UP[name]
    command = start(*arguments, **variables_of(fresh_kafka()))
    command.until(lambda: is_up(command))
    assert command.process.stdin is not None
    command.process.stdin.close()  # What the kernel does when the parent dies.

    assert_ended_in_order(command)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_broker_ends_in_order_under_load(number: int, start: Callable[..., Command]) -> None:
    port = free_port("127.0.0.1")
    command = start("broker", "--port", str(port))
    command.until(lambda: "Kafka on" in command.output())
    ensure_topics(Settings(kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}", topic="load")))
    producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{port}", delivery_timeout_ms=1_000, request_timeout_ms=500)
    try:
        for _ in range(2_000):
            sent = producer.send("load", b"x" * 1_000)
        sent.get(BUDGET_S)
        for _ in range(2_000):  # It is asked to end with these on their way.
            producer.send("load", b"x" * 1_000)
        command.process.send_signal(number)

        assert_ended_in_order(command)
    finally:
        producer._sender.force_close()
        producer.close(timeout=1.0)


@pytest.mark.parametrize("arguments", UNTIL_STOPPED, ids=" ".join)
def test_signal_during_the_imports_ends_in_order(arguments: tuple[str, ...], start: Callable[..., Command]) -> None:
    commands = [start(*arguments, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1") for _ in STOP_SIGNALS]
    for number, command in zip(STOP_SIGNALS, commands, strict=True):
        command.until(lambda command=command: command.catches(signal.SIGTERM))  # type: ignore[misc]
        command.process.send_signal(number)

    for command in commands:
        assert_ended_in_order(command)


def test_command_under_nohup_outlives_its_terminal(start: Callable[..., Command]) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # Children inherit it: that is all that nohup does.
    try:
        command = start("broker", "--port", str(free_port("127.0.0.1")))
    finally:
        signal.signal(signal.SIGHUP, former)
    command.until(lambda: "Kafka on" in command.output())
    command.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)  # Whoever obeyed the signal would be ending.

    assert command.process.poll() is None
    command.process.terminate()
    assert_ended_in_order(command)


def test_server_that_waits_for_the_checkpoint_lock_ends_at_once(
    start: Callable[..., Command], fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    elsewhere = dataclasses.replace(LockHolder.this_process("token", wall_ms()), host="another-machine")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / HOLDER_FILE).write_bytes(elsewhere.to_json(heartbeat_ms=wall_ms()))
    url = str(tmp_path / "checkpoints")
    role = {"SPRINGTIDE_CHECKPOINT__ROLE": "writer"}  # Another one reads meanwhile.
    command = start("serve", SPRINGTIDE_CHECKPOINT__URL=url, **role, **variables_of(fresh_kafka()))
    command.until(lambda: "waiting_for_checkpoint_lock" in command.output())
    started_s = time.monotonic()
    command.process.terminate()

    assert_ended_in_order(command)
    assert time.monotonic() - started_s < LockTiming().stale_s / 2


def test_up_whose_server_lacks_a_plugin_is_refused_and_starts_nothing_again(start: Callable[..., Command]) -> None:
    command = start("up", SPRINGTIDE_PLUGINS__MODULES='["no_such_module"]')

    assert command.process.wait(BUDGET_S) == EXIT_REFUSED
    assert "plugin 'no_such_module' cannot be loaded" in command.output()
    assert re.search(r"springtide: the (server|trainer) ended with exit code 2\n", command.output())
    assert "child_ended" not in command.output()  # Which would start it again.


def variables_of(kafka: KafkaSettings) -> dict[str, str]:
    return {
        "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SPRINGTIDE_KAFKA__TOPIC": kafka.topic,
        "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
    }


@pytest.mark.long
@pytest.mark.fault("publishing of a file stopped")
def test_publishing_that_is_stopped_says_how_to_go_on_and_the_rest_follows(
    start: Callable[..., Command], fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    num_rows, kafka = 400_000, fresh_kafka(num_partitions=1)
    rows = "".join(f"u{number},i{number % 50},purchase,{number + 1}\n" for number in range(num_rows))
    (tmp_path / "events.csv").write_text("user,item,type,timestamp\n" + rows)
    command = start("publish", str(tmp_path / "events.csv"), **variables_of(kafka))
    journal = tmp_path / "0" / "springtide-state" / "published"
    command.until(lambda: journal.is_dir() and any(path.suffix == ".json" for path in journal.iterdir()))
    command.process.terminate()

    assert command.process.wait(BUDGET_S) in (1, 130), "its work is not done"
    said = re.search(r"published ([\d,]+) of 400,000 events.*--resume", command.output().replace("\n", " "))
    assert said is not None, command.output()
    assert "Traceback" not in command.output()
    num_before = int(said[1].replace(",", ""))
    resumed = subprocess.run(
        [SPRINGTIDE, "publish", "--resume", str(tmp_path / "events.csv")],
        cwd=tmp_path / "0",
        env={**os.environ, **variables_of(kafka)},
        capture_output=True,
        text=True,
        timeout=BUDGET_S,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert f"published {num_rows - num_before:,} events" in resumed.stdout


@pytest.mark.long
@pytest.mark.fault("trainer stopped while it trains")
def test_trainer_that_is_stopped_while_it_trains_ends_in_order_and_publishes_nothing(
    start: Callable[..., Command], fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    state, models = even_odd_state(), tmp_path / "models"
    state.position = StreamPosition("events", "", {0: state.num_events})
    CheckpointStore(str(tmp_path / "checkpoints")).write(state.snapshot(), now_ms=1)
    endless = {"SPRINGTIDE_TRAINING__STEPS": "10000000", "SPRINGTIDE_TRAINING__MIN_INTERACTIONS": "10"}
    urls = {"SPRINGTIDE_CHECKPOINT__URL": str(tmp_path / "checkpoints"), "SPRINGTIDE_MODEL__URL": str(models)}
    command = start("train", "--schedule", **variables_of(fresh_kafka()), **endless, **urls)
    folder = TrainingFolder(str(tmp_path / "training"))
    command.until(lambda: (status := folder.status()) is not None and status.stage not in ("start", "load"))
    started_s = time.monotonic()
    command.process.terminate()

    assert_ended_in_order(command)
    assert time.monotonic() - started_s < 3 * STOP_BUDGET_S  # It takes a second; a busy machine longer.
    assert ModelStore(str(models)).versions() == []
