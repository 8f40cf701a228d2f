"""Through the broker, the server and its client: dislikes, what nothing is known of, and who comes again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]
WAIT = Duration(seconds=10)


async def serve_a_model(running: Any, settings: Settings, eventually: Eventually) -> None:
    await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
    before = (await running.admin.GetStatus(admin_pb2.GetStatusRequest())).model_version
    await asyncio.to_thread(train_once, settings, "retrain")

    async def has_model() -> bool:
        status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
        return bool(status.model_version) and status.model_version != before

    await eventually(has_model)


def of_type(event: events_pb2.Event, type_name: str) -> events_pb2.Event:
    event.interaction.type = type_name
    return event


@pytest.mark.parametrize("has_model", [False, True], ids=["no model", "model"])
def test_five_dislikes_of_a_bought_item_take_it_from_the_first_place(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
    *,
    has_model: bool,
) -> None:
    bought = [make_purchase("u1", "i3", seconds_ago=30 - number) for number in range(9)]
    disliked = [of_type(make_purchase("u1", "i3", seconds_ago=10 - number), "dislike") for number in range(5)]

    async def scenario() -> None:
        async with run_server(settings) as running:

            async def ask(position: pb.GraphPosition) -> pb.RecommendResponse:
                view = pb.RECOMMEND_VIEW_FULL
                request = pb.RecommendRequest(user="u1", count=16, min_position=position, wait=WAIT, view=view)
                return await running.recommender.Recommend(request)

            before = await ask(publish(settings, [*diagonal_stream, *bought]))
            assert before.items[0].item == "i3"
            if has_model:
                await serve_a_model(running, settings, eventually)
            position = publish(settings, disliked)
            after = await ask(position)
            assert after.items[0].item != "i3"
            [lowered] = [item for item in after.items if item.item == "i3"]
            assert lowered.weights[list(after.weight_names).index("dislike")] < 1e-5
            explained = await running.recommender.Explain(pb.ExplainRequest(user="u1", item="i3"))
            assert explained.sentence.endswith("you disliked it")
            if has_model:  # What is learned of them is no better.
                await serve_a_model(running, settings, eventually)
                assert (await ask(position)).items[0].item != "i3"

    asyncio.run(scenario())


def test_items_are_left_out_by_time_and_flag_and_not_for_having_been_shown(
    settings: Settings,
    run_server: RunServer,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    shown = of_type(make_purchase("u1", "i4", seconds_ago=5), "impression")
    until_ms = diagonal_stream[-1].event_time.ToMilliseconds() + 60_000
    upserts = []
    for item, numbers in (("i3", {"available_until": until_ms / 1_000}), ("i5", {"is_hidden": 1.0})):
        upserts.append(events_pb2.Event(node_upsert=events_pb2.NodeUpsert(type="item", id=item, numbers=numbers)))
        upserts[-1].event_time.CopyFrom(diagonal_stream[-1].event_time)

    async def scenario() -> None:
        async with run_server(settings) as running:
            position = publish(settings, [*diagonal_stream, shown, *upserts])

            async def items_at(timestamp_ms: int, *exclude_seen: str) -> set[str]:
                request = pb.RecommendRequest(user="u1", count=16, min_position=position, wait=WAIT)
                request.context.event_time.FromMilliseconds(timestamp_ms)
                request.exclude_seen.extend(exclude_seen)
                return {item.item for item in (await running.recommender.Recommend(request)).items}

            assert {"i3", "i4"} <= await items_at(until_ms - 1)
            assert "i3" not in await items_at(until_ms)
            assert "i5" not in await items_at(until_ms - 1)
            assert "i4" in await items_at(until_ms - 1, "*")
            assert "i4" not in await items_at(until_ms - 1, "impression")

    asyncio.run(scenario())


def test_nothing_is_like_an_item_of_which_nothing_is_known(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    upsert = events_pb2.Event(node_upsert=events_pb2.NodeUpsert(type="item", id="unknown"))
    upsert.event_time.CopyFrom(diagonal_stream[-1].event_time)

    async def scenario() -> None:
        async with run_server(settings) as running:
            position = publish(settings, [*diagonal_stream, upsert])
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position, wait=WAIT))
            await serve_a_model(running, settings, eventually)
            similar = await running.recommender.SimilarItems(pb.SimilarItemsRequest(item="unknown"))
            assert list(similar.items) == []
            similar = await running.recommender.SimilarItems(pb.SimilarItemsRequest(item="i3"))
            assert "unknown" not in {item.item for item in similar.items}
            explained = await running.recommender.Explain(pb.ExplainRequest(user="u1", item="unknown"))
            assert (explained.cosine, explained.sentence) == (0.0, "")

    asyncio.run(scenario())


def test_a_user_who_was_forgotten_and_comes_again_is_answered_like_a_stranger(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    delete = events_pb2.Event(node_delete=events_pb2.NodeDelete(type="user", id="u3"))
    delete.event_time.CopyFrom(make_purchase("u3", "i2", seconds_ago=20).event_time)
    now = make_purchase("u3", "i2").event_time

    async def scenario() -> None:
        async with run_server(settings) as running:

            async def answer(user: str, position: pb.GraphPosition) -> pb.RecommendResponse:
                context = pb.Context(event_time=now)
                request = pb.RecommendRequest(user=user, count=16, context=context, min_position=position, wait=WAIT)
                return await running.recommender.Recommend(request)

            await answer("u3", publish(settings, diagonal_stream))
            await serve_a_model(running, settings, eventually)
            assert (await answer("u3", pb.GraphPosition())).personalization == pb.PERSONALIZATION_LEARNED
            events = [delete]
            for number, item in enumerate(("i2", "i4")):
                for user in ("u3", "stranger"):
                    events.append(make_purchase(user, item))
                    events[-1].event_time.FromMilliseconds(now.ToMilliseconds() - 2_000 + number)
            position = publish(settings, events)
            returned, stranger = await answer("u3", position), await answer("stranger", position)
            assert returned.personalization == stranger.personalization == pb.PERSONALIZATION_FOLDED_IN
            assert [item.item for item in returned.items] == [item.item for item in stranger.items]
            assert [item.cosine for item in returned.items] == pytest.approx(
                [item.cosine for item in stranger.items], abs=1e-5
            )

    asyncio.run(scenario())
