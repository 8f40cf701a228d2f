"""When a call is tried again, how long the pauses are, and what an error says."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from springtide.client import CallError, Client, Retries, Tls, position_after
from springtide.client.retries import RetryBudget
from springtide.v1 import recommender_pb2_grpc
from springtide.v1.recommender_pb2 import RecommendBatchResponse, RecommendRequest, RecommendResponse

QUICK = Retries(max_tries=3, first_pause_s=0.001, max_pause_s=0.001)
Answer = Callable[[grpc.ServicerContext], RecommendResponse]


class _Failing(recommender_pb2_grpc.RecommenderServiceServicer):
    """A server that fails as it is told to, which ours does not."""

    def __init__(self, *failures: tuple[grpc.StatusCode, tuple[tuple[str, str], ...]]) -> None:
        self.failures = list(failures)
        self.num_calls = 0

    def _fail(self, context: grpc.ServicerContext) -> None:
        self.num_calls += 1
        if self.failures:
            code, trailers = self.failures.pop(0)
            context.set_trailing_metadata(trailers)
            context.abort(code, "as told")

    def Recommend(self, request: Any, context: grpc.ServicerContext) -> RecommendResponse:  # noqa: N802  # gRPC's name.
        self._fail(context)
        return RecommendResponse(model_version="1")

    def RecommendBatch(self, request: Any, context: grpc.ServicerContext) -> Iterator[RecommendBatchResponse]:  # noqa: N802
        yield RecommendBatchResponse(index=0)
        self._fail(context)


@contextmanager
def _client_of(servicer: _Failing, retries: Retries = QUICK, timeout_s: float = 60.0) -> Iterator[Client]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    recommender_pb2_grpc.add_RecommenderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client(f"127.0.0.1:{port}", retries=retries, timeout_s=timeout_s) as client:
            yield client
    finally:
        server.stop(0).wait()


AWAY = (grpc.StatusCode.UNAVAILABLE, ())


def test_pause_doubles_up_to_its_bound_and_adds_what_the_server_asks_for() -> None:
    retries = Retries(first_pause_s=0.1, max_pause_s=0.5)
    assert [retries.pause_s(num, None, 1.0) for num in (1, 2, 3, 4, 10_000)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert retries.pause_s(2, None, 0.5) == 0.1
    assert retries.pause_s(1, 3.0, 0.5) == 3.05
    assert retries.pause_s(1, 3.0, 0.0) == 3.0


def test_budget_ends_at_half_and_comes_back_with_successes() -> None:
    budget = RetryBudget(4.0)
    budget.note_failure()
    assert budget.has_some()
    budget.note_failure()
    assert not budget.has_some()
    budget.note_success()
    assert budget.has_some()


def test_call_is_tried_again_until_it_is_answered() -> None:
    servicer = _Failing(AWAY, AWAY)
    with _client_of(servicer) as client:
        assert client.recommend(RecommendRequest()).model_version == "1"
    assert servicer.num_calls == 3


def test_call_is_given_up_after_its_tries() -> None:
    servicer = _Failing(AWAY, AWAY, AWAY)
    with _client_of(servicer) as client, pytest.raises(CallError, match=r"as told \(UNAVAILABLE, 3 tries\)") as caught:
        client.recommend(RecommendRequest())
    assert (caught.value.num_tries, servicer.num_calls) == (3, 3)


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED"])
def test_what_another_try_does_not_help_is_not_tried_again(code: str) -> None:
    servicer = _Failing((grpc.StatusCode[code], ()))
    with _client_of(servicer) as client, pytest.raises(CallError) as caught:
        client.recommend(RecommendRequest())
    assert caught.value.code == grpc.StatusCode[code]
    assert servicer.num_calls == 1


def test_overload_is_tried_again_when_the_server_says() -> None:
    servicer = _Failing((grpc.StatusCode.RESOURCE_EXHAUSTED, (("retry-after", "0"),)))
    with _client_of(servicer) as client:
        client.recommend(RecommendRequest())
    assert servicer.num_calls == 2


@pytest.mark.parametrize(("retry_after", "seconds"), [("30", 30.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_pause_beyond_the_deadline_is_not_waited_for(retry_after: str, seconds: float | None) -> None:
    servicer = _Failing((grpc.StatusCode.RESOURCE_EXHAUSTED, (("retry-after", retry_after),)))
    with _client_of(servicer, timeout_s=20.0) as client, pytest.raises(CallError) as caught:
        client.recommend(RecommendRequest())
    assert (caught.value.retry_after_s, servicer.num_calls) == (seconds, 1)


def test_server_that_is_down_is_soon_called_once_a_call() -> None:
    servicer = _Failing(*[AWAY] * 20)
    with _client_of(servicer, Retries(max_tries=3, first_pause_s=0.001, max_pause_s=0.001, budget=8)) as client:
        for _ in range(5):
            with pytest.raises(CallError):
                client.recommend(RecommendRequest())
    assert servicer.num_calls == 3 + 1 + 1 + 1 + 1


def test_begun_stream_is_not_tried_again() -> None:
    servicer = _Failing(AWAY)
    with _client_of(servicer) as client:
        answers = client.recommend_batch([RecommendRequest()])
        assert next(answers).index == 0
        with pytest.raises(CallError):
            next(answers)
    assert servicer.num_calls == 1


def test_server_that_starts_late_is_found() -> None:
    servicer = _Failing()
    with _client_of(servicer) as first:
        first.recommend(RecommendRequest())
    server = grpc.server(futures.ThreadPoolExecutor(2))
    recommender_pb2_grpc.add_RecommenderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")  # It listens, and takes no call before it is started.
    threading.Timer(0.3, server.start).start()
    with Client(f"127.0.0.1:{port}", timeout_s=60.0) as client:
        assert client.recommend(RecommendRequest()).model_version == "1"
    server.stop(0).wait()


def test_position_is_behind_the_last_event_of_each_partition() -> None:
    assert dict(position_after((1, 7), (0, 3), (1, 5)).next_offsets) == {0: 4, 1: 8}


@pytest.mark.parametrize("acknowledged", [(), ((0, -1),)])
def test_position_of_nothing_is_refused(acknowledged: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="wanted pairs of a partition and an offset"):
        position_after(*acknowledged)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Retries(max_tries=0), "max_tries"),
        (lambda: Retries(first_pause_s=3.0), "0 < first <= max"),
        (lambda: Tls(cert_file="a"), "wanted both or none"),
        (lambda: Client("localhost:1", token="ä"), "wanted one as `springtide tokens new` prints it"),
        (lambda: Client("localhost:1", timeout_s=0.0), "wanted seconds above 0"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_springtide_is_imported_without_grpc() -> None:
    code = "import springtide, springtide.errors, sys; assert 'grpc' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import springtide.client, sys; assert not {'numpy', 'torch', 'kafka'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
