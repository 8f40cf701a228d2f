"""What steering costs a request: the same users with fifty rules, a filter and diversity, and with nothing of it."""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import grpc
import numpy as np
from benches.figures import Figure, Limit
from benches.ranking import EXPONENTS, model_of
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.clock import MS_PER_DAY
from springtide.events import EventBatch
from springtide.events.model import NodeUpsert
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.state_snapshot import StreamPosition
from springtide.steering.values import QuerySteering, Rule, Steering
from springtide.testing import interactions_of
from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc
from springtide_services.serving.batching import MicroBatcher
from springtide_services.serving.lists_service import RecommenderDependencies
from springtide_services.serving.positions import PositionWaiters
from springtide_services.serving.recommender_service import RecommenderService, add_recommender_service
from springtide_services.serving.work import work_of

_USERS = 200
_ROUNDS = 5  # For each sample, with and without in turn.
_BRANDS = 500


def run(sizes: Sizes) -> list[Figure]:
    settings = Settings()
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    num_users = min(sizes.users, sizes.items)
    state.apply(EventBatch(make_interactions(10 * num_users + sizes.items, num_users, sizes.items)))
    view = state.graph.view()
    assert view.newest_ms is not None
    items, users = (view.nodes(kind).ids.all_ids() for kind in ("item", "user"))
    _tell_attributes(state, items, users)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(replace(model_of(state), exponents=EXPONENTS))
    plain = [Query(Moment(view.newest_ms), user, exclude_seen=("*",)) for user in users[:_USERS]]
    filtered = QuerySteering(filter='price < 80 and brand != "brand7"')
    rules = Steering(rules=_rules(items, view.newest_ms))
    ways: dict[str, tuple[Steering, QuerySteering | None]] = {
        "without": (Steering(), None),
        "fifty rules": (rules, None),
        "a filter": (Steering(), filtered),
        "diversity": (Steering(), QuerySteering(diversity=0.3)),
        "fifty rules, a filter and diversity": (rules, replace(filtered, diversity=0.3)),
    }
    works = {name: _asking(ranker, plain, *way) for name, way in ways.items()}
    for work in works.values():  # From here on, users, moment and what was made of the rules are in their caches.
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(sizes.repetitions):
        of_round: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(_ROUNDS):
            for name, work in works.items():
                of_round[name].append(work())
        for name, samples in of_round.items():
            taken[name].append(float(np.median(samples)))
    limit = Limit("without", taken.pop("without"))
    figures = [
        Figure(f"Recommend in process, {sizes.items:,} items, all weights, {name}", "µs CPU", samples, limit)
        for name, samples in taken.items()
    ]
    return [*figures, _by_grpc(sizes, state, ranker, users[:_USERS], *ways["fifty rules, a filter and diversity"])]


def _by_grpc(
    sizes: Sizes, state: LiveState, ranker: Ranker, users: Sequence[str], rules: Steering, says: QuerySteering
) -> Figure:
    """Ask one request after another over gRPC, with and without in turn; return the medians of the round trips."""
    plain = [pb.RecommendRequest(user=user, exclude_seen=["*"]) for user in users]
    steered = [
        pb.RecommendRequest(user=user, exclude_seen=["*"], filter=says.filter, diversity=says.diversity)
        for user in users
    ]
    taken: dict[str, list[float]] = {"with": [], "without": []}
    with _served(state, ranker) as address, grpc.insecure_channel(address) as channel:
        recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend

        def asking(steering: Steering, requests: Sequence[pb.RecommendRequest]) -> float:
            ranker.steering = steering
            samples = []
            for request in [*requests, *requests]:  # The first time is for the caches.
                started = time.perf_counter_ns()
                recommend(request, timeout=10)
                samples.append((time.perf_counter_ns() - started) / 1_000)
            return float(np.median(samples[len(requests) :]))

        for _ in range(sizes.repetitions):
            of_round: dict[str, list[float]] = {"with": [], "without": []}
            for _ in range(_ROUNDS):
                of_round["without"].append(asking(Steering(), plain))
                of_round["with"].append(asking(rules, steered))
            for name, samples in of_round.items():
                taken[name].append(float(np.median(samples)))
    what = f"Recommend by gRPC, one client, {sizes.items:,} items, fifty rules, a filter and diversity"
    return Figure(what, "µs", taken["with"], Limit("without", taken["without"]))


@contextlib.contextmanager
def _served(state: LiveState, ranker: Ranker) -> Iterator[str]:
    """Serve a ranker from a thread of its own; give the address."""
    state.position = StreamPosition("events", "an id", {0: 0})
    ready: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        batcher = MicroBatcher(ranker.recommend, 32, work_of)
        service = RecommenderService(Settings())
        service.loaded = RecommenderDependencies(state, ranker, batcher, PositionWaiters(loop, state.has_reached))
        server = grpc.aio.server()
        add_recommender_service(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.put((f"127.0.0.1:{port}", loop, stopping))
        await stopping.wait()
        await server.stop(None)
        batcher.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    address, loop, stopping = ready.get(timeout=60)
    yield address
    loop.call_soon_threadsafe(stopping.set)
    thread.join()


def _asking(
    ranker: Ranker, plain: Sequence[Query], steering: Steering, says: QuerySteering | None
) -> Callable[[], float]:
    queries = [replace(query, steering=says) for query in plain]
    own = Ranker.__new__(Ranker)  # The same served model and caches, with rules of its own.
    own.__dict__.update(ranker.__dict__)
    own.steering = steering

    def work() -> float:
        taken = []
        for query in queries:
            started = time.thread_time_ns()
            own.recommend([query])
            taken.append((time.thread_time_ns() - started) / 1_000)
        return float(np.median(taken))

    return work


def _tell_attributes(state: LiveState, items: Sequence[str], users: Sequence[str]) -> None:
    random = np.random.default_rng(5)
    prices, brands = random.uniform(1, 100, len(items)), random.integers(0, _BRANDS, len(items))
    upserts = [
        NodeUpsert("item", item, {"brand": (f"brand{brand}",)}, {"price": float(price), "promo": float(brand % 7 == 0)})
        for item, brand, price in zip(items, brands.tolist(), prices.tolist(), strict=True)
    ]
    upserts += [NodeUpsert("user", user, {"country": (("DE", "FR", "NL")[at % 3],)}) for at, user in enumerate(users)]
    state.apply(EventBatch(interactions_of([]), upserts=upserts))


def _rules(items: Sequence[str], now_ms: int) -> list[Rule]:
    """Return fifty rules of all kinds; five of each ten hold for some users, some scenarios or some time alone."""
    rules = []
    for at in range(10):
        some = tuple(items[number] for number in range(at, len(items), max(1, len(items) // 50)))
        german = 'user.country == "DE"' if at % 5 == 0 else ""
        until_ms = now_ms + (at - 2) * MS_PER_DAY if at % 3 == 0 else None
        rules += [
            Rule(f"block{at}", "block", some if at % 2 else (), "" if at % 2 else f'brand == "brand{at}"', german),
            Rule(f"boost{at}", "boost", filter=f'brand == "brand{20 + at}"', segment=german, factor=1.5 + at),
            Rule(f"bury{at}", "bury", filter=f"price > {90 + at} and not promo", factor=0.5, end_ms=until_ms),
            Rule(f"pin{at}", "pin", some[:1], slot=2 * at + 1, scenarios=("home",) if at % 2 else ()),
            Rule(f"list{at}", "boost", some, factor=2.0, start_ms=now_ms - MS_PER_DAY),
        ]
    return rules
