"""Recommend under load, beside a bare gRPC echo of the same sizes driven by the same generator."""

import pickle
import tempfile
from pathlib import Path

import grpc
from benches.figures import Figure, Limit, percentile
from benches.serving import child, generate_load, serving
from benches.sizes import Sizes

from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc

_METHOD = "/springtide.v1.RecommenderService/Recommend"
_CLIENTS = (1, 32)


def run(sizes: Sizes) -> list[Figure]:
    with serving(sizes) as server, tempfile.TemporaryDirectory() as folder:
        users = server.interactions.user_ids
        requests = [pb.RecommendRequest(user=user) for user in users]
        response_bytes = _check(server.address, requests[0])
        bodies = Path(folder) / "requests"
        bodies.write_bytes(pickle.dumps([request.SerializeToString() for request in requests]))
        with child("echo", str(response_bytes)) as echo_address:
            return [
                figure
                for num_clients in _CLIENTS
                for figure in _measure(server.address, echo_address, bodies, num_clients, sizes)
            ]


def _check(address: str, request: pb.RecommendRequest) -> int:
    """Ask once, look at the answer, and return its size."""
    with grpc.insecure_channel(address) as channel:
        response = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend(request, timeout=10)
    assert len(response.items) == 20
    assert response.personalization == pb.PERSONALIZATION_LEARNED
    assert response.items[0].weights
    return int(response.ByteSize())


def _measure(address: str, echo_address: str, bodies: Path, num_clients: int, sizes: Sizes) -> list[Figure]:
    ours: list[list[float]] = []
    echo: list[list[float]] = []
    for _ in range(sizes.repetitions):
        echo.append(generate_load(echo_address, _METHOD, bodies, num_clients, sizes.load_s))
        ours.append(generate_load(address, _METHOD, bodies, num_clients, sizes.load_s))
    limit = "bare grpc.aio echo on uvloop, same bytes"
    clients = f"Recommend, {sizes.items:,} items, {num_clients} client{'s' if num_clients > 1 else ''}"

    def rates(of: list[list[float]]) -> list[float]:
        return [len(latencies) / sizes.load_s for latencies in of]

    def percentiles(of: list[list[float]], share: float) -> list[float]:
        return [1_000 * percentile(latencies, share) for latencies in of]

    return [
        Figure(clients, "requests/s", rates(ours), Limit(limit, rates(echo))),
        *(
            Figure(
                f"{clients}, p{100 * share:.0f}", "ms", percentiles(ours, share), Limit(limit, percentiles(echo, share))
            )
            for share in (0.5, 0.99)
        ),
    ]
