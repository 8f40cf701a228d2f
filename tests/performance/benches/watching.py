"""What being watched costs Recommend: counting calls; a Prometheus, the console and a browser that look each second."""

import asyncio
import contextlib
import queue
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
import numpy as np
import psutil
from benches.children import METHOD, WARM_UP_SHARE
from benches.figures import Figure, Limit, percentile
from benches.load import GENERATOR, generate_load
from benches.ranking import EXPONENTS, model_of
from benches.serving import child, serving, wait_until_ready
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.events import EventBatch
from springtide.plugins.loading import load_plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import ConsoleSettings, MetricsSettings, Settings
from springtide.state import LiveState
from springtide.state_snapshot import StreamPosition
from springtide.v1 import recommender_pb2 as pb
from springtide_services.addresses import free_port
from springtide_services.metrics.calls import CallCounts
from springtide_services.serving.batching import MicroBatcher
from springtide_services.serving.engines import for_services, make_grpc_server
from springtide_services.serving.lists_service import RecommenderDependencies
from springtide_services.serving.positions import PositionWaiters
from springtide_services.serving.recommender_service import RecommenderService, add_recommender_service
from springtide_services.serving.work import work_of

_ITEMS = 2_500  # Of a shop whose answers are quick: what is paid for each call weighs most there.
_ASKED = 300  # Of each sample.
_ROUNDS = 20  # Of samples with and without in turn, for each repetition.
_CLIENTS = 8


def run(sizes: Sizes) -> list[Figure]:
    return [*_counting(sizes), *_watched(sizes)]


def _counting(sizes: Sizes) -> list[Figure]:
    """Ask two servers of one process in turn, which have all in common but that one of them counts its calls."""
    settings = Settings()
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    num = min(_ITEMS, sizes.items)
    state.apply(EventBatch(make_interactions(20 * num, num, num)))
    ranker = Ranker(state, settings.ranking)
    ranker.swap(replace(model_of(state), exponents=EXPONENTS))
    state.position = StreamPosition("events", "an id", {0: 0})
    users = state.graph.view().nodes("user").ids.all_ids()[:_ASKED]
    requests = [pb.RecommendRequest(user=user, exclude_seen=["*"]).SerializeToString() for user in users]
    times: dict[str, list[float]] = {"with": [], "without": []}
    cpu: dict[str, list[float]] = {"with": [], "without": []}
    with _two_servers(state, ranker) as (addresses, clock), contextlib.ExitStack() as stack:
        asks = {}
        for name, address in addresses.items():
            channel = stack.enter_context(grpc.insecure_channel(address))
            asks[name] = channel.unary_unary(METHOD)
        for ask in asks.values():  # The caches, and the batcher's notion of how long an answer takes.
            for request in requests:
                ask(request, timeout=10)
        for _ in range(sizes.repetitions):
            of_round: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
            for number in range(_ROUNDS):
                for name in sorted(asks, reverse=bool(number % 2)):
                    taken, began_ns = [], time.clock_gettime_ns(clock)
                    for request in requests:
                        started = time.perf_counter_ns()
                        asks[name](request, timeout=10)
                        taken.append((time.perf_counter_ns() - started) / 1_000)
                    cpu_us = (time.clock_gettime_ns(clock) - began_ns) / 1_000 / len(requests)
                    of_round[name].append((float(np.median(taken)), cpu_us))
            for name, samples in of_round.items():
                times[name].append(float(np.median([took for took, _ in samples])))
                cpu[name].append(float(np.median([us for _, us in samples])))
    what = f"Recommend by gRPC, one client, {num:,} items, calls counted"
    return [
        Figure(what, "µs", times["with"], Limit("not counted", times["without"])),
        Figure(f"{what}: the event loop's thread", "µs CPU", cpu["with"], Limit("not counted", cpu["without"])),
    ]


@contextlib.contextmanager
def _two_servers(state: LiveState, ranker: Ranker) -> Iterator[tuple[dict[str, str], int]]:
    """Serve a ranker twice on one event loop; give the addresses, and the clock of the loop's CPU time."""
    ready: queue.Queue[tuple[dict[str, str], int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        loop, stopping, settings = asyncio.get_running_loop(), asyncio.Event(), Settings()
        batcher = MicroBatcher(ranker.recommend, 32, work_of)
        service = RecommenderService(settings)
        service.loaded = RecommenderDependencies(state, ranker, batcher, PositionWaiters(loop, state.has_reached))
        servers, addresses = [], {}
        for name, calls in (("with", CallCounts()), ("without", None)):
            server = make_grpc_server(settings.server)
            add_recommender_service(service, for_services(server, settings.server, calls))
            addresses[name] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            servers.append(server)
        ready.put((addresses, time.pthread_getcpuclockid(threading.get_ident()), loop, stopping))
        await stopping.wait()
        for server in servers:
            await server.stop(None)
        batcher.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    addresses, clock, loop, stopping = ready.get(timeout=60)
    try:
        yield addresses, clock
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


@dataclass(frozen=True, slots=True)
class _Run:
    p50: float
    p99: float
    cpu: float


def _watched(sizes: Sizes) -> list[Figure]:
    """Load a server that nobody watches, that a Prometheus reads, and that the console and a browser look at."""
    sizes = replace(sizes, items=min(_ITEMS, sizes.items))
    with serving(sizes) as first, contextlib.ExitStack() as stack:
        settings = first.settings.model_copy(
            update={
                "checkpoint": first.settings.checkpoint.model_copy(
                    update={"url": f"{first.settings.checkpoint.url}-watched"}
                ),
                "server": first.settings.server.model_copy(update={"port": free_port(), "admin_port": free_port()}),
                "metrics": MetricsSettings(port=free_port()),
                "console": ConsoleSettings(port=0),
            }
        )
        server = stack.enter_context(child("serve", settings.model_dump_json()))
        wait_until_ready(server.line)
        console = stack.enter_context(child("console", settings.model_dump_json()))
        requests = [
            pb.RecommendRequest(user=user, exclude_seen=["*"]).SerializeToString()
            for user in first.interactions.user_ids
        ]
        metrics = f"http://127.0.0.1:{settings.metrics.port}/metrics"
        ways: dict[str, tuple[str, ...]] = {
            "nobody": (),
            "a Prometheus, each second (15 s are usual)": (metrics,),
            "the console and a browser": (f"{console.line}/v1/now",),
        }
        runs: dict[str, list[_Run]] = {name: [] for name in ways}
        for _ in range(2 * sizes.repetitions):
            for name, urls in ways.items():
                with _watching(urls):
                    runs[name].append(_load(server.pid, server.line, requests, sizes))
    figures = []
    for name, ours in runs.items():
        if name == "nobody":
            continue
        for what, unit, of in (("p50", "ms", "p50"), ("p99", "ms", "p99"), ("CPU", "ms/request", "cpu")):
            limit = Limit(f"nobody watches; {GENERATOR}", [getattr(each, of) for each in runs["nobody"]])
            title = f"Recommend, {_CLIENTS} clients, watched by {name}: {what}"
            figures.append(Figure(title, unit, [getattr(each, of) for each in ours], limit))
    return figures


def _load(pid: int, address: str, requests: Sequence[bytes], sizes: Sizes) -> _Run:
    process = psutil.Process(pid)
    before = process.cpu_times()
    latencies = generate_load(address, METHOD, requests, _CLIENTS, sizes.load_s)
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return _Run(
        p50=1_000 * percentile(latencies, 0.5),
        p99=1_000 * percentile(latencies, 0.99),
        cpu=1_000 * cpu_s / (len(latencies) * (1 + WARM_UP_SHARE)),
    )


@contextlib.contextmanager
def _watching(urls: Sequence[str]) -> Iterator[None]:
    """Read metrics each second, and the stream of the page Now as it comes, until the block ends."""
    ended = threading.Event()

    def watch(url: str) -> None:
        while not ended.is_set():
            with urllib.request.urlopen(url, timeout=60) as answer:
                _read(answer, ended)
            ended.wait(1.0)

    threads = [threading.Thread(target=watch, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _read(answer: Any, ended: threading.Event) -> None:
    while not ended.is_set() and answer.readline():
        pass
