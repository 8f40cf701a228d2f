"""Recommend with all weights on each gRPC engine, over one stream and model, beside a bare echo on each."""

import contextlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import psutil
from benches.children import METHOD, WARM_UP_SHARE
from benches.figures import Figure, Limit, percentile
from benches.load import GENERATOR, asked, generate_load
from benches.serving import Child, another_server, child, serving
from benches.sizes import Sizes

from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc

_ENGINES = ("grpcio", "native") if importlib.util.find_spec("pygrpc_native") else ("grpcio",)
_CLIENTS = (1, 32)


@dataclass(frozen=True, slots=True)
class _Run:
    """One time of load on one process: answers per second, percentiles in ms, CPU time in ms for each answer."""

    rate: float
    p50: float
    p99: float
    cpu: float


def run(sizes: Sizes) -> list[Figure]:
    with serving(sizes) as first, contextlib.ExitStack() as stack:
        requests = [
            pb.RecommendRequest(user=user, exclude_seen=["*"], view=pb.RECOMMEND_VIEW_WEIGHTS).SerializeToString()
            for user in first.interactions.user_ids
        ]
        processes = {"Recommend, grpcio": Child(first.pid, first.address)}
        for engine in _ENGINES[1:]:
            server = stack.enter_context(another_server(first, engine=engine))
            processes[f"Recommend, {engine}"] = server
        num_bytes = max(_answer_bytes(first.address, request) for request in asked(requests, max(_CLIENTS)))
        for engine in _ENGINES:
            processes[f"echo, {engine}"] = stack.enter_context(child("echo", str(num_bytes), engine))
        figures = [figure for num in _CLIENTS for figure in _measure(processes, requests, num, sizes)]
        for name, process in processes.items():
            rss_mb = psutil.Process(process.pid).memory_info().rss / 1e6
            figures.append(Figure(f"{name}: resident memory after it all", "MB", [rss_mb]))
        return figures


def _answer_bytes(address: str, request: bytes) -> int:
    with grpc.insecure_channel(address) as channel:
        stub = recommender_pb2_grpc.RecommenderServiceStub(channel)
        response = stub.Recommend(pb.RecommendRequest.FromString(request), timeout=10)
    assert len(response.items) == 20
    return int(response.ByteSize())


def _measure(processes: dict[str, Child], requests: Sequence[bytes], num_clients: int, sizes: Sizes) -> list[Figure]:
    runs: dict[str, list[_Run]] = {name: [] for name in processes}
    for _ in range(sizes.repetitions):
        for name, process in processes.items():
            runs[name].append(_load(process, requests, num_clients, sizes))
    bare = runs["echo, grpcio"]
    clients = f"{num_clients} client{'s' if num_clients > 1 else ''}"
    figures = []
    for name, ours in runs.items():
        for what, unit, of in (
            ("", "requests/s", "rate"),
            (", p50", "ms", "p50"),
            (", p99", "ms", "p99"),
            (", CPU", "ms/request", "cpu"),
        ):
            limit = Limit(f"echo on grpcio; {GENERATOR}", [getattr(each, of) for each in bare])
            samples = [getattr(each, of) for each in ours]
            figures.append(Figure(f"{name}, {clients}{what}", unit, samples, limit if ours is not bare else None))
    return figures


def _load(process: Child, requests: Sequence[bytes], num_clients: int, sizes: Sizes) -> _Run:
    of_process = psutil.Process(process.pid)
    before = of_process.cpu_times()
    latencies = generate_load(process.line, METHOD, requests, num_clients, sizes.load_s)
    after = of_process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return _Run(
        rate=len(latencies) / sizes.load_s,
        p50=1_000 * percentile(latencies, 0.5),
        p99=1_000 * percentile(latencies, 0.99),
        cpu=1_000 * cpu_s / (len(latencies) * (1 + WARM_UP_SHARE)),  # What was answered in the warm-up is not counted.
    )
