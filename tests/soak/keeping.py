"""What `springtide up` keeps, at length: broker and server are killed again and again, and the broker forgets all.

Each time, all that the server had read must be there, in order and once; what was published and not read yet may be
lost with the broker. At the end the state must be the one that the kept events give in one go. Exit code 1 if not.
"""

import argparse
import contextlib
import faulthandler
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import confluent_kafka
import structlog
from processes import ServerProcess

from springtide.checkpoint import CheckpointStore
from springtide.clock import wall_ms
from springtide.events import RawEvent
from springtide.events.decoding import Decoder
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import CheckpointSettings, KafkaSettings, ModelSettings, Settings
from springtide.state import LiveState
from springtide.state_content import state_content
from springtide.v1 import events_pb2
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.serving.client import ServerCallError
from springtide_services.stream.topics import ensure_topics

_NUM_PARTITIONS = 2
_CATCH_UP_S = 120.0
_FLUSH_S = 30.0


@dataclass
class Generation:
    """What was sent to one broker.

    Attributes:
        sent: The events of each partition, in order, by their times.
        acknowledged: The times of those that the broker took.
        num_seen: The most edges that the server said it had, of all generations so far.
    """

    sent: list[dict[int, bytes]] = field(default_factory=lambda: [{} for _ in range(_NUM_PARTITIONS)])
    acknowledged: set[int] = field(default_factory=set)
    num_seen: int = 0


class Load(threading.Thread):
    """Sends purchases, each with a time of its own, until ``stop`` is called.

    librdkafka sends them: a producer of kafka-python whose broker is gone takes minutes to be closed.
    """

    def __init__(self, servers: str, topic: str, generation: Generation, times_ms: Iterator[int]) -> None:
        super().__init__(name="load", daemon=True)
        self._topic, self._generation, self._times_ms = topic, generation, times_ms
        self._stopping = threading.Event()
        options = {"bootstrap.servers": servers, "acks": "all", "max.in.flight": 1, "linger.ms": 5, "log_level": 0}
        self._producer = confluent_kafka.Producer(options)

    def stop(self, *, is_broker_gone: bool) -> None:
        """Send no more; a broker that is there takes what is on its way."""
        self._stopping.set()
        self.join()
        if is_broker_gone:
            self._producer.purge()
        left = self._producer.flush(_FLUSH_S)
        assert not left, f"{left} events are neither taken nor refused"

    def run(self) -> None:
        while not self._stopping.wait(0.01):
            for _ in range(4):
                self._send()
            self._producer.poll(0)

    def _send(self) -> None:
        time_ms = next(self._times_ms)
        user, item = f"u{time_ms * 7 % 300}", f"i{time_ms * 13 % 101}"
        event = events_pb2.Event(interaction={"user": user, "item": item, "type": "purchase"})
        event.interaction.context["place"] = f"place {time_ms % 5}"
        event.event_time.FromMilliseconds(time_ms)
        partition, value = time_ms % _NUM_PARTITIONS, event.SerializeToString()

        def note(error: confluent_kafka.KafkaError | None, _: confluent_kafka.Message) -> None:
            if error is None:
                self._generation.acknowledged.add(time_ms)

        self._generation.sent[partition][time_ms] = value
        self._producer.produce(self._topic, value, partition=partition, on_delivery=note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    faulthandler.register(signal.SIGUSR1)  # To see what hangs.
    parser.add_argument("--kills", type=int, default=60, help="how often broker and server are killed")
    parser.add_argument("--seed", type=int, default=0, help="seed of when, and of which goes first")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="springtide-soak-") as folder:
        return _soak(arguments, Path(folder))


def _soak(arguments: argparse.Namespace, folder: Path) -> int:
    chance, counts = random.Random(arguments.seed), Counter[str]()
    times_ms, generations = iter(range(wall_ms() - 10**8, wall_ms())), list[Generation]()
    slowest_s, failures = 0.0, list[str]()
    for number in range(arguments.kills + 1):
        generation = Generation()
        generations.append(generation)
        with EmbeddedBroker() as broker:
            settings = _settings(folder, broker.bootstrap_servers)
            ensure_topics(settings)
            server = ServerProcess(settings, folder, SPRINGTIDE_CHECKPOINT__JOURNAL=str(folder / "journal"))
            load = Load(broker.bootstrap_servers, settings.kafka.topic, generation, times_ms)
            started_s = time.monotonic()
            server.start()
            load.start()  # While it still reads what former ones left.
            try:
                if chance.random() < 0.2:
                    time.sleep(chance.uniform(0.0, 1.5))
                    server.kill()
                    counts["server killed while it starts"] += 1
                    server.start()
                took_s = _wait_until_well(server, started_s)
                slowest_s = max(slowest_s, took_s)
                if number == arguments.kills:
                    load.stop(is_broker_gone=False)
                    if not server.wait_until_caught_up(_CATCH_UP_S) or server.end() != 0:
                        failures.append(f"the server has not come to its end:\n{server.last_lines()}")
                    break
                time.sleep(chance.uniform(0.0, 2.0))
                generation.num_seen = _num_edges(server)
                victims = [server.pid, broker.pid]
                chance.shuffle(victims)
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)
                    time.sleep(chance.choice((0.0, chance.uniform(0.0, 0.3))))
                counts["broker and server killed"] += 1
            finally:
                server.kill()
                if load.is_alive():
                    load.stop(is_broker_gone=True)
    failures += _compare(_settings(folder, ""), generations, counts)
    return _tell(arguments.seed, counts, failures, slowest_s)


def _wait_until_well(server: ServerProcess, started_s: float) -> float:
    while not server.is_well():
        if server.has_ended():
            raise RuntimeError(f"the server ended by itself:\n{server.last_lines()}")
        if time.monotonic() - started_s > _CATCH_UP_S:
            raise TimeoutError(f"the server does not serve after {_CATCH_UP_S:g} s:\n{server.last_lines()}")
        time.sleep(0.05)
    return time.monotonic() - started_s


def _num_edges(server: ServerProcess) -> int:
    with contextlib.suppress(ServerCallError), server.client() as client:
        return sum(client.status().num_edges.values())
    return 0


def _compare(settings: Settings, generations: list[Generation], counts: Counter[str]) -> Iterator[str]:
    """Yield in words what was lost, is there twice, or differs from a state of all that was kept."""
    weights = load_checked_plugins(settings)
    held, anew = (LiveState(settings, make_context_weights(settings.ranking, weights)) for _ in range(2))
    store = CheckpointStore(settings.checkpoint.url)
    newest = store.latest()
    if newest is None:
        yield "the server has written no checkpoint"
        return
    store.restore(newest, held)
    view = held.graph.view()
    found = Counter(time_ms for kind in view.edge_types for time_ms in view.edges(kind).timestamps_ms.tolist())
    if twice := found.total() - len(found):
        yield f"{twice} events are in the graph twice"
    decoder, num_held = Decoder(anew.rules, settings.events), 0
    for number, generation in enumerate(generations):
        for partition, sent in enumerate(generation.sent):
            kept = [time_ms for time_ms in sent if time_ms in found]
            num_held += len(kept)
            taken = [time_ms for time_ms in sent if time_ms in generation.acknowledged or time_ms in found]
            if kept != taken[: len(kept)]:
                missing = sorted(set(taken[: len(kept)]) - set(kept))
                yield f"broker {number}, partition {partition}: {len(missing)} events before others that are kept"
            records = [RawEvent(sent[time_ms], partition=partition, offset=at) for at, time_ms in enumerate(kept)]
            batches, refusals = decoder.decode(records, wall_ms())
            assert not refusals, refusals[0]
            for batch in batches:
                anew.apply(batch)
        if num_held < generation.num_seen:
            yield f"broker {number}: {generation.num_seen} events had been read, and {num_held} are kept"
    if lost := generations[-1].acknowledged - set(found):
        yield f"{len(lost)} events were published before an orderly end, and are lost"
    ours, theirs = state_content(held), state_content(anew)
    yield from (f"{part}: its digest" for part in {**ours, **theirs} if ours.get(part) != theirs.get(part))
    counts["events acknowledged"] = sum(len(generation.acknowledged) for generation in generations)
    counts["events kept"] = len(found)
    counts["events lost with a broker, not read yet"] = sum(
        len(generation.acknowledged - set(found)) for generation in generations
    )


def _tell(seed: int, counts: Counter[str], failures: list[str], slowest_s: float) -> int:
    for what, count in sorted(counts.items()):
        print(f"  {what:<50} {count:>9,}")
    print(f"  serving again within {slowest_s:.1f} s")
    for failure in failures:
        print(f"DIFFERS: {failure}")
    print(f"keeping: {'failed' if failures else 'passed'} (seed {seed})")
    if path := os.environ.get("TABLE_ROWS", ""):
        with open(path, "a") as file:
            for what, times in counts.items():
                if "killed" in what:
                    row = {"fault": f"embedded: {what}", "where": "make soak", "times": times, "lost": 0}
                    file.write(json.dumps(row | {"recovered_s": slowest_s, "failed": bool(failures)}) + "\n")
    return 1 if failures else 0


def _settings(folder: Path, servers: str) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=servers, num_partitions=_NUM_PARTITIONS),
        checkpoint=CheckpointSettings(url=str(folder / "checkpoints"), every_s=0.7),
        model=ModelSettings(url=str(folder / "models")),
    )


if __name__ == "__main__":
    raise SystemExit(main())
