"""The processes that the soak kills: a server, a trainer, and one that publishes models all the time."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from springtide.checkpoint import CheckpointStore
from springtide.model.registry import ModelStore
from springtide.settings.file import admin_port_beside
from springtide.settings.model import Settings
from springtide_services.addresses import LOOPBACK, free_port, join_address
from springtide_services.serving.client import Client, ServerCallError
from springtide_services.termination import STOP_BUDGET_S

SPRINGTIDE = Path(sys.executable).with_name("springtide")


def environment_of(settings: Settings, others: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command with the settings of the soak, and some of its own."""
    return os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "SPRINGTIDE_KAFKA__TOPIC": settings.kafka.topic,
        "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": settings.kafka.dead_letter_topic,
        "SPRINGTIDE_KAFKA__NUM_PARTITIONS": str(settings.kafka.num_partitions),
        "SPRINGTIDE_CHECKPOINT__URL": settings.checkpoint.url,
        "SPRINGTIDE_CHECKPOINT__EVERY_S": str(settings.checkpoint.every_s),
        "SPRINGTIDE_GRAPH__MAX_EDGES": "none" if settings.graph.max_edges is None else str(settings.graph.max_edges),
        "SPRINGTIDE_MODEL__URL": settings.model.url,
        **others,
    }


class Victim:
    """A process that is killed and started again; it is the leader of a session of its own.

    Args:
        name: Name in the counts.
        command: What is run.
        environment: All its variables.
        folder: For its log; the process runs there.
    """

    def __init__(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command, self._environment, self._folder = command, environment, folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environment),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def kill(self) -> None:
        assert self._process is not None, "start() comes first"
        self._process.kill()
        self._process.wait()

    def kill_child(self) -> bool:
        """Kill the youngest child, such as a training, and return whether there was one."""
        assert self._process is not None, "start() comes first"
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._process.pid).children(recursive=True)
            if children:
                max(children, key=lambda child: child.create_time()).kill()
                return True
        return False

    def end(self) -> int:
        """Tell it to end, and return its exit code."""
        assert self._process is not None, "start() comes first"
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(3 * STOP_BUDGET_S)

    def is_well(self) -> bool:
        """Return whether it does its work again."""
        return not self.has_ended()


class ServerProcess(Victim):
    """A server; at its end it writes a last checkpoint.

    Args:
        settings: Broker, topics, and where checkpoints are.
        folder: For its log.
        command: What is run.
        others: Settings of its own, as variables.
    """

    def __init__(
        self, settings: Settings, folder: Path, command: Sequence[str | Path] = (SPRINGTIDE, "serve"), **others: str
    ) -> None:
        self._port = free_port()
        self._store = CheckpointStore(settings.checkpoint.url)
        environment = environment_of(settings, {"SPRINGTIDE_SERVER__PORT": str(self._port), **others})
        super().__init__("server", command, environment, folder)

    def newest_checkpoint(self) -> str:
        return next(iter(self._store.names()), "")

    def client(self) -> Client:
        return Client(*(join_address(LOOPBACK, port) for port in (self._port, admin_port_beside(self._port))))

    def is_well(self) -> bool:
        with contextlib.suppress(ServerCallError), self.client() as client:
            return client.is_serving()
        return False

    def wait_until_caught_up(self, within_s: float) -> bool:
        give_up_at_s, num_times = time.monotonic() + within_s, 0
        with self.client() as client:
            while time.monotonic() < give_up_at_s and not self.has_ended():
                with contextlib.suppress(ServerCallError):
                    num_times = num_times + 1 if client.is_serving() and client.status().lag_events == 0 else 0
                    if num_times >= 3:  # More than one look: lag is what was last heard.
                        return True
                time.sleep(0.5)
        return False


class TrainerProcess(Victim):
    """A trainer that trains small models, one after the other.

    Args:
        settings: Where checkpoints and models are.
        folder: For its log.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        small = {
            "SPRINGTIDE_MODEL__WIDTH": "16",
            "SPRINGTIDE_TRAINING__STEPS": "20",
            "SPRINGTIDE_TRAINING__FINE_TUNE_STEPS": "5",
            "SPRINGTIDE_TRAINING__RETRAIN_EVERY_S": "4",
            "SPRINGTIDE_GATE__NUM_QUESTIONS": "100",
        }
        super().__init__("trainer", [SPRINGTIDE, "train", "--schedule"], environment_of(settings, small), folder)
        self._store = ModelStore(settings.model.url)
        self._before = ""

    def start(self) -> None:
        self._before = self._newest()
        super().start()

    def kill_child(self) -> bool:
        self._before = self._newest()
        return super().kill_child()

    def is_well(self) -> bool:
        """Return whether it has published a model since it was started, or since its child was killed."""
        return self._newest() != self._before

    def _newest(self) -> str:
        return next(iter(self._store.versions()), "")


class PublisherProcess(Victim):
    """Publishes models all the time, into a registry of its own: far more publishes than trainings make.

    Args:
        url: The registry.
        folder: For its log.
    """

    def __init__(self, url: str, folder: Path) -> None:
        script = Path(__file__).with_name("publisher.py")
        super().__init__("publisher", [sys.executable, str(script), url], os.environ, folder)
        self._num_published = 0

    def published(self) -> list[str]:
        """Return the versions that it said it had published."""
        return re.findall(r"^published (\d+)$", self.log.read_text(errors="replace"), re.MULTILINE)

    def start(self) -> None:
        self._num_published = len(self.published()) if self.log.exists() else 0
        super().start()

    def is_well(self) -> bool:
        return len(self.published()) > self._num_published
