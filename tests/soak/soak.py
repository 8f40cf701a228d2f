"""Processes and brokers are killed under load; at the end there must be what a quiet read of the log gives.

Without a Kafka it runs on the embedded broker, which is left alone, and kills a server, a trainer and a publisher of
models (`make soak`). On a Kafka of three brokers these are killed and paused too (`make soak-kafka`). Exit code 1 if
anything differs.
"""

import argparse
import contextlib
import faulthandler
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import killers as moments
import structlog
from comparison import dead_letters, differences, edge_times_that_are_not_unique, read_log, read_quietly
from faults import BrokerFaults
from kafka import KafkaAdminClient
from killers import Killer
from processes import PublisherProcess, ServerProcess, TrainerProcess, Victim
from registry import faults_of_registry
from senders import CODECS, Sender, batches, singles, transactions

from springtide.checkpoint import CheckpointStore
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import CheckpointSettings, KafkaSettings, ModelSettings, Settings
from springtide.state import LiveState
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.topics import client_config, ensure_topics, make_missing_topics

_FAULTS = (" killed ", "leader ", "partitions added", "transactions aborted", "transactions left open")
_CATCH_UP_BUDGET_S = 180.0
_SENDER_BUDGET_S = 180.0  # A record is given up after two minutes.
_KILL_BUDGET_S = 30.0  # For one kill and what comes after it, on a busy machine.


@dataclass
class Soak:
    """What is under load, and what became of it.

    Attributes:
        arguments: The options.
        settings: Broker, topics and folders.
        folder: For logs.
        counts: How often each thing was done.
        failures: What went wrong, in words.
        slowest_s: The longest time until a killed process did its work again, in seconds, by kind of kill.
    """

    arguments: argparse.Namespace
    settings: Settings
    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Send and disturb for a while, then compare."""
        kafka = self.settings.kafka
        ensure_topics(self.settings)
        make_missing_topics(kafka, {kafka.dead_letter_topic: 1})
        senders, victims = self._senders(), self._victims()
        start_s = time.monotonic()
        try:
            for victim in victims:
                victim.start()
            for sender in senders:
                sender.start()
            with self._disturbed(victims) as killers:
                self._wait_for(senders[0], killers, start_s)
            self._end_senders(senders)
            sent_s = time.monotonic() - start_s
            self._end(victims)
        except BaseException:
            for victim in victims:
                with contextlib.suppress(Exception):
                    victim.kill()
            raise
        for sender in senders:
            self.counts += sender.sent.counts
        self._compare(senders)
        for url in (self.settings.model.url, self._other_models):
            self.failures += faults_of_registry(url, self._published(victims) if url == self._other_models else [])
        self.failures += [f"{what}, {times} times" for what, times in self.counts.items() if "by itself" in what]
        print(f"sent for {sent_s:.0f} s, checked after {time.monotonic() - start_s:.0f} s", flush=True)

    def tell(self) -> int:
        """Print what was done and what differs, note the kills for the table of faults; return the exit code."""
        for what, count in sorted(self.counts.items()):
            slowest_s = self.slowest_s.get(what)
            took = "" if slowest_s is None else f"   at work again within {slowest_s:.1f} s"
            print(f"  {what:<50} {count:>9,}{took}")
        for failure in self.failures:
            print(f"DIFFERS: {failure}")
        print(f"soak: {'failed' if self.failures else 'passed'} (seed {self.arguments.seed})")
        if path := os.environ.get("TABLE_ROWS", ""):
            on_kafka = "KAFKA_BOOTSTRAP_SERVERS" in os.environ
            with open(path, "a") as file:
                for what, times in self.counts.items():
                    if times and any(word in what for word in _FAULTS):
                        row = {"fault": what, "where": f"make soak{'-kafka' if on_kafka else ''}", "times": times}
                        took_s = self.slowest_s.get(what)
                        row |= {"lost": 0, "recovered_s": took_s, "failed": bool(self.failures)}
                        file.write(json.dumps(row) + "\n")
        return 1 if self.failures else 0

    @property
    def _other_models(self) -> str:
        return str(self.folder / "published-models")

    def _senders(self) -> list[Sender]:
        kafka, options = self.settings.kafka, self.arguments
        return [
            singles(kafka, options.seed, options.rate, options.singles or 2**62),
            *(batches(kafka, options.seed, options.batches, number, codec) for number, codec in enumerate(CODECS)),
            *([transactions(kafka, options.seed, options.transactions)] if options.transactions else []),
        ]

    def _victims(self) -> list[Victim]:
        server = ServerProcess(self.settings, self.folder)
        publisher = PublisherProcess(self._other_models, self.folder)
        trainers = [] if self.arguments.no_trainer else [TrainerProcess(self.settings, self.folder)]
        return [server, publisher, *trainers]

    @staticmethod
    def _published(victims: list[Victim]) -> list[str]:
        return [version for each in victims if isinstance(each, PublisherProcess) for version in each.published()]

    def _killers(self, victims: list[Victim]) -> list[Killer]:
        checkpoints, models = self.settings.checkpoint.url, self.settings.model.url
        kinds = {
            "server": {
                moments.AT_ANY_MOMENT: moments.any_moment(3.0),
                moments.WHILE_STARTING: moments.starting(1.5),
                moments.DURING_CHECKPOINT: moments.during_checkpoint(checkpoints),
            },
            "publisher": {
                moments.DURING_PUBLISH: moments.during_publish(self._other_models, is_promoted=False),
                moments.DURING_PROMOTION: moments.during_publish(self._other_models, is_promoted=True),
            },
            "trainer": {
                moments.AT_ANY_MOMENT: moments.any_moment(8.0),
                moments.CHILD: moments.any_moment(8.0),
                moments.DURING_PUBLISH: moments.during_publish(models, is_promoted=False),
            },
        }
        return [Killer(victim, kinds[victim.name], self.counts, self.arguments.seed) for victim in victims]

    def _wait_for(self, sender: Sender, killers: list[Killer], start_s: float) -> None:
        """Wait until enough was sent and killed."""
        options = self.arguments
        give_up_at_s = start_s + options.seconds + _KILL_BUDGET_S * options.kills
        while sender.is_alive():
            is_enough = not killers or killers[0].num_kills >= options.kills
            is_over = not options.singles and time.monotonic() - start_s > options.seconds
            if (is_over and is_enough) or any(killer.failure for killer in killers):
                return
            if time.monotonic() > give_up_at_s:
                words = f"the server was not killed {options.kills} times in {give_up_at_s - start_s:.0f} s"
                self.failures.append(words)
                return
            sender.join(0.5)

    def _end_senders(self, senders: list[Sender]) -> None:
        for sender in senders:
            sender.stop()
        for sender in senders:
            sender.join(_SENDER_BUDGET_S)
            if sender.is_alive():
                self.failures.append(f"{sender.name} hangs")
                faulthandler.dump_traceback(all_threads=True)
            elif sender.failure is not None:
                self.failures.append(f"{sender.name}: {sender.failure!r}")

    def _end(self, victims: list[Victim]) -> None:
        """Let the server read all, and end all in order."""
        server, publisher, *trainers = victims
        assert isinstance(server, ServerProcess), "it is the first"
        if not server.wait_until_caught_up(_CATCH_UP_BUDGET_S):
            said = server.last_lines()
            self.failures.append(f"the server has not caught up within {_CATCH_UP_BUDGET_S:g} s:\n{said}")
        publisher.kill()
        for victim in (*trainers, server):
            if (code := victim.end()) != 0:
                self.failures.append(f"the {victim.name} ended with exit code {code}:\n{victim.last_lines()}")

    @contextlib.contextmanager
    def _disturbed(self, victims: list[Victim]) -> Iterator[list[Killer]]:
        """Kill processes and brokers meanwhile; yield who kills the processes."""
        killers = [] if self.arguments.no_kills else self._killers(victims)
        brokers = None
        start, folder = os.environ.get("KAFKA_START", ""), os.environ.get("KAFKA_DIR", "")
        if start and folder and not self.arguments.no_broker_faults:
            stop = Path(start).with_name("stop")
            brokers = BrokerFaults(self.settings.kafka, stop, Path(folder), self.counts, self.arguments.seed)
            brokers.start()
        elif not self.arguments.no_broker_faults:
            print("the brokers are left alone: wanted KAFKA_START and KAFKA_DIR to kill them", flush=True)
        for killer in killers:
            killer.start()
        try:
            yield killers
        finally:
            if brokers is not None:
                brokers.stop()
                if brokers.failure is not None:
                    self.failures.append(f"brokers: {brokers.failure!r}")
            for killer in killers:
                killer.stop()
                self.slowest_s |= killer.slowest_s
                if killer.failure is not None:
                    self.failures.append(f"{killer.name}: {killer.failure!r}\n{killer.victim.last_lines()}")

    def _compare(self, senders: list[Sender]) -> None:
        """Read the log quietly, and note all that differs from what the server held."""
        settings, kafka, counts, failures = self.settings, self.settings.kafka, self.counts, self.failures
        found = Counter((record.partition, record.offset) for record in read_log(kafka, kafka.topic))
        acknowledged = set().union(*(sender.sent.acknowledged for sender in senders))
        aborted = set().union(*(sender.sent.aborted for sender in senders))
        if lost := acknowledged - set(found):
            failures.append(f"{len(lost)} acknowledged records are not in the log, such as {sorted(lost)[:3]}")
        if back := aborted & set(found):
            failures.append(f"{len(back)} records of aborted transactions are read, such as {sorted(back)[:3]}")
        quiet_kafka = kafka.model_copy(update={"dead_letter_topic": f"{kafka.dead_letter_topic}-quiet", "group_id": ""})
        make_missing_topics(quiet_kafka, {quiet_kafka.dead_letter_topic: 1})
        plugins = load_checked_plugins(settings)
        held, quiet = (LiveState(settings, make_context_weights(settings.ranking, plugins)) for _ in range(2))
        store = CheckpointStore(settings.checkpoint.url)
        checkpoint = store.latest()
        if checkpoint is None:
            failures.append("the server has written no checkpoint")
            return
        store.restore(checkpoint, held)
        read_quietly(settings.model_copy(update={"kafka": quiet_kafka}), quiet)
        failures += differences(held, quiet)
        if twice := edge_times_that_are_not_unique(held):
            failures.append(f"{twice} events are in the graph twice")
        letters = dead_letters(kafka, kafka.dead_letter_topic)
        quiet_letters = dead_letters(kafka, quiet_kafka.dead_letter_topic)
        if set(letters) != set(quiet_letters):
            failures.append(f"dead letters: held {len(letters)}, a quiet read gives {len(quiet_letters)}")
        if len(letters) != sum(sender.sent.counts["refused events"] for sender in senders):
            failures.append(f"dead letters: {len(letters)}, which are not as many as the events that are none")
        counts["records acknowledged"] = len(acknowledged)
        counts["records in the log"] = len(found)
        counts["records of aborted transactions, not read"] = len(aborted)
        counts["interactions held"] = held.num_events
        counts["interactions of a quiet read"] = quiet.num_events
        counts["dead letters"] = len(letters)
        counts["dead letters written again after a kill"] = letters.total() - len(letters)
        with KafkaAdminClient(**client_config(kafka)) as admin:
            admin.delete_topics([kafka.topic, kafka.dead_letter_topic, quiet_kafka.dead_letter_topic])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=75.0, help="how long events are sent at least, unless --singles ends it"
    )
    parser.add_argument("--kills", type=int, default=0, help="send until the server was killed so often")
    parser.add_argument("--singles", type=int, default=0, help="send so many events one by one, however long it takes")
    parser.add_argument("--rate", type=float, default=400.0, help="events sent one by one, per second")
    parser.add_argument("--batches", type=float, default=4.0, help="packed batches per second, in each codec")
    parser.add_argument("--transactions", type=float, default=4.0, help="transactions per second, on a Kafka")
    parser.add_argument("--no-broker-faults", action="store_true", help="leave the brokers alone")
    parser.add_argument("--no-kills", action="store_true", help="leave server, trainer and publisher alone")
    parser.add_argument("--no-trainer", action="store_true", help="run no trainer")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is sent, and of what fails when")
    arguments = parser.parse_args()
    faulthandler.register(signal.SIGUSR1)  # To see what hangs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that the processes end too.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="springtide-soak-")))
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
        if not servers:
            servers = stack.enter_context(EmbeddedBroker()).bootstrap_servers
            arguments.no_broker_faults = True  # It would forget everything.
            arguments.transactions = 0.0  # It gives back what was aborted, too.
        codecs = ", ".join(codec or "plain" for codec in CODECS)
        print(f"seed {arguments.seed}; codecs: {codecs}", flush=True)
        soak = Soak(arguments, _settings(folder, servers), folder)
        soak.run()
        return soak.tell()


def _settings(folder: Path, servers: str) -> Settings:
    suffix = f"{os.getpid()}"
    kafka = KafkaSettings(
        bootstrap_servers=servers,
        topic=f"soak.events-{suffix}",
        dead_letter_topic=f"soak.dead-letters-{suffix}",
        num_partitions=3,
    )
    return Settings(
        kafka=kafka,
        checkpoint=CheckpointSettings(url=str(folder / "checkpoints"), every_s=1.0),
        model=ModelSettings(url=str(folder / "models")),
    )


if __name__ == "__main__":
    raise SystemExit(main())
