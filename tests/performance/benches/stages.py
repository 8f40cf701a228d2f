"""The way of one event, stage by stage: from a broker's acknowledgement to an answer that holds the event.

The server runs with a clock at the end of each stage. Beside each stage's time stands the CPU time that its thread
took meanwhile: what is above it was spent waiting, for the other thread's Python or for a core. The stages of the two
threads overlap, so they do not add up.
"""

import contextlib
import functools
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from benches.figures import Figure, Limit, percentile
from benches.freshness import FEW, MANY, ask_for, brokers, make_producer, publish, published, random_event, topic
from benches.serving import child, wait_until_ready
from benches.sizes import Sizes

from springtide.v1 import recommender_pb2_grpc

_RATES = (0, 1_000)  # Events that another process publishes meanwhile, per second.

# From which moment to which; both on one thread, or the CPU time between them means nothing.
_STAGES = (
    ("a fetch response read to its records polled", "received", "polled"),
    ("polled to decoded", "polled", "decoded"),
    ("decoded to applied", "decoded", "applied"),
    ("applied to the waiting requests told", "applied", "told"),
    ("told to the next fetch asked for", "told", "asked"),
    ("told to the event loop awake", "told", "woken"),
    ("the event loop awake to the waiting request awake", "woken", "awake"),
    ("awake to ranking begun", "awake", "ranking"),
    ("ranking", "ranking", "ranked"),
    ("ranked to response made", "ranked", "responded"),
)


class Moment(NamedTuple):
    """When a thread reached a point, in seconds, and the CPU seconds that it had taken by then."""

    name: str
    at_s: float
    cpu_s: float
    thread: int


def run(sizes: Sizes) -> list[Figure]:
    with brokers() as servers:
        figures = _measure(servers, FEW, sizes)
        return figures + (_measure(servers, MANY, sizes) if "KAFKA_BOOTSTRAP_SERVERS" in os.environ else [])


def _measure(servers: str, num_partitions: int, sizes: Sizes) -> list[Figure]:
    num_warm = sizes.freshness_events // 10
    windows: dict[int, list[tuple[float, float]]] = {}
    used: list[tuple[float, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder,
        topic(servers, num_partitions, folder) as settings,
    ):
        path = Path(folder) / "moments"
        with (
            child("serve-stages", settings.model_dump_json(), str(path)) as server,
            grpc.insecure_channel(server.line) as channel,
        ):
            wait_until_ready(server.line)
            recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
            producer, chance = make_producer(settings.kafka), random.Random(3)
            for per_s in _RATES:
                with published(settings, per_s, sizes):
                    windows[per_s] = []
                    for number in range(sizes.freshness_events):
                        time.sleep(chance.uniform(0.0, 0.02))
                        event = random_event(chance)
                        before = _used(server.pid)
                        partition, offset = publish(producer, settings.kafka.topic, event)
                        acknowledged_s = time.perf_counter()
                        answer = ask_for(recommend, event.interaction.user, partition, offset)
                        answered_s = time.perf_counter()
                        assert not answer.is_behind_min_position
                        time.sleep(0.002)  # For the next fetch to be asked for.
                        if number >= num_warm:
                            windows[per_s].append((acknowledged_s, answered_s))
                            after = _used(server.pid)
                            used += [] if per_s else [(after[0] - before[0], after[1] - before[1])]
        moments = read_moments(path)
    figures = []
    for per_s in _RATES:
        name = f"{num_partitions} partitions, {per_s:,} events/s"
        figures += _figures(name, windows[per_s], moments)
        if not per_s:
            cpu_ms = [1_000 * cpu_s for cpu_s, _ in used]
            figures.append(Figure(f"CPU of an event and its answer, {name}", "ms", cpu_ms))
            figures.append(Figure(f"threads woken for it, {name}", "times", [num for _, num in used]))
    return figures


def _figures(name: str, windows: list[tuple[float, float]], moments: list[Moment]) -> list[Figure]:
    taken: dict[str, list[tuple[float, float]]] = {}
    totals, first_ms, last_ms = [], [], []
    start = 0
    for acknowledged_s, answered_s in windows:
        while start < len(moments) and moments[start].at_s < acknowledged_s - 0.002:
            start += 1  # The record may be read before its acknowledgement is.
        within = []
        for moment in moments[start:]:
            if moment.at_s > answered_s + 0.002:
                break
            within.append(moment)
        totals.append(1_000 * (answered_s - acknowledged_s))
        way = way_of(within, answered_s)
        if way is None:
            continue  # The event was there before it was asked for.
        first_ms.append(max(0.0, 1_000 * (way["received"].at_s - acknowledged_s)))
        last_ms.append(1_000 * (answered_s - way["responded"].at_s))
        for what, begin, end in _STAGES:
            if begin in way and end in way:
                first, last = way[begin], way[end]
                cpu_s = last.cpu_s - first.cpu_s if first.thread == last.thread else 0.0
                taken.setdefault(what, []).append((1_000 * (last.at_s - first.at_s), 1_000 * cpu_s))
    figures = [
        Figure(f"acknowledgement to answer, {name}", "ms", totals),
        Figure(f"the same, p99, {name}", "ms", [percentile(totals, 0.99)]),
        Figure(f"acknowledged to a fetch response read, {name}", "ms", first_ms or [0.0]),
    ]
    for what, samples in taken.items():
        cpu = [cpu_ms for _, cpu_ms in samples]
        limit = Limit("its thread's CPU time", cpu) if any(cpu) else None
        figures.append(Figure(f"{what}, {name}", "ms", [wall_ms for wall_ms, _ in samples], limit))
    figures.append(Figure(f"response made to the client, {name}", "ms", last_ms or [0.0]))
    return figures


def way_of(moments: list[Moment], answered_s: float) -> dict[str, Moment] | None:
    """Return when the event that an answer waited for reached each point; None if the answer did not wait for it."""
    way: dict[str, Moment] = {}
    awake = [moment for moment in moments if moment.name == "awake" and moment.at_s <= answered_s]
    if not awake:
        return None
    way["awake"] = awake[-1]
    before = [moment for moment in moments if moment.at_s <= awake[-1].at_s]
    woken = [moment for moment in moments if moment.name == "woken" and moment.at_s <= awake[-1].at_s]
    if woken:
        way["woken"] = woken[-1]
    for name in ("told", "applied", "decoded", "polled", "received"):  # The last of each before the next.
        at_s = way["applied" if name == "decoded" else "told"].at_s if "told" in way else awake[-1].at_s
        found = [moment for moment in before if moment.name == name and moment.at_s <= at_s]
        if not found:
            return None
        way[name] = found[-1]
        before = [moment for moment in before if moment.at_s <= found[-1].at_s]
    for moment in moments:
        if moment.at_s >= awake[-1].at_s and moment.name in ("ranking", "ranked", "responded"):
            way.setdefault(moment.name, moment)
        if moment.name == "asked" and moment.at_s >= way["told"].at_s:
            way.setdefault("asked", moment)
    return way if "responded" in way else None


def _used(pid: int) -> tuple[float, float]:
    """Return the CPU seconds of a process, and how often its threads have waited."""
    cpu_ns = num_waits = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # It has just ended.
            cpu_ns += int((task / "schedstat").read_text().split()[0])
            status = (task / "status").read_text()
            num_waits += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return cpu_ns / 1e9, num_waits


class Clock:
    """Notes when the threads of this process reach points; kept in memory, and written at the end."""

    def __init__(self) -> None:
        self._moments: list[tuple[str, float, float, int]] = []

    def note(self, name: str) -> None:
        self._moments.append((name, time.perf_counter(), time.thread_time(), threading.get_ident()))

    def write(self, path: Path) -> None:
        path.write_text("\n".join("\t".join(map(str, moment)) for moment in self._moments), encoding="utf-8")

    def watch(self, owner: type, method: str, before: str = "", after: str = "", only_if_found: bool = False) -> None:
        """Note when calls of a method begin and end; with ``only_if_found``, only those that return something."""
        watched = getattr(owner, method)

        @functools.wraps(watched)
        def call(*arguments: Any, **options: Any) -> Any:
            if before:
                self.note(before)
            result = watched(*arguments, **options)
            if after and (result or not only_if_found):
                self.note(after)
            return result

        @functools.wraps(watched)
        async def call_async(*arguments: Any, **options: Any) -> Any:
            result = await watched(*arguments, **options)
            if after:
                self.note(after)
            return result

        import inspect

        setattr(owner, method, call_async if inspect.iscoroutinefunction(watched) else call)


@contextlib.contextmanager
def noting(path: Path) -> Iterator[None]:
    """Note the stages of each event in this process, and write them when the server has ended."""
    from springtide.events import decoding
    from springtide.ranking.ranker import Ranker
    from springtide.state import LiveState
    from springtide_services.serving.positions import PositionWaiters
    from springtide_services.serving.recommender_service import RecommenderService
    from springtide_services.stream import network
    from springtide_services.stream.source import KafkaSource

    clock = Clock()
    received: Callable[..., tuple[bytes, Exception | None]] = network.DirectTCP._sock_recv

    def receive(self: Any) -> tuple[bytes, Exception | None]:
        data = received(self)
        clock.note("received")
        return data

    network.DirectTCP._sock_recv = receive  # type: ignore[method-assign]
    clock.watch(network.DirectTCP, "write", after="asked")
    clock.watch(KafkaSource, "poll", after="polled", only_if_found=True)
    clock.watch(decoding.Decoder, "decode", after="decoded")
    clock.watch(LiveState, "advance", after="applied")
    clock.watch(PositionWaiters, "notify", after="told")
    clock.watch(PositionWaiters, "_wake", before="woken")
    clock.watch(PositionWaiters, "has_reached", after="awake", only_if_found=True)
    clock.watch(PositionWaiters, "wait_for", after="awake")
    clock.watch(Ranker, "recommend", before="ranking", after="ranked")
    clock.watch(RecommenderService, "recommend", after="responded")
    try:
        yield
    finally:
        clock.write(path)


def read_moments(path: Path) -> list[Moment]:
    """Read what ``noting`` has written, in the order of time."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    moments = [Moment(name, float(at_s), float(cpu_s), int(thread)) for name, at_s, cpu_s, thread in rows]
    return sorted(moments, key=lambda moment: moment.at_s)
