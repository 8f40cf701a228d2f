"""What the server relies on, whichever engine speaks gRPC: ends of calls, of clients and of the server itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import request_translation
from springtide_services.serving import server as server_module

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
NUM_CLIENTS = 500


@pytest.fixture
def settings(on_each_engine: Settings) -> Settings:
    server = on_each_engine.server.model_copy(update={"max_deadline_s": 60.0})
    return on_each_engine.model_copy(update={"server": server})


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls wait long, and a stopping server for them: what a busy machine takes is far less."""
    monkeypatch.setattr(server_module, "_STOP_GRACE_S", 60.0)
    monkeypatch.setattr(request_translation, "MAX_WAIT_S", 60.0)


def waiting(seconds: float) -> pb.RecommendRequest:
    """Return a request that is under way for so long: it waits for a position that does not come."""
    wait = Duration(nanos=round(1e9 * (seconds % 1)), seconds=int(seconds))
    return pb.RecommendRequest(user="u1", min_position=pb.GraphPosition(next_offsets={0: 10**9}), wait=wait)


def are_waiting(running: Any, number: int) -> Callable[[], Awaitable[bool]]:
    """Return whether so many requests wait for a position in the server."""

    async def are() -> bool:
        return len(running.server._recommender.loaded.positions._waiters) == number

    return are


async def stopped_s(running: Any) -> float:
    """Stop the server, and return how many seconds that took; it would wait a minute for calls that are under way."""
    started = time.monotonic()
    await running.server.stop()
    return time.monotonic() - started


def test_a_call_that_its_client_cancels_is_over(
    settings: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    async def scenario() -> float:
        async with run_server(settings) as running:
            calls = [running.recommender.Recommend(waiting(29)) for _ in range(50)]
            await eventually(are_waiting(running, 50))
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert {await call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
            await eventually(are_waiting(running, 0), within_s=20)
            return await stopped_s(running)

    assert asyncio.run(scenario()) < 20


def test_calls_of_a_client_that_vanishes_are_over(
    settings: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    async def scenario() -> float:
        async with run_server(settings) as running:
            channel = grpc.aio.insecure_channel(running.server.address, options=[("grpc.use_local_subchannel_pool", 1)])
            stub = recommender_pb2_grpc.RecommenderServiceStub(channel)
            calls = [asyncio.ensure_future(stub.Recommend(waiting(29))) for _ in range(50)]
            await eventually(are_waiting(running, 50))
            await channel.close()
            await asyncio.gather(*calls, return_exceptions=True)
            await eventually(are_waiting(running, 0), within_s=20)
            assert await running.is_serving()
            return await stopped_s(running)

    assert asyncio.run(scenario()) < 20


def test_calls_under_way_are_answered_while_the_server_stops_and_no_more_are_taken(
    settings: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    async def ask(address: str) -> bool:
        async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            response = await recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend(waiting(3.0))
            return bool(response.is_behind_min_position)

    async def scenario() -> None:
        async with run_server(settings) as running:
            under_way = [asyncio.ensure_future(ask(running.server.address)) for _ in range(20)]
            await eventually(are_waiting(running, 20))
            stopping = asyncio.ensure_future(running.server.stop())

            async def is_refused() -> bool:
                call = running.recommender.Recommend(pb.RecommendRequest(user="u1"))
                # OK as long as the server has not begun to stop; grpcio cancels a call that comes just then.
                code = await call.code()
                assert code in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
                return bool(code == grpc.StatusCode.UNAVAILABLE)

            await eventually(is_refused)
            assert not stopping.done()
            assert all(await asyncio.gather(*under_way))
            await stopping

    asyncio.run(scenario())


def test_who_watches_the_health_sees_each_turn_and_the_end(
    settings: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    seen: list[int] = []

    async def watch(running: Any) -> grpc.StatusCode:
        answers = running.health.Watch(health_pb2.HealthCheckRequest())
        try:
            while True:
                seen.append((await answers.read()).status)
        except grpc.aio.AioRpcError as ended:
            return ended.code()

    async def scenario() -> None:
        async with run_server(settings, wait_until_ready=False) as running:
            watching = asyncio.create_task(watch(running))
            await eventually(running.is_serving)
            await running.server.stop()
            assert await watching in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    asyncio.run(scenario())
    health = health_pb2.HealthCheckResponse
    assert seen == [health.NOT_SERVING, health.SERVING, health.NOT_SERVING]


@pytest.mark.parametrize("service", ["", "stream", "unknown"])
def test_who_watches_the_health_does_not_hold_up_the_end(
    settings: Settings, run_server: RunServer, service: str
) -> None:
    async def scenario() -> tuple[float, grpc.StatusCode, list[int]]:
        async with run_server(settings) as running:
            answers = running.health.Watch(health_pb2.HealthCheckRequest(service=service))
            seen = [(await answers.read()).status]
            took_s = await stopped_s(running)
            try:
                while True:  # First what was written before the end.
                    seen.append((await answers.read()).status)
            except grpc.aio.AioRpcError as ended:
                return took_s, ended.code(), seen

    health = health_pb2.HealthCheckResponse
    took_s, code, seen = asyncio.run(scenario())
    assert took_s < 20
    assert code == grpc.StatusCode.UNAVAILABLE
    assert seen[-1] == (health.SERVICE_UNKNOWN if service == "unknown" else health.NOT_SERVING)


def test_who_keeps_the_reflection_open_does_not_hold_up_the_end(settings: Settings, run_server: RunServer) -> None:
    async def scenario() -> float:
        async with run_server(settings) as running:
            described = reflection_pb2_grpc.ServerReflectionStub(running.channel).ServerReflectionInfo()
            await described.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert len((await described.read()).list_services_response.service) == 3
            return await stopped_s(running)

    assert asyncio.run(scenario()) < 20


def test_each_of_many_connections_is_answered(settings: Settings, run_server: RunServer) -> None:
    async def ask(address: str) -> str:
        async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = recommender_pb2_grpc.RecommenderServiceStub(channel)
            for _ in range(2):
                response = await stub.Recommend(pb.RecommendRequest(user="u1"), wait_for_ready=True)
            return str(response.model_version)

    async def scenario() -> list[str]:
        async with run_server(settings) as running:
            return await asyncio.gather(*(ask(running.server.address) for _ in range(NUM_CLIENTS)))

    assert asyncio.run(scenario()) == [""] * NUM_CLIENTS


def test_metadata_that_is_too_long_is_refused_and_the_connection_lives(
    settings: Settings, run_server: RunServer
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            request = pb.RecommendRequest(user="u1")
            with pytest.raises(grpc.aio.AioRpcError):
                await running.recommender.Recommend(request, metadata=(("key", "v" * 20_000),))
            await running.recommender.Recommend(request, metadata=(("key", "v" * 2_000),))

    asyncio.run(scenario())


def test_the_health_of_the_stream_says_that_it_is_behind_and_the_status_does_too(
    settings: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            await eventually(lambda: running.is_serving("stream"))
            assert (await running.admin.GetStatus(admin_pb2.GetStatusRequest())).stream_health == "reading"
            ingest = running.server._loaded.ingest
            ingest._lag.read = lambda: (200_000, 0.1, ())  # A backlog that lasts cannot be had from a fast broker.

            async def is_behind() -> bool:
                return not await running.is_serving("stream")

            await eventually(is_behind)
            assert await running.is_serving()
            assert (await running.admin.GetStatus(admin_pb2.GetStatusRequest())).stream_health == "behind"

    asyncio.run(scenario())
