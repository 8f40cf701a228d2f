"""Interaction rules that changed between two runs of a server reach its answers, or its status says what they lack."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from springtide.events.skips import Skips
from springtide.settings.model import InteractionSettings, Settings
from springtide.testing import state_content
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.rebuild_run import RebuildRun
from springtide_services.stream.producer import EventPublisher

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]


def _with_rules(settings: Settings, **rules: InteractionSettings) -> Settings:
    return settings.model_copy(update={"interactions": rules})


def test_changed_interactions_reach_the_answers_of_a_restarted_server(
    settings: Settings, run_server: RunServer, make_purchase: Callable[..., events_pb2.Event], eventually: Eventually
) -> None:
    purchase, view = InteractionSettings(), InteractionSettings(weight=0.1)
    events = [make_purchase(f"u{number}", "tea", seconds_ago=60) for number in range(2)]
    for number in range(4):
        events.append(make_purchase(f"v{number}", "milk", seconds_ago=60))
        events[-1].interaction.type = "view"

    async def best(running: Any) -> tuple[str, list[str]]:
        status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
        answer = await running.recommender.Recommend(pb.RecommendRequest(user="stranger", count=1))
        return answer.items[0].item, list(status.rebuild_reasons)

    async def scenario() -> None:
        async with run_server(_with_rules(settings, purchase=purchase, view=view)) as running:
            with EventPublisher(settings) as publisher:
                publisher.publish_many(events)
            await eventually(lambda: _edges_are(running, len(events)))
            assert await best(running) == ("tea", [])
        heavier = view.model_copy(update={"weight": 3.0})
        async with run_server(_with_rules(settings, purchase=purchase, view=heavier)) as running:
            assert await best(running) == ("milk", [])
            applied = state_content(running.server._loaded.answering.state)
            run = RebuildRun(_with_rules(settings, purchase=purchase, view=heavier), running.server.admin_address)
            options = {"from_what_is_left": False, "forgets_skips": False, "confirm": lambda question: True}
            await asyncio.to_thread(run.run, Skips(), **options)
            # What was applied to the checkpoint is what reading the events again gives.
            assert state_content(running.server._loaded.answering.state) == applied
        async with run_server(_with_rules(settings, purchase=purchase, click=view)) as running:
            item, reasons = await best(running)
            assert item == "tea"
            assert [reason.split(":")[0] for reason in reasons] == [
                "interactions.view is gone",
                "interactions.click is new",
            ]

    asyncio.run(scenario())


def test_rule_that_is_renamed_and_put_back_before_any_event_leaves_everything_as_it_was(
    settings: Settings, run_server: RunServer, make_purchase: Callable[..., events_pb2.Event], eventually: Eventually
) -> None:
    purchase, like = InteractionSettings(), InteractionSettings(weight=0.5)
    events = [make_purchase("ann", item, seconds_ago=60) for item in ("tea", "milk")]
    events[-1].interaction.type = "like"

    async def answers(running: Any) -> tuple[list[str], dict[str, float]]:
        status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
        answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann", count=5))
        return list(status.rebuild_reasons), {item.item: round(item.score, 3) for item in answer.items}

    async def scenario() -> None:
        async with run_server(_with_rules(settings, purchase=purchase, like=like)) as running:
            with EventPublisher(settings) as publisher:
                publisher.publish_many(events)
            await eventually(lambda: _edges_are(running, len(events)))
            before = await answers(running)
        async with run_server(_with_rules(settings, purchase=purchase, love=like)) as running:
            reasons, scores = await answers(running)
            assert len(reasons) == 2
            assert scores != before[1]
        async with run_server(_with_rules(settings, purchase=purchase, like=like)) as running:
            assert await answers(running) == before

    asyncio.run(scenario())


async def _edges_are(running: Any, count: int) -> bool:
    status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
    return sum(status.num_edges.values()) == count
