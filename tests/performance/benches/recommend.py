"""Recommend under load, beside a bare gRPC echo of the same sizes driven by the same generator."""

from collections.abc import Sequence

import grpc
from benches.children import METHOD
from benches.figures import Figure, Limit, percentile
from benches.load import GENERATOR, asked, generate_load
from benches.serving import Serving, child, serving
from benches.sizes import Sizes

from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc

_CLIENTS = (1, 32)


_VIEWS = {"ids and scores": pb.RECOMMEND_VIEW_BASIC, "all weights": pb.RECOMMEND_VIEW_WEIGHTS}


def run(sizes: Sizes) -> list[Figure]:
    with serving(sizes) as server:
        return [figure for what, view in _VIEWS.items() for figure in _of_view(server, what, view, sizes)]


def _of_view(server: Serving, what: str, view: pb.RecommendView, sizes: Sizes) -> list[Figure]:
    """Measure answers that say so much, beside an echo of as many bytes."""
    requests = [
        pb.RecommendRequest(user=user, exclude_seen=["*"], view=view).SerializeToString()
        for user in server.interactions.user_ids
    ]
    # A load generator may see no more than that there was an answer.
    response_bytes = max(_check(server.address, request) for request in asked(requests, max(_CLIENTS))[:4])
    with child("echo", str(response_bytes)) as echo:
        return [
            figure
            for num_clients in _CLIENTS
            for figure in _measure(server.address, echo.line, requests, num_clients, what, sizes)
        ]


def _check(address: str, request: bytes) -> int:
    """Ask once, look at the answer, and return its size."""
    with grpc.insecure_channel(address) as channel:
        asked_for = pb.RecommendRequest.FromString(request)
        response = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend(asked_for, timeout=10)
    assert len(response.items) == 20
    assert response.personalization == pb.PERSONALIZATION_LEARNED
    wants_weights = asked_for.view == pb.RECOMMEND_VIEW_WEIGHTS
    assert bool(response.weight_names) == wants_weights
    assert all(len(item.weights) == len(response.weight_names) for item in response.items)
    return int(response.ByteSize())


def _measure(
    address: str, echo_address: str, requests: Sequence[bytes], num_clients: int, what: str, sizes: Sizes
) -> list[Figure]:
    ours: list[list[float]] = []
    echo: list[list[float]] = []
    for _ in range(sizes.repetitions):
        echo.append(generate_load(echo_address, METHOD, requests, num_clients, sizes.load_s))
        ours.append(generate_load(address, METHOD, requests, num_clients, sizes.load_s))
    limit = f"bare grpc.aio echo on uvloop, same bytes; {GENERATOR}"
    clients = f"Recommend, {what}, {sizes.items:,} items, {num_clients} client{'s' if num_clients > 1 else ''}"

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
