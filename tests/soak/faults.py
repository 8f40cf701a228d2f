"""What happens to brokers during the soak; killers.py kills processes of ours."""

import contextlib
import random
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from springtide.settings.model import KafkaSettings
from springtide_services.stream.topics import client_config

_HEAL_S = 30.0  # For a broker that was away to have all events again.


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
