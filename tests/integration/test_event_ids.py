"""An event with an id counts once, from the broker to the server's answers, over restarts."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]


async def _answer(running: Any, position: pb.GraphPosition) -> tuple[dict[str, float], admin_pb2.GetStatusResponse]:
    """Return the weights of the item that ann has, and the status, once the graph has reached a position."""
    request = pb.RecommendRequest(user="ann", count=5, min_position=position, view=pb.RECOMMEND_VIEW_FULL)
    request.wait.seconds = 10
    assert not (await running.recommender.Recommend(request)).is_behind_min_position
    running.forget_weights()
    answer = await running.recommender.Recommend(request)
    weights = {item.item: dict(zip(answer.weight_names, item.weights, strict=True)) for item in answer.items}
    return weights["tea"], await running.admin.GetStatus(admin_pb2.GetStatusRequest())


def test_same_event_counts_once_and_after_a_restart_not_again(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, publish: Publish
) -> None:
    event = make_purchase("ann", "tea", seconds_ago=60)
    event.event_id = "order-1"
    others = [make_purchase("bob", "milk", seconds_ago=60), make_purchase("ann", "milk", seconds_ago=90)]
    changed = events_pb2.Event.FromString(event.SerializeToString())
    changed.interaction.value = 3.0

    async def scenario() -> None:
        async with run_server(settings) as running:
            once, status = await _answer(running, publish(settings, [event, *others]))
            assert status.num_edges["user:purchase:item"] == 3
            again, status = await _answer(running, publish(settings, [event] * 20))
            assert again == pytest.approx(once, rel=1e-3)
            assert status.num_edges["user:purchase:item"] == 3
            assert (status.num_duplicates, status.num_changed_duplicates) == (20, 0)
        async with run_server(settings) as running:
            again, status = await _answer(running, publish(settings, [event] * 80 + [changed]))
            assert again == pytest.approx(once, rel=1e-3)
            assert status.num_edges["user:purchase:item"] == 3
            assert (status.num_duplicates, status.num_changed_duplicates) == (101, 1)

    asyncio.run(scenario())
