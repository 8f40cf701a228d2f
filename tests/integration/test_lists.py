"""The RPCs beside Recommend and the commands that ask them, on one server that really runs, with each engine."""

import asyncio
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import MS_PER_DAY, wall_ms
from springtide.settings.model import (
    CheckpointSettings,
    KafkaSettings,
    ModelSettings,
    RankingSettings,
    ServerSettings,
    Settings,
    TrainingSettings,
)
from springtide.v1 import admin_pb2, admin_pb2_grpc, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc as pb_grpc
from springtide_services.serving.server import Server
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics
from springtide_services.training.training_run import train_once

BUDGET_S = 120.0
NUM = 16
OLD_DAYS = 60


@dataclass(frozen=True)
class Shop:
    """A server over a stream whose best answers are known, and stubs of a channel to it."""

    settings: Settings
    address: str
    admin_address: str
    recommender: Any
    admin: Any


def at(days_ago: float, number: int = 0) -> Timestamp:
    time_of = Timestamp()
    time_of.FromMilliseconds(wall_ms() - round(days_ago * MS_PER_DAY) + 1_000 * number)
    return time_of


def purchase(user: str, item: str, days_ago: float, number: int = 0) -> events_pb2.Event:
    interaction = events_pb2.Interaction(user=user, item=item, type="purchase")
    return events_pb2.Event(event_time=at(days_ago, number), interaction=interaction)


def stream() -> list[events_pb2.Event]:
    """Even users took even items and odd users odd ones, but nobody the item of their own number, long ago."""
    return [
        purchase(f"u{user}", f"i{item}", OLD_DAYS, NUM * user + (item - user) % NUM)
        for user in range(NUM)
        for item in range(NUM)
        if user % 2 == item % 2 and user != item
    ]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BUDGET_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module", params=["grpcio", "native"])
def shop(broker: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A server that has read the stream and serves a model of it; several tests share it, and change nothing."""
    if request.param == "native" and importlib.util.find_spec("pygrpc_native") is None:
        pytest.skip("needs pygrpc-native: pip install 'springtide[native]'")
    folder: Path = tmp_path_factory.mktemp(f"lists-{request.param}")
    topic = f"test.lists-{request.param}-{os.getpid()}"
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=broker, topic=topic, dead_letter_topic=f"{topic}-dead"),
        checkpoint=CheckpointSettings(url=str(folder / "checkpoints")),
        model=ModelSettings(url=str(folder / "models"), width=16),
        training=TrainingSettings(
            steps=60,
            batch_users=16,
            edges_per_user=8,
            num_negatives=32,
            learning_rate=0.05,
            niceness=0,
            first_model_pause_s=None,
        ),
        ranking=RankingSettings(item_refresh_s=0.1),
        server=ServerSettings(port=0, engine=request.param),
    )
    ensure_topics(settings)
    with EventPublisher(settings) as publisher:
        sent = [publisher.publish(event) for event in stream()]
    position = pb.GraphPosition(next_offsets={partition: offset + 1 for partition, offset in sorted(sent)})
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def done(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(BUDGET_S)

    async def make() -> Server:
        return Server(settings)

    server = done(make())
    try:
        done(server.start())
        until(lambda: server._is_ready)
        with grpc.insecure_channel(server.address) as public, grpc.insecure_channel(server.admin_address) as operators:
            place = Shop(
                settings,
                server.address,
                server.admin_address,
                pb_grpc.RecommenderServiceStub(public),
                admin_pb2_grpc.AdminServiceStub(operators),
            )
            place.recommender.Recommend(pb.RecommendRequest(min_position=position))
            place.admin.StartTraining(admin_pb2.StartTrainingRequest())
            assert train_once(settings, "retrain") == "000001"
            until(lambda: place.recommender.Recommend(pb.RecommendRequest()).model_version == "000001")
            yield place
    finally:
        done(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def ids(answer: pb.RecommendResponse) -> list[str]:
    return [item.item for item in answer.items]


def refused(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()  # type: ignore[attr-defined]  # Its stubs know no code.


def test_rank_orders_what_it_is_given_as_recommend_would(shop: Shop) -> None:
    everything = ids(shop.recommender.Recommend(pb.RecommendRequest(user="u4", count=NUM)))
    given = ["i1", "i4", "nothing", "i7", "i4", "i2"]
    answer = shop.recommender.Rank(pb.RankRequest(user="u4", items=given)).answer
    assert ids(answer) == [item for item in everything if item in given]
    assert (answer.model_version, answer.personalization) == ("000001", pb.PERSONALIZATION_LEARNED)


def test_rank_leaves_out_what_was_seen_or_is_excluded(shop: Shop) -> None:
    request = pb.RankRequest(user="u4", items=["i2", "i4", "i3"], exclude_seen=["*"], exclude_items=["i3"])
    assert ids(shop.recommender.Rank(request).answer) == ["i4"]


def test_rank_wants_one_to_a_thousand_items(shop: Shop) -> None:
    for items in ([], ["i1"] * 1_001):
        code, words = refused(lambda items=items: shop.recommender.Rank(pb.RankRequest(items=items)))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "items: wanted" in words


def test_next_items_are_of_the_baskets_kind_and_none_of_it(shop: Shop) -> None:
    answer = shop.recommender.NextItems(pb.NextItemsRequest(items=["i2", "i6"], count=5)).answer
    assert len(answer.items) == 5
    assert {int(item[1:]) % 2 for item in ids(answer)} == {0}
    assert not {"i2", "i6"} & set(ids(answer))


def test_a_batch_is_answered_in_its_order_and_a_refused_request_says_why(shop: Shop) -> None:
    requests = [pb.RecommendRequest(user=f"u{number % NUM}", count=3) for number in range(100)]
    requests[7] = pb.RecommendRequest(count=0)
    requests[8] = pb.RecommendRequest(exclude_seen=["nothing of that name"])
    requests[9] = pb.RecommendRequest(min_position=pb.GraphPosition(next_offsets={0: 1}))
    answers = list(shop.recommender.RecommendBatch(pb.RecommendBatchRequest(requests=requests)))
    assert [answer.index for answer in answers] == list(range(100))
    assert [index for index, answer in enumerate(answers) if answer.refusal] == [7, 8, 9]
    assert answers[7].refusal == "count: wanted 1 to 1,000, got 0"
    assert "nothing of that name" in answers[8].refusal
    assert answers[9].refusal.startswith("min_position: wanted none in a batch")
    for index in (0, 50, 99):
        single = shop.recommender.Recommend(requests[index])
        assert ids(answers[index].answer) == ids(single)
        assert answers[index].answer.model_version == "000001"


def test_a_batch_wants_one_to_ten_thousand_requests(shop: Shop) -> None:
    for num in (0, 10_001):
        request = pb.RecommendBatchRequest(requests=[pb.RecommendRequest()] * num)
        code, words = refused(lambda request=request: list(shop.recommender.RecommendBatch(request)))
        assert (code, words) == (grpc.StatusCode.INVALID_ARGUMENT, f"requests: wanted 1 to 10,000, got {num:,}")
