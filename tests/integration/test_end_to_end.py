"""The main job: publish, train in a process of its own, recommend, publish again, and the answer has changed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import wall_ms
from springtide.model.registry import ModelStore
from springtide.settings.model import GraphSettings, InteractionSettings, PartSettings, Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb

RunTrainer = Callable[[Settings], AbstractContextManager[object]]
RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]
MakePurchase = Callable[..., events_pb2.Event]


def parities(response: pb.RecommendResponse) -> list[int]:
    return [int(entry.item[1:]) % 2 for entry in response.items]


@pytest.mark.timeout(400)
def test_the_answer_follows_the_stream_and_survives_a_restart(
    settings: Settings,
    run_server: RunServer,
    run_trainer: RunTrainer,
    eventually: Eventually,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    moment = pb.Context(event_time=make_purchase("", "").event_time)
    users = ("u3", "u_new", "u_new_0", "u_new_1")

    async def ask(running: Any, user: str, position: pb.GraphPosition | None = None) -> pb.RecommendResponse:
        response: pb.RecommendResponse = await running.recommender.Recommend(
            pb.RecommendRequest(
                user=user,
                count=4,
                context=moment,
                exclude_seen=["*"],
                min_position=position,
                wait=Duration(seconds=5),
            )
        )
        assert not response.is_behind_min_position
        return response

    async def scenario() -> None:
        with run_trainer(settings):
            async with run_server(settings) as running:
                position = await asyncio.to_thread(publish, settings, diagonal_stream)
                assert (await ask(running, "u3", position)).personalization == pb.PERSONALIZATION_FALLBACK

                asked = await running.admin.StartTraining(admin_pb2.StartTrainingRequest())

                async def is_trained() -> bool:
                    status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                    assert not status.training.failure, status.training.failure
                    return bool(status.model_version)

                await eventually(is_trained, within_s=300)
                assert ModelStore(settings.model.url).manifest("000001").request_id == asked.request_id

                learned = await ask(running, "u3")
                assert learned.model_version == "000001"
                assert learned.personalization == pb.PERSONALIZATION_LEARNED
                assert learned.items[0].item == "i3"  # The one that all odd users but this one took.

                unknown = await ask(running, "u_new")
                assert unknown.personalization == pb.PERSONALIZATION_CONTEXT_ONLY
                for item, parity in (("i1", 1), ("i2", 0)):
                    user = f"u_new_{parity}"
                    position = await asyncio.to_thread(publish, settings, [make_purchase(user, item)])
                    folded_in = await ask(running, user, position)
                    assert folded_in.personalization == pb.PERSONALIZATION_FOLDED_IN
                    assert parities(folded_in) == [parity] * 4
                running.forget_weights()
                before = [await ask(running, user) for user in users]

        async with run_server(settings) as running:  # From the checkpoint that the first one wrote when it ended.
            after = [await ask(running, user) for user in users]
        for answer in (*before, *after):
            answer.ClearField("recommendation_id")  # Each answer has a name of its own.
        assert after == before

    asyncio.run(scenario())


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("encoder", ["lightgcn", "edge_sage"])
def test_whom_to_follow_is_answered_from_a_stream_of_follows(
    settings: Settings,
    run_server: RunServer,
    run_trainer: RunTrainer,
    eventually: Eventually,
    encoder: str,
    publish: Publish,
) -> None:
    """A graph of users alone: even users follow even ones and odd ones odd ones, but for the next of their kind."""
    num = 20
    model = settings.model.model_copy(update={"encoder": PartSettings(name=encoder)})
    settings = settings.model_copy(
        update={
            "graph": GraphSettings(item_type="user"),
            "interactions": {"follow": InteractionSettings()},
            "model": model,
            "training": settings.training.model_copy(update={"steps": 240}),  # Fewer leave a newcomer to chance.
            "ranking": settings.ranking.model_copy(update={"context_weights": {}}),
        }
    )

    def follow(follower: str, followed: str, seconds_ago: int) -> events_pb2.Event:
        event_time = Timestamp()
        event_time.FromMilliseconds(wall_ms() - 1_000 * seconds_ago)
        interaction = events_pb2.Interaction(user=follower, item=followed, type="follow")
        return events_pb2.Event(event_time=event_time, interaction=interaction)

    follows = [
        follow(f"u{one}", f"u{other}", 60 * (1 + (other - one) % num))
        for one in range(num)
        for other in range(one % 2, num, 2)
        if other not in (one, (one + 2) % num)
    ]

    async def ask(running: Any, user: str, **fields: Any) -> list[str]:
        request = pb.RecommendRequest(user=user, count=3, exclude_seen=["*"], wait=Duration(seconds=5), **fields)
        response = await running.recommender.Recommend(request)
        return [entry.item for entry in response.items]

    async def scenario() -> None:
        with run_trainer(settings):
            async with run_server(settings) as running:
                position = await asyncio.to_thread(publish, settings, follows)
                await ask(running, "u3", min_position=position)
                await running.admin.StartTraining(admin_pb2.StartTrainingRequest())

                async def is_trained() -> bool:
                    status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                    assert not status.training.failure, status.training.failure
                    return bool(status.model_version)

                await eventually(is_trained, within_s=300)
                assert (await ask(running, "u3"))[0] == "u5"
                assert (await ask(running, "u4"))[0] == "u6"

                position = await asyncio.to_thread(publish, settings, [follow("newcomer", "u7", 0)])
                nearest = await ask(running, "newcomer", min_position=position)
                assert [int(found[1:]) % 2 for found in nearest] == [1, 1, 1]

    asyncio.run(scenario())


@pytest.mark.timeout(400)
def test_the_same_request_as_of_july_and_of_december_is_answered_by_the_season(
    settings: Settings, run_server: RunServer, run_trainer: RunTrainer, eventually: Eventually, publish: Publish
) -> None:
    """Two years in which ice cream is bought in summer, egg nog before Christmas, and bread all the time."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    seasons = {"ice cream": (6, 7, 8), "sun lotion": (6, 7, 8), "egg nog": (12,), "candles": (11, 12)}
    events = []
    for day in range(0, 730, 2):
        moment = start + timedelta(days=day, hours=12)
        basket = ["bread", *(item for item, months in seasons.items() if moment.month in months)]
        events += [purchase_at(moment, f"u{day % 17}", item) for item in basket]
    settings = settings.model_copy(
        update={"ranking": settings.ranking.model_copy(update={"context_weights": {"popularity": {}, "calendar": {}}})}
    )

    async def scenario() -> None:
        with run_trainer(settings):
            async with run_server(settings) as running:
                position = await asyncio.to_thread(publish, settings, events)

                async def ask(
                    moment: datetime, **circumstances: Any
                ) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
                    """Return each item's score and weights."""
                    event_time = Timestamp()
                    event_time.FromDatetime(moment)
                    request = pb.RecommendRequest(
                        user="u3",
                        count=5,
                        context=pb.Context(event_time=event_time, **circumstances),
                        min_position=position,
                        wait=Duration(seconds=10),
                        view=pb.RECOMMEND_VIEW_FULL,
                    )
                    answer = await running.recommender.Recommend(request)
                    names = answer.weight_names
                    return (
                        {entry.item: entry.score for entry in answer.items},
                        {entry.item: dict(zip(names, entry.weights, strict=True)) for entry in answer.items},
                    )

                await ask(start)
                await running.admin.StartTraining(admin_pb2.StartTrainingRequest())

                async def is_trained() -> bool:
                    status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                    assert not status.training.failure, status.training.failure
                    return bool(status.model_version)

                await eventually(is_trained, within_s=300)
                (july, july_weights), (december, december_weights) = (
                    await ask(datetime(2025, 7, 12, tzinfo=UTC)),
                    await ask(datetime(2025, 12, 20, tzinfo=UTC)),
                )
                for summery, wintry in (("ice cream", "egg nog"), ("sun lotion", "candles")):
                    assert july[summery] > july[wintry]
                    assert december[wintry] > december[summery]
                    assert july_weights[summery]["calendar"] > 1.5 > july_weights[wintry]["calendar"]
                    assert december_weights[wintry]["calendar"] > 1.5 > december_weights[summery]["calendar"]

                odd = {"time_zone": "Mars/Olympus", **{f"key {number}": "x" * 100 for number in range(60)}}
                said = await ask(datetime(2025, 12, 20, tzinfo=UTC), place="nowhere", weather="frogs", attributes=odd)
                assert said == (december, december_weights), "what nobody has heard of says nothing"
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask(start, attributes={str(number): "" for number in range(10_000)})
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(scenario())


def purchase_at(moment: datetime, user: str, item: str) -> events_pb2.Event:
    event_time = Timestamp()
    event_time.FromDatetime(moment)
    interaction = events_pb2.Interaction(user=user, item=item, type="purchase")
    return events_pb2.Event(event_time=event_time, interaction=interaction)
