"""What happens to brokers and server during the soak."""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from springtide.checkpoint import CheckpointStore
from springtide.settings.file import admin_port_beside
from springtide.settings.model import KafkaSettings, Settings
from springtide_services.addresses import LOOPBACK, free_port, join_address
from springtide_services.serving.client import Client, ServerCallError
from springtide_services.stream.topics import client_config

_HEAL_S = 30.0  # For a broker that was away to have all events again.


class ServerProcess:
    """A server in a process of its own, which is killed and started again.

    Args:
        settings: Broker, topics, and where checkpoints are.
        folder: For its log and its models.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._store = CheckpointStore(settings.checkpoint.url)
        self._log = folder / "server.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "SPRINGTIDE_KAFKA__TOPIC": settings.kafka.topic,
            "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": settings.kafka.dead_letter_topic,
            "SPRINGTIDE_KAFKA__NUM_PARTITIONS": str(settings.kafka.num_partitions),
            "SPRINGTIDE_CHECKPOINT__URL": settings.checkpoint.url,
            "SPRINGTIDE_CHECKPOINT__EVERY_S": str(settings.checkpoint.every_s),
            "SPRINGTIDE_MODEL__URL": settings.model.url,
            "SPRINGTIDE_SERVER__PORT": str(self._port),
            "SPRINGTIDE_RANKING__CONTEXT_WEIGHTS": '{"popularity": {}, "trend": {}, "calendar": {}, "repeat": {}}',
        }

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("springtide"), "serve"],
                env=self._environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])

    def newest_checkpoint(self) -> str:
        return next(iter(self._store.names()), "")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Tell it to end, which writes a last checkpoint, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def wait_until_caught_up(self, within_s: float) -> bool:
        give_up_at_s, num_times = time.monotonic() + within_s, 0
        addresses = (join_address(LOOPBACK, port) for port in (self._port, admin_port_beside(self._port)))
        with Client(*addresses) as client:
            while time.monotonic() < give_up_at_s and not self.has_ended():
                with contextlib.suppress(ServerCallError):
                    num_times = num_times + 1 if client.is_serving() and client.status().lag_events == 0 else 0
                    if num_times >= 3:  # More than one look: lag is what was last heard.
                        return True
                time.sleep(0.5)
        return False


class ServerKiller(threading.Thread):
    """Kills the server after it has written a checkpoint or two, again and again, and starts it again."""

    def __init__(self, server: ServerProcess, counts: Counter[str], seed: int) -> None:
        super().__init__(name="server-killer", daemon=True)
        self._server, self._counts = server, counts
        self._random = random.Random(f"{seed}/server")
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        before = self._server.newest_checkpoint()
        while not self._stopping.wait(0.2):
            if self._server.has_ended():
                self._counts["the server ended by itself"] += 1
                self._server.start()
            elif self._server.newest_checkpoint() != before:
                self._stopping.wait(self._random.uniform(0.0, 3.0))
                self._server.kill()
                self._counts["server killed by SIGKILL"] += 1
                before = self._server.newest_checkpoint()
                self._server.start()


class BrokerFaults(threading.Thread):
    """Kills, pauses and restarts the leader of a partition, one broker at a time; adds partitions.

    Args:
        kafka: Brokers and topic.
        stop: The program that stops brokers; one named ``start`` is beside it.
        folder: The folder of the brokers.
        counts: Filled with how often each thing was done.
        seed: Seed of what is done when.
    """

    def __init__(self, kafka: KafkaSettings, stop: Path, folder: Path, counts: Counter[str], seed: int) -> None:
        super().__init__(name="broker-faults", daemon=True)
        self.failure: BaseException | None = None
        self._kafka, self._stop_program, self._folder, self._counts = kafka, stop, folder, counts
        self._random = random.Random(f"{seed}/brokers")
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop, with all brokers up again."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        try:
            actions = [self._kill, self._add_partition, self._pause, self._restart]
            self._random.shuffle(actions)
            while not self._stopping.wait(self._random.uniform(1.0, 3.0)):
                actions.append(actions.pop(0))
                actions[-1]()
                self._wait_until_whole()
        except BaseException as error:
            self.failure = error

    def _kill(self) -> None:
        self._run("stop", str(self._leader()), "--kill")
        self._counts["leader killed by SIGKILL"] += 1
        self._stopping.wait(self._random.uniform(2.0, 6.0))
        self._run("start")

    def _restart(self) -> None:
        self._run("stop", str(self._leader()))
        self._counts["leader restarted in order"] += 1
        self._run("start")

    def _pause(self) -> None:
        leader = str(self._leader())
        self._run("stop", leader, "--pause")
        self._counts["leader paused"] += 1
        self._stopping.wait(self._random.uniform(2.0, 10.0))
        self._run("stop", leader, "--resume")

    def _add_partition(self) -> None:
        with KafkaAdminClient(**client_config(self._kafka)) as admin:
            (topic,) = admin.describe_topics([self._kafka.topic])
            with contextlib.suppress(KafkaError):
                admin.create_partitions({self._kafka.topic: len(topic["partitions"]) + 1})
                self._counts["partitions added"] += 1

    def _leader(self) -> int:
        with KafkaAdminClient(**client_config(self._kafka)) as admin:
            (topic,) = admin.describe_topics([self._kafka.topic])
        return int(self._random.choice(topic["partitions"])["leader_id"])

    def _wait_until_whole(self) -> None:
        give_up_at_s = time.monotonic() + _HEAL_S
        while time.monotonic() < give_up_at_s:
            with contextlib.suppress(KafkaError), KafkaAdminClient(**client_config(self._kafka)) as admin:
                (topic,) = admin.describe_topics([self._kafka.topic])
                if all(len(each["isr_nodes"]) == len(each["replica_nodes"]) for each in topic["partitions"]):
                    return
            time.sleep(0.5)
        raise TimeoutError(f"the topic's copies are not whole after {_HEAL_S:g} s")

    def _run(self, program: str, *words: str) -> None:
        folder = ["--dir", str(self._folder)] if program == "start" else [str(self._folder)]
        subprocess.run(
            [self._stop_program.with_name(program), *folder, *words], check=True, capture_output=True, timeout=120
        )
