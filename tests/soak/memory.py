"""A server takes in many times the edges that it may keep, of users that come and go; its memory must stay flat.

Run by `make soak`. Events have ids, users are deleted, items change, and requests come all the while, so that all that
could grow would: ids, tombstones, what is remembered of events, caches, queues. Exit code 1 if memory grows.
"""

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import structlog
from kafka import KafkaProducer
from processes import ServerProcess

from springtide.clock import wall_ms
from springtide.settings.model import (
    CheckpointSettings,
    GraphSettings,
    KafkaSettings,
    ModelSettings,
    Settings,
)
from springtide.v1 import events_pb2, recommender_pb2
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.serving.client import ServerCallError
from springtide_services.stream.topics import client_config, ensure_topics

_ROWS_OF_BATCH = 500
_EDGES_OF_USER = 5
_NUM_ITEMS = 2_000  # At any time; after each budget they are others.
_EVERY_DELETED = 20
_CATCH_UP_S = 300.0
_STARTING_SHARE = 0.4  # Of all that is sent: until then caches and what rests have their size.
_MAX_EXCESS = 0.1  # Edges beyond the bound are dropped in lots.
# Rows of nodes that have gone rest for a minute and a half before they are used again, and take memory: at thousands of
# new users a second that is what it would be about. Here they rest for seconds.
_QUICK = """
import sys
from springtide.graph import reclaiming
reclaiming.REST_S, reclaiming.FADE_S = 2.0, 1.0
from springtide_services.cli.app import main
sys.argv = ["springtide", "serve"]
main()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=100_000, help="most edges kept")
    parser.add_argument("--budgets", type=float, default=12.0, help="how many times as many are sent")
    parser.add_argument("--rate", type=float, default=6_000.0, help="edges sent per second")
    parser.add_argument("--tolerance", type=float, default=0.08, help="growth of memory that counts as none, a share")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="springtide-soak-") as folder, EmbeddedBroker() as broker:
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, num_partitions=2),
            checkpoint=CheckpointSettings(url=f"{folder}/checkpoints", every_s=5.0),
            model=ModelSettings(url=f"{folder}/models"),
            graph=GraphSettings(max_edges=arguments.edges),
        )
        ensure_topics(settings)
        bounds = {
            "SPRINGTIDE_EVENTS__DUPLICATES_MAX_EVENTS": str(arguments.edges // 2),
            "SPRINGTIDE_GRAPH__MAX_DELETIONS": "2000",
            "SPRINGTIDE_GRAPH__MAX_NODES": str(arguments.edges // 2),
        }
        server = ServerProcess(settings, Path(folder), [sys.executable, "-c", _QUICK], **bounds)
        server.start()
        try:
            return _soak(arguments, settings, server)
        finally:
            server.kill()


def _soak(arguments: argparse.Namespace, settings: Settings, server: ServerProcess) -> int:
    """Send, watch, and tell; return the exit code."""
    while not server.is_well():
        time.sleep(0.2)
    process, samples = psutil.Process(server.pid), list[tuple[float, float]]()
    asking = threading.Event()
    threading.Thread(target=_ask, args=(server, asking), daemon=True).start()
    num_wanted = int(arguments.budgets * arguments.edges)
    started_s, num_sent = time.monotonic(), 0
    with KafkaProducer(**client_config(settings.kafka), linger_ms=20) as producer:
        for event, num_edges in _events(arguments, num_wanted):
            producer.send(settings.kafka.topic, event.SerializeToString())
            num_sent += num_edges
            if num_edges:
                samples.append((num_sent / num_wanted, process.memory_info().rss / 2**20))
                time.sleep(max(0.0, started_s + num_sent / arguments.rate - time.monotonic()))
    asking.set()
    has_caught_up = server.wait_until_caught_up(_CATCH_UP_S)
    with server.client() as client:
        status = client.status()
    samples.append((1.0, process.memory_info().rss / 2**20))
    exit_code = server.end()
    first = max(mib for share, mib in samples if share <= _STARTING_SHARE)
    later = max(mib for share, mib in samples if share > _STARTING_SHARE)
    for tenth in range(1, 11):
        of_tenth = [mib for share, mib in samples if (tenth - 1) / 10 < share <= tenth / 10]
        if of_tenth:
            print(f"  {tenth * arguments.budgets / 10:4.1f} times the budget: {max(of_tenth):7.1f} MiB")
    edges = sum(status.num_edges.values())
    print(f"  {edges:,} edges, {dict(status.num_nodes)} nodes, graph {status.graph_bytes / 2**20:.1f} MiB")
    failures = []
    if not has_caught_up or exit_code:
        failures.append(f"the server has not come to its end: exit code {exit_code}\n{server.last_lines()}")
    if edges > (1.0 + _MAX_EXCESS) * arguments.edges:
        failures.append(f"{edges:,} edges are kept, of at most {arguments.edges:,}")
    if later > (1.0 + arguments.tolerance) * first:
        failures.append(f"memory grew from {first:.1f} to {later:.1f} MiB")
    for failure in failures:
        print(f"FAILED: {failure}")
    print(
        f"memory: {'failed' if failures else 'flat'} ({later / first - 1.0:+.1%} after the first {_STARTING_SHARE:.0%})"
    )
    if path := os.environ.get("TABLE_ROWS", ""):
        row = {"fault": f"{arguments.budgets:g} times the edges that may be kept", "where": "make soak", "times": 1}
        with open(path, "a") as file:
            file.write(json.dumps(row | {"lost": 0, "recovered_s": None, "failed": bool(failures)}) + "\n")
    return 1 if failures else 0


def _events(arguments: argparse.Namespace, num_wanted: int) -> Iterator[tuple[events_pb2.Event, int]]:
    """Yield events with the number of their edges: packed purchases, deletions, upserts, and purchases in a place."""
    chance, num_sent = random.Random(arguments.seed), 0
    while num_sent < num_wanted:
        generation, first_user = num_sent // arguments.edges, num_sent // _EDGES_OF_USER
        users = [f"user {first_user + number}" for number in range(_ROWS_OF_BATCH // _EDGES_OF_USER)]
        items = [f"item {generation}-{chance.randrange(_NUM_ITEMS)}" for _ in range(_ROWS_OF_BATCH)]
        now_ms = wall_ms()
        batch = events_pb2.EventBatch(
            dictionary=[*users, *items, "purchase"],
            users=[row % len(users) for row in range(_ROWS_OF_BATCH)],
            items=range(len(users), len(users) + _ROWS_OF_BATCH),
            types=[len(users) + _ROWS_OF_BATCH],
            event_times_ms=[now_ms - _ROWS_OF_BATCH + row for row in range(_ROWS_OF_BATCH)],
            event_ids=[f"event {num_sent + row}" for row in range(_ROWS_OF_BATCH)],
        )
        yield events_pb2.Event(batch=batch), _ROWS_OF_BATCH
        num_sent += _ROWS_OF_BATCH
        deleted = [events_pb2.Event(node_delete={"type": "user", "id": user}) for user in users[::_EVERY_DELETED]]
        upserted = events_pb2.Event(node_upsert={"type": "item", "id": items[0]})
        upserted.node_upsert.categories["brand"].values.append(f"brand {chance.randrange(100)}")
        placed = events_pb2.Event(interaction={"user": users[1], "item": items[1], "type": "purchase"})
        placed.interaction.context["place"] = f"place {chance.randrange(50)}"
        for event in (*deleted, upserted, placed):
            event.event_time.FromMilliseconds(now_ms)
            yield event, 0


def _ask(server: ServerProcess, is_over: threading.Event) -> None:
    """Ask for users who are there, were there and never were, at many moments."""
    chance, number = random.Random(0), 0
    with server.client() as client:
        while not is_over.wait(0.02):
            number += 1
            request = recommender_pb2.RecommendRequest(user=f"user {chance.randrange(200_000)}", count=20)
            request.context.attributes["place"] = f"place {number % 60}"
            try:
                client.recommend(request)
            except ServerCallError:
                if server.has_ended():
                    return


if __name__ == "__main__":
    raise SystemExit(main())
