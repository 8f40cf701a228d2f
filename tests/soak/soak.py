"""A server on three brokers while everything fails that may fail; at the end it must hold what a quiet read gives.

Run by `make soak-kafka`, which starts the brokers. Exit code 1 if anything differs.
"""

import argparse
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import structlog
from comparison import dead_letters, differences, edge_times_that_are_not_unique, read_log, read_quietly
from faults import BrokerFaults, ServerKiller, ServerProcess
from kafka import KafkaAdminClient
from senders import CODECS, Sender, batches, singles, transactions

from springtide.checkpoint import CheckpointStore
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import CheckpointSettings, KafkaSettings, ModelSettings, RankingSettings, Settings
from springtide.state import LiveState
from springtide_services.stream.topics import client_config, ensure_topics, make_missing_topics

_CONTEXT_WEIGHTS: dict[str, dict[str, object]] = {"popularity": {}, "trend": {}, "calendar": {}, "repeat": {}}
_CATCH_UP_BUDGET_S = 180.0
_SENDER_BUDGET_S = 180.0  # A record is given up after two minutes.


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=75.0, help="how long events are sent, unless --singles ends it"
    )
    parser.add_argument("--singles", type=int, default=0, help="send so many events one by one, however long it takes")
    parser.add_argument("--rate", type=float, default=400.0, help="events sent one by one, per second")
    parser.add_argument("--batches", type=float, default=4.0, help="packed batches per second, in each codec")
    parser.add_argument("--transactions", type=float, default=4.0, help="transactions per second")
    parser.add_argument("--no-broker-faults", action="store_true", help="leave the brokers alone")
    parser.add_argument("--no-kills", action="store_true", help="leave the server alone")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is sent, and of what fails when")
    arguments = parser.parse_args()
    faulthandler.register(signal.SIGUSR1)  # To see what hangs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that the server ends too.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="springtide-soak-") as folder:
        return _soak(arguments, _settings(Path(folder)), Path(folder))


def _settings(folder: Path) -> Settings:
    suffix = f"{os.getpid()}"
    kafka = KafkaSettings(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        topic=f"soak.events-{suffix}",
        dead_letter_topic=f"soak.dead-letters-{suffix}",
        num_partitions=3,
    )
    return Settings(
        kafka=kafka,
        checkpoint=CheckpointSettings(url=str(folder / "checkpoints"), every_s=1.0),
        model=ModelSettings(url=str(folder / "models")),
        ranking=RankingSettings(context_weights=_CONTEXT_WEIGHTS),
    )


def _soak(arguments: argparse.Namespace, settings: Settings, folder: Path) -> int:
    """Send and disturb for a while, then compare; return the exit code."""
    kafka = settings.kafka
    ensure_topics(settings)
    make_missing_topics(kafka, {kafka.dead_letter_topic: 1})
    counts: Counter[str] = Counter()
    server = ServerProcess(settings, folder)
    senders = [
        singles(kafka, arguments.seed, arguments.rate, arguments.singles or 2**62),
        *(batches(kafka, arguments.seed, arguments.batches, number, codec) for number, codec in enumerate(CODECS)),
        transactions(kafka, arguments.seed, arguments.transactions),
    ]
    print(f"seed {arguments.seed}; codecs: {', '.join(codec or 'plain' for codec in CODECS)}", flush=True)
    start_s = time.monotonic()
    server.start()
    try:
        for sender in senders:
            sender.start()
        with _disturbed(arguments, settings, server, counts) as failures:
            senders[0].join(None if arguments.singles else arguments.seconds)
        for sender in senders:
            sender.stop()
        for sender in senders:
            sender.join(_SENDER_BUDGET_S)
            if sender.is_alive():
                failures.append(f"{sender.name} hangs")
                faulthandler.dump_traceback(all_threads=True)
            elif sender.failure is not None:
                failures.append(f"{sender.name}: {sender.failure!r}")
        sent_s = time.monotonic() - start_s
        has_caught_up = server.wait_until_caught_up(_CATCH_UP_BUDGET_S)
        if not has_caught_up:
            failures.append(f"the server has not caught up within {_CATCH_UP_BUDGET_S:g} s:\n{server.last_lines()}")
        if (code := server.end()) != 0:
            failures.append(f"the server ended with exit code {code}:\n{server.last_lines()}")
    except BaseException:
        with contextlib.suppress(Exception):
            server.kill()
        raise
    for sender in senders:
        counts += sender.sent.counts
    failures += _compare(settings, senders, counts)
    print(f"sent for {sent_s:.0f} s, checked after {time.monotonic() - start_s:.0f} s", flush=True)
    for what, count in sorted(counts.items()):
        print(f"  {what:<50} {count:>9,}")
    if counts["the server ended by itself"]:
        failures.append(f"the server ended by itself:\n{server.last_lines()}")
    for failure in failures:
        print(f"DIFFERS: {failure}")
    print(f"soak: {'failed' if failures else 'passed'} (seed {arguments.seed})")
    return 1 if failures else 0


@contextlib.contextmanager
def _disturbed(
    arguments: argparse.Namespace, settings: Settings, server: ServerProcess, counts: Counter[str]
) -> Iterator[list[str]]:
    """Kill server and brokers meanwhile; yield a list, which then holds what could not be done."""
    failures: list[str] = []
    killer, brokers = None, None
    start, folder = os.environ.get("KAFKA_START", ""), os.environ.get("KAFKA_DIR", "")
    if not arguments.no_kills:
        killer = ServerKiller(server, counts, arguments.seed)
        killer.start()
    if start and folder and not arguments.no_broker_faults:
        stop = Path(start).with_name("stop")
        brokers = BrokerFaults(settings.kafka, stop, Path(folder), counts, arguments.seed)
        brokers.start()
    elif not arguments.no_broker_faults:
        print("the brokers are left alone: wanted KAFKA_START and KAFKA_DIR to kill them", flush=True)
    try:
        yield failures
    finally:
        if brokers is not None:
            brokers.stop()
            if brokers.failure is not None:
                failures.append(f"brokers: {brokers.failure!r}")
        if killer is not None:
            killer.stop()


def _compare(settings: Settings, senders: list[Sender], counts: Counter[str]) -> list[str]:
    """Read the log quietly and return in words all that differs from what the server held."""
    kafka = settings.kafka
    found = Counter((record.partition, record.offset) for record in read_log(kafka, kafka.topic))
    acknowledged = set().union(*(sender.sent.acknowledged for sender in senders))
    aborted = set().union(*(sender.sent.aborted for sender in senders))
    failures = []
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
        return [*failures, "the server has written no checkpoint"]
    store.restore(checkpoint, held)
    read_quietly(settings.model_copy(update={"kafka": quiet_kafka}), quiet)
    failures += differences(held, quiet)
    if twice := edge_times_that_are_not_unique(held):
        failures.append(f"{twice} events are in the graph twice")
    letters, quiet_letters = (
        dead_letters(kafka, kafka.dead_letter_topic),
        dead_letters(kafka, quiet_kafka.dead_letter_topic),
    )
    if set(letters) != set(quiet_letters):
        failures.append(f"dead letters: held {len(letters)}, a quiet read gives {len(quiet_letters)}")
    counts["records acknowledged"] = len(acknowledged)
    counts["records in the log"] = len(found)
    counts["records of aborted transactions, not read"] = len(aborted)
    counts["interactions held"] = held.num_events
    counts["interactions of a quiet read"] = quiet.num_events
    counts["dead letters"] = len(letters)
    counts["dead letters written again after a kill"] = letters.total() - len(letters)
    with KafkaAdminClient(**client_config(kafka)) as admin:
        admin.delete_topics([kafka.topic, kafka.dead_letter_topic, quiet_kafka.dead_letter_topic])
    return failures


if __name__ == "__main__":
    raise SystemExit(main())
