"""Users that come and go through broker and server: rows are used again, and the answers stay right."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from springtide.clock import wall_ms
from springtide.graph import reclaiming
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.producer import EventPublisher

RunServer = Callable[..., AbstractAsyncContextManager[Any]]


def _delete(user: str) -> events_pb2.Event:
    event = events_pb2.Event(node_delete={"type": "user", "id": user})
    event.event_time.FromMilliseconds(wall_ms())
    return event


async def _publish(running: Any, settings: Settings, events: list[events_pb2.Event]) -> None:
    offsets: dict[int, int] = {}
    with EventPublisher(settings) as publisher:
        for event in events:
            partition, offset = publisher.publish(event)
            offsets[partition] = offset + 1
    position = pb.GraphPosition(next_offsets=offsets)
    answer = await running.recommender.Recommend(
        pb.RecommendRequest(user="nobody", min_position=position, wait=Duration(seconds=10))
    )
    assert not answer.is_behind_min_position


def test_rows_of_users_that_come_and_go_are_used_again(
    settings: Settings,
    run_server: RunServer,
    eventually: Callable[..., Awaitable[float]],
    make_purchase: Callable[..., events_pb2.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reclaiming, "REST_S", 0.2)
    monkeypatch.setattr(reclaiming, "FADE_S", 0.2)

    async def scenario() -> None:
        async with run_server(settings) as running:
            graph = running.server._loaded.answering.state.graph
            ids = graph.nodes("user").ids
            await _publish(running, settings, [make_purchase("ann", item, 10) for item in ("i0", "i1")])
            for generation in range(4):
                users = [f"g{generation}-{number}" for number in range(40)]
                await _publish(running, settings, [make_purchase(user, f"i{generation}", 5) for user in users])
                request = pb.RecommendRequest(user=users[0], exclude_seen=["*"])
                found = [item.item for item in (await running.recommender.Recommend(request)).items]
                assert f"i{generation}" not in found, "the user's own history counts"
                assert set(found) <= {"i0", "i1", "i2", "i3"} - {f"i{generation}"}
                await _publish(running, settings, [_delete(user) for user in users])

                async def are_released() -> bool:
                    return ids.num_released >= 40

                await eventually(are_released)
            status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            assert dict(status.num_nodes)["user"] == 1
            assert len(ids) <= 82, "no more rows than two generations"
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann"))
            assert sorted(item.item for item in answer.items) == ["i0", "i1"], "what nobody has is not recommended"
        async with run_server(settings) as running:  # From its checkpoint.
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann"))
            assert sorted(item.item for item in answer.items) == ["i0", "i1"]

    asyncio.run(scenario())
