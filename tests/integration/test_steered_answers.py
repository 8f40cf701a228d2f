"""Steering through the real server: what a client sees when rules hold, and when its requests say more."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from springtide.settings.model import Settings
from springtide.steering.values import Rule, Steering
from springtide.v1 import events_pb2
from springtide.v1 import recommender_pb2 as pb

Publish = Callable[[Settings, list[events_pb2.Event]], pb.GraphPosition]
RunServer = Callable[[Settings], AbstractAsyncContextManager[Any]]


def steer(running: Any, **steering: Any) -> None:
    """Let rules and scenarios hold from now on, as those that an operator stored do."""
    assert running.server._loaded is not None
    running.server._loaded.answering.ranker.steering = Steering(**steering)


def test_a_blocked_item_is_in_no_answer(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event], publish: Publish
) -> None:
    position = publish(settings, diagonal_stream)

    async def scenario() -> None:
        async with run_server(settings) as running:
            request = pb.RecommendRequest(user="u1", count=16, min_position=position)
            before = await running.recommender.Recommend(request)
            blocked = before.items[0].item
            steer(running, rules=[Rule("sold_out", "block", (blocked,))])
            after = await running.recommender.Recommend(request)
            assert [each.item for each in after.items] == [each.item for each in before.items[1:]]
            explained = await running.recommender.Explain(pb.ExplainRequest(user="u1", item=blocked))
            assert explained.rank == 0

    asyncio.run(scenario())
