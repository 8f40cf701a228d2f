"""Far more requests than the server can take: each is answered or refused at once, and small ones come through."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.checkpoint import CheckpointStore
from springtide.settings.model import Settings
from springtide.v1 import events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import request_translation
from springtide_services.termination import STOP_BUDGET_S

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
RunServerProcess = Callable[[Settings], AbstractContextManager[tuple[subprocess.Popen[str], str]]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
NUM_CALLS = 6_000
DEADLINE_S = 120.0  # Of the flood's calls, and the most that the server allows here: whatever reaches it was forgotten.

# A process of its own, so that it takes no time of the server's; it says how many calls ended how.
FLOOD = """
import asyncio, collections, json, sys
import grpc
from springtide.v1 import recommender_pb2 as pb, recommender_pb2_grpc

address, number, deadline_s, count = sys.argv[1:]
request = pb.RecommendRequest(user="u1", count=int(count))

async def flood():
    channel_of_its_own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=channel_of_its_own) for _ in range(8)]
    stubs = [recommender_pb2_grpc.RecommenderServiceStub(channel) for channel in channels]
    outcomes = collections.Counter()

    async def call(number):
        try:
            await stubs[number % len(stubs)].Recommend(request, timeout=float(deadline_s))
            outcomes["OK"] += 1
        except grpc.aio.AioRpcError as refused:
            after = dict(refused.trailing_metadata() or ()).get("retry-after")
            outcomes[f"{refused.code().name} {after}"] += 1

    await asyncio.gather(*(call(each) for each in range(int(number))))
    print(json.dumps(outcomes))

asyncio.run(flood())
"""


@pytest.fixture
def settings(on_each_engine: Settings) -> Settings:
    server = on_each_engine.server.model_copy(update={"max_deadline_s": DEADLINE_S, "max_open_requests": 200})
    return on_each_engine.model_copy(update={"server": server})


async def flooded(address: str, count: int, number: int = NUM_CALLS) -> Counter[str]:
    """Send calls all at once, and return how many ended how."""
    arguments = [address, str(number), str(DEADLINE_S), str(count)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FLOOD, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Counter(json.loads(output))


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("count", "max_open_requests"), [(10, 200), (1_000, 4_000)])
def test_each_of_six_thousand_calls_at_once_is_answered_or_refused_and_small_ones_come_through(
    settings: Settings,
    run_server_process: RunServerProcess,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
    count: int,
    max_open_requests: int,
) -> None:
    publish(settings, diagonal_stream)
    server = settings.server.model_copy(update={"max_open_requests": max_open_requests})

    async def scenario(address: str) -> tuple[Counter[str], set[grpc.StatusCode], set[grpc.StatusCode]]:
        async with grpc.aio.insecure_channel(address) as channel:
            recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
            check = health_pb2_grpc.HealthStub(channel).Check
            flood = asyncio.create_task(flooded(address, count))
            of_small: set[grpc.StatusCode] = set()
            of_health: set[grpc.StatusCode] = set()
            while not flood.done():
                of_small.add(await recommend(pb.RecommendRequest(user="u2", count=5), timeout=DEADLINE_S).code())
                of_health.add(await check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S).code())
            return await flood, of_small, of_health

    with run_server_process(settings.model_copy(update={"server": server})) as (_, address):
        outcomes, of_small, of_health = asyncio.run(scenario(address))
    assert set(outcomes) <= {"OK", "RESOURCE_EXHAUSTED 1"}
    assert outcomes["OK"] > 0
    assert outcomes.total() == NUM_CALLS
    assert of_health == {grpc.StatusCode.OK}
    if count > 10:  # Else those of the flood are as small.
        assert of_small == {grpc.StatusCode.OK}


def test_requests_that_wait_are_refused_beyond_the_limit_and_their_room_is_free_again(
    settings: Settings, run_server: RunServer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_translation, "MAX_WAIT_S", DEADLINE_S)
    most = settings.server.max_open_requests
    waiting = pb.RecommendRequest(
        min_position=pb.GraphPosition(next_offsets={0: 10**9}), wait=Duration(seconds=int(DEADLINE_S))
    )

    async def scenario() -> None:
        async with run_server(settings) as running:
            admission = running.server._recommender._admission

            async def is_open(number: int) -> bool:
                return bool(admission._open == number)

            for _ in range(2):
                calls = [running.recommender.Recommend(waiting) for _ in range(most)]
                await eventually(lambda: is_open(most))
                refused = running.recommender.Recommend(waiting)
                assert await refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert ("retry-after", "1") in tuple(await refused.trailing_metadata())
                assert await running.is_serving()
                for call in calls:
                    call.cancel()
                await eventually(lambda: is_open(0))

    asyncio.run(scenario())


@pytest.mark.long
@pytest.mark.timeout(300)
def test_memory_stays_flat_at_three_times_as_many_requests_as_may_be_open(
    settings: Settings,
    run_server_process: RunServerProcess,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    publish(settings, diagonal_stream)
    with run_server_process(settings) as (process, address):
        used_mb = []
        for _ in range(6):
            asyncio.run(flooded(address, 1_000, 3 * settings.server.max_open_requests))
            used_mb.append(psutil.Process(process.pid).memory_info().rss / 1e6)
    assert max(used_mb[3:]) < 1.15 * max(used_mb[:3]), used_mb


@pytest.mark.fault("server stopped under load")
@pytest.mark.timeout(300)
def test_a_server_under_load_ends_in_order_and_in_time(
    settings: Settings,
    run_server_process: RunServerProcess,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    publish(settings, diagonal_stream)
    ends: Counter[grpc.StatusCode] = Counter()

    async def ask(address: str) -> None:
        async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
            code = grpc.StatusCode.OK
            while code == grpc.StatusCode.OK:
                code = await recommend(pb.RecommendRequest(user="u1", count=100), timeout=DEADLINE_S).code()
                ends[code] += 1

    async def scenario(process: subprocess.Popen[str], address: str) -> float:
        asking = [asyncio.create_task(ask(address)) for _ in range(20)]
        while ends[grpc.StatusCode.OK] < 100:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        await asyncio.gather(*asking)
        assert await asyncio.to_thread(process.wait, DEADLINE_S) == 0
        return time.monotonic() - started

    with run_server_process(settings) as (process, address):
        took_s = asyncio.run(scenario(process, address))
    assert took_s < 3 * STOP_BUDGET_S  # It is some seconds; a busy machine may take longer.
    # Those under way are answered; a call that comes while the server leaves is refused, or cancelled by grpcio.
    assert set(ends) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert ends.total() - ends[grpc.StatusCode.OK] == 20
    checkpoint = CheckpointStore(settings.checkpoint.url).latest()
    assert checkpoint is not None
    assert checkpoint.num_events == len(diagonal_stream)
