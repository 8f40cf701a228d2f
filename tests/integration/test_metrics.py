"""What a running server says of its calls, its memory and its stream."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest

from springtide.clock import wall_ms
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]


def test_the_status_has_the_calls_and_the_memory(
    on_each_engine: Settings,
    run_server: RunServer,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
    eventually: Eventually,
) -> None:
    settings, begun_ms = on_each_engine, wall_ms()

    async def scenario() -> None:
        async with run_server(settings) as running:
            position = await asyncio.to_thread(publish, settings, [*diagonal_stream, diagonal_stream[0]])
            request = pb.RecommendRequest(user="u3", min_position=position)
            request.wait.FromSeconds(10)
            for _ in range(3):
                await running.recommender.Recommend(request)
            with pytest.raises(grpc.aio.AioRpcError):
                await running.recommender.Recommend(pb.RecommendRequest(count=-1))
            status = admin_pb2.GetStatusResponse()

            async def is_counted() -> bool:
                status.CopyFrom(await running.admin.GetStatus(admin_pb2.GetStatusRequest()))
                return sum(calls()["RecommenderService/Recommend"].num_ended.values()) == 4

            def calls() -> dict[str, admin_pb2.MethodCalls]:
                return {each.method.removeprefix("springtide.v1."): each for each in status.calls}

            await eventually(is_counted)
            recommend = calls()["RecommenderService/Recommend"]
            assert dict(recommend.num_ended) == {"OK": 3, "INVALID_ARGUMENT": 1}
            assert recommend.num_last_minute == 4
            assert 0 < recommend.p50_ms <= recommend.p95_ms <= recommend.p99_ms < 60_000
            assert status.num_open_calls == 1, "GetStatus itself"
            assert status.num_applied == len(diagonal_stream) + 1
            assert begun_ms <= status.start_time.ToMilliseconds() <= wall_ms()
            assert 2**20 < status.graph_bytes + 2**20 < status.resident_bytes < status.memory_limit_bytes
            assert status.max_edges == settings.graph.max_edges

    asyncio.run(scenario())
