"""Diversity, bounds, rerankers, rotation, exploration and pages through the real server, by a gRPC client."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest

from springtide.settings.model import Settings
from springtide.steering.values import Rule, Steering
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]


def branded(item: int) -> events_pb2.Event:
    """Items have one of four brands in turn, of each parity two."""
    upsert = events_pb2.NodeUpsert(type="item", id=f"i{item}")
    upsert.categories["brand"].values.append(f"b{item % 4}")
    event = events_pb2.Event(node_upsert=upsert)
    event.event_time.GetCurrentTime()
    return event


def shown(user: str, item: str) -> events_pb2.Event:
    event = events_pb2.Event(interaction=events_pb2.Interaction(user=user, item=item, type="impression"))
    event.event_time.GetCurrentTime()
    return event


def ids(answer: pb.RecommendResponse) -> list[str]:
    return [each.item for each in answer.items]


def brands(answer: pb.RecommendResponse) -> Counter[str]:
    return Counter(f"b{int(item[1:]) % 4}" for item in ids(answer))


def test_answers_are_ordered_as_requests_and_rules_say(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
) -> None:
    settings = Settings.model_validate(settings.model_dump() | {"gate": {"is_on": False}})
    position = publish(settings, [*diagonal_stream, *map(branded, range(16))])

    async def scenario() -> None:
        async with run_server(settings) as running:
            recommend = running.recommender.Recommend
            await recommend(pb.RecommendRequest(min_position=position))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            await asyncio.to_thread(train_once, settings)

            async def has_model() -> bool:
                return bool((await recommend(pb.RecommendRequest(user="u4"))).model_version)

            await eventually(has_model)
            plain = await recommend(pb.RecommendRequest(user="u4", count=6))

            same = await recommend(pb.RecommendRequest(user="u4", count=6, diversity=0.0, page_token="first"))
            assert ids(same) == ids(plain)

            # Even items alone are near to an even user: the more diversity, the more odd ones are among the first.
            num_odd = []
            for diversity in (0.0, 0.5, 1.0):
                answer = await recommend(pb.RecommendRequest(user="u4", count=6, diversity=diversity))
                num_odd.append(sum(int(item[1:]) % 2 for item in ids(answer)))
            assert num_odd[0] == 0
            assert num_odd[0] < num_odd[2]
            assert num_odd == sorted(num_odd)

            spread = await recommend(
                pb.RecommendRequest(user="u4", count=8, diversity=1.0, diversity_attribute="brand")
            )
            assert set(brands(spread).values()) == {2}
            bounded = await recommend(pb.RecommendRequest(user="u4", count=8, max_per={"brand": 1}))
            assert brands(bounded) == {"b0": 1, "b1": 1, "b2": 1, "b3": 1}
            assert ids(bounded)[0] == ids(plain)[0]

            reranked = await recommend(pb.RecommendRequest(user="u4", count=4, reranker="mmr"))
            assert {each.placed_by for each in reranked.items} == {"reranker mmr"}

            # Pages: all items once, and the moment of the first page, although time goes on.
            pages, request = [], pb.RecommendRequest(user="u4", count=5, page_token="first")
            while request.page_token:
                pages.append(await recommend(request))
                request.page_token = pages[-1].next_page_token
            assert [len(page.items) for page in pages] == [5, 5, 5, 1]
            assert sorted(item for page in pages for item in ids(page)) == sorted(f"i{item}" for item in range(16))
            assert {page.as_of_ms for page in pages} == {pages[0].as_of_ms}

            token = pages[0].next_page_token
            for change, words in (
                ({"user": "u5"}, "the same request"),
                ({"page_token": token[:-1]}, "the next_page_token"),
                ({"page_token": "yes please"}, "the next_page_token"),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match=words) as refused:
                    await recommend(pb.RecommendRequest(**{"user": "u4", "count": 5, "page_token": token} | change))
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            for change, words in (
                ({"reranker": "mrr"}, "choices: mmr"),
                ({"diversity": 0.5, "diversity_attribute": "brnd"}, "choices: brand"),
                ({"max_per": {"brnd": 2}}, "choices: brand"),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match=words) as refused:
                    await recommend(pb.RecommendRequest(user="u4", **change))
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

            # Exploration takes a share of the slots, and says how likely that was.
            explored = await recommend(pb.RecommendRequest(user="u4", count=6, exploration=0.5))
            by_chance = [each for each in explored.items if each.placed_by == "exploration"]
            assert len(by_chance) == 3
            assert {each.propensity for each in by_chance} == {3 / (6 * 9)}, "the other seven are the best"
            assert not {each.item for each in by_chance} & set(ids(plain))

            # What was shown and ignored sinks, for those who ask for it; a pin stays.
            position_shown = publish(settings, [shown("u4", item) for item in ids(plain)])
            rotated = await recommend(
                pb.RecommendRequest(
                    user="u4", count=6, rotation_rate=1.0, min_position=position_shown, view=pb.RECOMMEND_VIEW_FULL
                )
            )
            assert not set(ids(rotated)) & set(ids(plain))
            assert ids(await recommend(pb.RecommendRequest(user="u4", count=6))) == ids(plain)
            every = await recommend(
                pb.RecommendRequest(user="u4", count=16, rotation_rate=0.5, view=pb.RECOMMEND_VIEW_FULL)
            )
            at = list(every.weight_names).index("rotation")
            sunk = {each.item: each.weights[at] for each in every.items if each.weights[at] != 1.0}
            assert set(sunk) == set(ids(plain))
            assert all(0.49 < weight < 0.6 for weight in sunk.values()), "shown some seconds ago, of a day"

            pin = Rule("promo", "pin", (ids(plain)[0],), slot=2)
            running.server._loaded.answering.ranker.steering = Steering(rules=[pin])
            pinned = await recommend(pb.RecommendRequest(user="u4", count=6, rotation_rate=1.0, diversity=0.3))
            assert (pinned.items[1].item, pinned.items[1].placed_by) == (ids(plain)[0], "rule promo")

    asyncio.run(scenario())
