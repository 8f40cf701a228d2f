"""``springtide.client`` before a real server, blocking and awaited."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from springtide.client import AsyncClient, CallError, Client, position_after
from springtide.v1 import events_pb2
from springtide.v1.recommender_pb2 import (
    ExplainRequest,
    NewItemsRequest,
    NextItemsRequest,
    RankRequest,
    RecommendRequest,
    SimilarItemsRequest,
    SimilarUsersRequest,
    TrendingRequest,
)
from springtide_services.stream.producer import EventPublisher


def _publish(gateway: Any, event: events_pb2.Event) -> tuple[int, int]:
    with EventPublisher(gateway.settings) as publisher:
        acknowledged: tuple[int, int] = publisher.publish(event)
    return acknowledged


def test_answer_knows_of_the_event_just_published(gateway: Any, make_purchase: Callable[..., events_pb2.Event]) -> None:
    request = RecommendRequest(user="dan", exclude_seen=["purchase"], allow_items=["lamp", "rope"])
    request.wait.FromSeconds(10)
    with Client(gateway.server_address, token=gateway.token) as client:
        before = client.recommend(request)
        after = client.recommend(request, after=position_after(_publish(gateway, make_purchase("dan", "lamp"))))
    assert sorted(item.item for item in before.items) == ["lamp", "rope"]
    assert [item.item for item in after.items] == ["rope"]
    assert not after.is_behind_min_position
    assert not request.HasField("min_position"), "the caller's request stays as it is"


def test_awaited_answer_knows_of_the_event_just_published(
    gateway: Any, make_purchase: Callable[..., events_pb2.Event]
) -> None:
    async def ask() -> list[str]:
        request = RecommendRequest(user="eve", exclude_seen=["purchase"], allow_items=["lamp", "rope"])
        request.wait.FromSeconds(10)
        async with AsyncClient(gateway.server_address, token=gateway.token) as client:
            acknowledged = await asyncio.to_thread(_publish, gateway, make_purchase("eve", "rope"))
            answer = await client.recommend(request, after=position_after(acknowledged))
            return [item.item for item in answer.items]

    assert asyncio.run(ask()) == ["lamp"]


def test_each_method_is_answered(gateway: Any) -> None:
    with Client(gateway.server_address, token=gateway.token) as client:
        assert client.next_items(NextItemsRequest(items=["lamp"])).answer.items
        assert client.new_items(NewItemsRequest()).answer.items
        assert client.trending(TrendingRequest()).answer.items
        assert client.rank(RankRequest(user="ann", items=["rope", "lamp"])).answer.items
        assert client.explain(ExplainRequest(user="ann", item="lamp")).rank >= 1
        for ask in (
            lambda: client.similar_items(SimilarItemsRequest(item="lamp")),
            lambda: client.similar_users(SimilarUsersRequest(user="ann")),
        ):
            with pytest.raises(CallError, match="FAILED_PRECONDITION"):  # No model serves.
                ask()


def test_each_awaited_method_is_answered(gateway: Any) -> None:
    async def ask() -> None:
        async with AsyncClient(gateway.server_address, token=gateway.token) as client:
            assert (await client.next_items(NextItemsRequest(items=["lamp"]))).answer.items
            assert (await client.new_items(NewItemsRequest())).answer.items
            assert (await client.trending(TrendingRequest())).answer.items
            assert (await client.rank(RankRequest(user="ann", items=["rope", "lamp"]))).answer.items
            assert (await client.explain(ExplainRequest(user="ann", item="lamp"))).rank >= 1
            for refused in (
                client.similar_items(SimilarItemsRequest(item="lamp")),
                client.similar_users(SimilarUsersRequest(user="ann")),
            ):
                with pytest.raises(CallError, match="FAILED_PRECONDITION"):
                    await refused

    asyncio.run(ask())


def test_batch_is_answered_in_its_order(gateway: Any) -> None:
    requests = [RecommendRequest(user=user, count=1) for user in ("ann", "bob", "cid")]
    with Client(gateway.server_address, token=gateway.token) as client:
        answers = list(client.recommend_batch(requests))
    assert [(answer.index, len(answer.answer.items)) for answer in answers] == [(0, 1), (1, 1), (2, 1)]


def test_awaited_batch_is_answered_in_its_order(gateway: Any) -> None:
    async def ask() -> list[int]:
        requests = [RecommendRequest(user=user, count=1) for user in ("ann", "bob", "cid")]
        async with AsyncClient(gateway.server_address, token=gateway.token) as client:
            return [answer.index async for answer in client.recommend_batch(requests)]

    assert asyncio.run(ask()) == [0, 1, 2]


def test_refusal_says_which_field_is_wrong(gateway: Any) -> None:
    with Client(gateway.server_address, token=gateway.token) as client, pytest.raises(CallError) as caught:
        client.recommend(RecommendRequest(user="ann", count=-1))
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_REQUEST"
    assert caught.value.violations == (("count", "wanted 1 to 1,000, got -1"),)
    assert caught.value.num_tries == 1


def test_client_without_a_token_is_refused(gateway: Any) -> None:
    with Client(gateway.server_address) as client, pytest.raises(CallError) as caught:
        client.recommend(RecommendRequest(user="ann"))
    assert caught.value.reason == "TOKEN_MISSING"


def test_client_that_asks_too_often_comes_again_when_it_may(gateway: Any) -> None:
    with Client(gateway.server_address, token=gateway.paced_token, timeout_s=60.0) as client:
        for _ in range(3):
            client.recommend(RecommendRequest(user="ann"))
        with pytest.raises(CallError) as caught:  # It may ask once in half a second.
            client.recommend(RecommendRequest(user="ann"), timeout_s=0.05)
    assert caught.value.reason == "RATE_LIMIT"
    assert caught.value.retry_after_s is not None
    assert 0.05 < caught.value.retry_after_s <= 0.5


def test_deadline_ends_a_call(gateway: Any) -> None:
    request = RecommendRequest(user="ann")
    request.wait.FromSeconds(9)
    started, late = time.monotonic(), None
    with Client(gateway.server_address, token=gateway.token) as client:
        try:  # The server answers in time what it has; on a busy machine the client's clock may be quicker.
            assert client.recommend(request, after=position_after((0, 1_000_000)), timeout_s=0.5).is_behind_min_position
        except CallError as error:
            late = error
    assert late is None or late.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 5.0, "without the deadline it would wait for 9 s"
