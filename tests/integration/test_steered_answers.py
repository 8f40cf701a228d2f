"""Steering through the real server: what a client sees when rules hold, and when its requests say more."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest

from springtide.settings.model import Settings
from springtide.steering.values import QuerySteering, Rule, Scenario, Steering
from springtide.v1 import events_pb2
from springtide.v1 import recommender_pb2 as pb

Publish = Callable[[Settings, list[events_pb2.Event]], pb.GraphPosition]
RunServer = Callable[[Settings], AbstractAsyncContextManager[Any]]


def steer(running: Any, **steering: Any) -> None:
    """Let rules and scenarios hold from now on, as those that an operator stored do."""
    assert running.server._loaded is not None
    running.server._loaded.answering.ranker.steering = Steering(**steering)


def test_rules_scenarios_and_filters_hold_by_the_next_request(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event], publish: Publish
) -> None:
    prices = []
    for row in range(16):
        upsert = {"type": "item", "id": f"i{row}", "numbers": {"price": row}}
        prices.append(events_pb2.Event(node_upsert=upsert, event_time=diagonal_stream[0].event_time))
    position = publish(settings, [*diagonal_stream, *prices])

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

            steer(running, scenarios={"mail": Scenario("mail", QuerySteering(filter="price < 8"), count=3)})
            request = pb.RecommendRequest(user="u1", filter="price >= 4", include_attributes=["price"])
            filtered = await running.recommender.Recommend(request)
            assert {each.attributes["price"].number for each in filtered.items} == set(range(4, 16))
            request.scenario = "mail"
            of_scenario = await running.recommender.Recommend(request)
            assert len(of_scenario.items) == 3
            assert {each.attributes["price"].number for each in of_scenario.items} <= {4, 5, 6, 7}
            request.filter = "pric >= 4"
            with pytest.raises(grpc.aio.AioRpcError, match="did you mean price") as refused:
                await running.recommender.Recommend(request)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(scenario())
