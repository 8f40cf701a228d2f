"""What serves, asks and shows is light: real processes say what they imported, and how their threads share Python."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from springtide.settings.model import KafkaSettings
from springtide_services.addresses import free_port

TRAINING = ("torch", "torch_geometric", "networkx", "numba", "scipy")
HEAVY = {*TRAINING, "pyarrow"}
PAIRS = [(user, item) for user in range(24) for item in range(16) if user % 2 == item % 2 and user != item]
BUDGET_S = 120.0

# Runs a command of ours, and writes to a file when it ends: what it has imported, its threads, how long one that
# waits for Python's lock lets another one run on, and how long a turn on a core Linux gives to the main thread.
DRIVER = """
import contextlib, json, os, sys
from pathlib import Path
from springtide_services.cli.app import main

found = Path(sys.argv.pop(1))
try:
    main()
finally:
    tasks = Path("/proc/self/task")
    names = []
    for task in tasks.iterdir() if tasks.is_dir() else ():
        with contextlib.suppress(OSError):  # A thread may have ended meanwhile.
            names.append((task / "comm").read_text().strip())
    about = {"modules": sorted(sys.modules), "threads": names, "switch_interval_s": sys.getswitchinterval()}
    about["turn_ns"] = 0
    with contextlib.suppress(OSError, IndexError):  # Linux does not say.
        about["turn_ns"] = int(Path("/proc/self/sched").read_text().partition("se.slice")[2].split()[1])
    found.write_text(json.dumps(about))
"""


class Place:
    """A folder with settings, where commands run."""

    def __init__(self, folder: Path, kafka: KafkaSettings) -> None:
        self.folder = folder
        self._found = folder / "found.json"
        self.environment = {
            **os.environ,
            "SPRINGTIDE_KAFKA__TOPIC": kafka.topic,
            "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SPRINGTIDE_SERVER__PORT": str(free_port()),
            "SPRINGTIDE_TRAINING__STEPS": "5",
            "SPRINGTIDE_TRAINING__FINE_TUNE_STEPS": "2",
            "SPRINGTIDE_TRAINING__MIN_INTERACTIONS": "50",
            "SPRINGTIDE_GATE__IS_ON": "false",
            "SPRINGTIDE_CHECKPOINT__EVERY_S": "1",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", DRIVER, str(self._found), *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = self.command(*arguments)
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def run(self, *arguments: str) -> str:
        ended = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def found(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self._found.read_text())
        self._found.unlink()
        return found

    def num_edges_in_checkpoint(self) -> int:
        manifests = sorted((self.folder / "springtide-state" / "checkpoints" / "manifests").glob("0*.json"))
        num_edges: int = json.loads(manifests[-1].read_text())["checkpoint"]["num_edges"] if manifests else 0
        return num_edges

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BUDGET_S
        while not is_so():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.2)


@pytest.fixture
def place(tmp_path: Path, fresh_kafka: Callable[..., KafkaSettings]) -> Place:
    return Place(tmp_path, fresh_kafka())


@pytest.fixture
def server(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    process = place.start("serve")
    place.until(lambda: '"serving"' in (place.folder / "log").read_text() or process.poll() is not None)
    yield process
    process.kill()
    process.wait()


def events() -> str:
    lines = [f"u{user},i{item},purchase,{1_700_000_000 + 60 * n}" for n, (user, item) in enumerate(PAIRS)]
    return "\n".join(["user,item,type,event_time", *lines, ""])


@pytest.mark.long
def test_server_with_a_trained_model_and_all_that_asks_it_import_nothing_that_trains(
    place: Place, server: subprocess.Popen[bytes]
) -> None:
    (place.folder / "events.csv").write_text(events())
    place.run("publish", "events.csv")
    assert set(TRAINING).isdisjoint(place.found()["modules"]), "publish"
    place.until(lambda: place.num_edges_in_checkpoint() == len(PAIRS))
    place.run("train")
    assert "torch" in place.found()["modules"], "the test would see it"
    place.until(lambda: json.loads(place.run("status", "--json"))["modelVersion"] == "000001")

    light = [
        ("--help",),
        ("status",),
        ("recommend", "u3"),
        ("recommend", "newcomer", "--recent", "i2"),
        ("explain", "u3", "i3"),
        ("models", "list"),
        ("models", "show", "000001"),
        ("checkpoints", "list"),
        ("config", "show"),
        ("protos", "here"),
        ("broker", "--help"),
    ]
    for arguments in light:
        place.run(*arguments)
        assert HEAVY.isdisjoint(place.found()["modules"]), arguments

    server.send_signal(signal.SIGTERM)
    assert server.wait(BUDGET_S) == 0
    found = place.found()
    assert {*HEAVY, "rich"}.isdisjoint(found["modules"])


def test_threads_of_a_server_do_not_wait_for_the_lock_as_long_as_python_would_let_them(
    place: Place, server: subprocess.Popen[bytes]
) -> None:
    server.send_signal(signal.SIGTERM)
    assert server.wait(BUDGET_S) == 0
    assert place.found()["switch_interval_s"] == pytest.approx(0.0001)
    place.run("--help")
    assert place.found()["switch_interval_s"] == pytest.approx(0.005), "the others are as Python has them"


def test_a_server_takes_short_turns_on_a_core(place: Place, server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    assert server.wait(BUDGET_S) == 0
    turn_ns = place.found()["turn_ns"]
    place.run("--help")
    others_ns = place.found()["turn_ns"]
    if turn_ns == others_ns and (not turn_ns or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12)):
        pytest.skip("this system has one length of turns for all, or does not say")
    assert turn_ns == 100_000 < others_ns, "the others are as Linux has them"


def test_server_refuses_a_misspelt_part_of_training_at_its_start(place: Place) -> None:
    (place.folder / "springtide.toml").write_text('[model]\nencoder = "lightgnc"\n')
    ended = subprocess.run(
        place.command("serve"), cwd=place.folder, env=place.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "springtide: model.encoder: no encoder named 'lightgnc' (choices: " in ended.stderr
    assert set(TRAINING).isdisjoint(place.found()["modules"])
