"""The RPCs beside Recommend and the commands that ask them, on one server that really runs, with each engine."""

import asyncio
import importlib.util
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner

from springtide.clock import MS_PER_DAY, wall_ms
from springtide.settings.model import (
    CheckpointSettings,
    KafkaSettings,
    ModelSettings,
    RankingSettings,
    ServerSettings,
    Settings,
    SteeringSettings,
    TrainingSettings,
)
from springtide.v1 import admin_pb2, admin_pb2_grpc, events_pb2, steering_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc as pb_grpc
from springtide_services.cli.app import app
from springtide_services.serving.server import Server
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics
from springtide_services.training.training_run import train_once

BUDGET_S = 120.0
NUM = 16
OLD_DAYS = 60
COLOURED = 'colour == "blue"'


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


def latest() -> list[events_pb2.Event]:
    """Two new items, of which one came by an upsert and is wanted by all now, and attributes."""
    return [
        *(upsert("item", f"i{item}", OLD_DAYS, colour="red" if item % 3 else "blue") for item in range(NUM)),
        *(upsert("user", f"u{user}", OLD_DAYS, region="north" if user < 8 else "south") for user in range(NUM)),
        upsert("item", "hot", 5, colour="red"),
        *(purchase(f"u{user}", "hot", 0.5, user) for user in range(1, NUM, 2)),
        purchase("u0", "fresh", 2),
    ]


def upsert(node_type: str, node_id: str, days_ago: float, **attributes: str) -> events_pb2.Event:
    values = {name: events_pb2.StringList(values=[value]) for name, value in attributes.items()}
    node = events_pb2.NodeUpsert(type=node_type, id=node_id, categories=values)
    return events_pb2.Event(event_time=at(days_ago), node_upsert=node)


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
        ranking=RankingSettings(context_weights={"popularity": {}, "trend": {}, "repeat": {}}, item_refresh_s=0.1),
        server=ServerSettings(port=0, engine=request.param),
        steering=SteeringSettings(url=str(folder / "steering")),
    )
    ensure_topics(settings)
    with EventPublisher(settings) as publisher:
        sent = [publisher.publish(event) for event in [*stream(), *latest()]]
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
    everything = ids(shop.recommender.Recommend(pb.RecommendRequest(user="u4", count=NUM + 2)))
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
    request = pb.NextItemsRequest(items=["i2", "i6"], count=5, exclude_items=["hot", "fresh"])
    answer = shop.recommender.NextItems(request).answer
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


def test_new_items_are_the_newest_first_for_all_and_none_is_older(shop: Shop) -> None:
    answer = shop.recommender.NewItems(pb.NewItemsRequest()).answer
    assert ids(answer) == ["fresh", "hot"]
    assert [round(item.score, 1) for item in answer.items] == [-2.0, -5.0]
    of_three_days = pb.NewItemsRequest(max_age=Duration(seconds=3 * 86_400))
    assert ids(shop.recommender.NewItems(of_three_days).answer) == ["fresh"]
    long_ago = pb.NewItemsRequest(context=pb.Context(event_time=at(OLD_DAYS - 1)), count=1_000)
    assert set(ids(shop.recommender.NewItems(long_ago).answer)) == {f"i{item}" for item in range(NUM)}


def test_new_items_for_a_user_are_in_the_order_of_their_scores(shop: Shop) -> None:
    everything = ids(shop.recommender.Recommend(pb.RecommendRequest(user="u3", count=NUM + 2)))
    answer = shop.recommender.NewItems(pb.NewItemsRequest(user="u3")).answer
    assert ids(answer) == [item for item in everything if item in ("fresh", "hot")]
    assert answer.personalization == pb.PERSONALIZATION_LEARNED
    request = pb.NewItemsRequest(user="u3", exclude_seen=["*"])
    assert ids(shop.recommender.NewItems(request).answer) == ["fresh"], "u3 has the other one"


def test_what_all_want_of_late_is_trending_first(shop: Shop) -> None:
    answer = shop.recommender.Trending(pb.TrendingRequest(count=5)).answer
    assert ids(answer)[0] == "hot"
    assert len(answer.items) == 5
    assert ids(shop.recommender.Trending(pb.TrendingRequest(exclude_items=["hot"])).answer)[0] != "hot"


def test_trending_for_a_user_is_of_their_kind(shop: Shop) -> None:
    request = pb.TrendingRequest(user="u4", count=6, exclude_items=["hot", "fresh"])
    assert {int(item[1:]) % 2 for item in ids(shop.recommender.Trending(request).answer)} == {0}


def test_similar_users_took_the_same_and_are_not_the_user(shop: Shop) -> None:
    response = shop.recommender.SimilarUsers(pb.SimilarUsersRequest(user="u4", count=7))
    assert {int(each.user[1:]) % 2 for each in response.users} == {0}
    assert "u4" not in [each.user for each in response.users]
    cosines = [each.cosine for each in response.users]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[-1] > 0.5
    assert response.model_version == "000001"


def test_similar_users_pass_a_filter_over_their_attributes(shop: Shop) -> None:
    request = pb.SimilarUsersRequest(user="u4", filter='region == "south"')
    assert {each.user for each in shop.recommender.SimilarUsers(request).users} == {f"u{user}" for user in range(8, 16)}
    request = pb.SimilarUsersRequest(user="u4", filter='regoin == "south"')
    code, words = refused(lambda: shop.recommender.SimilarUsers(request))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "region" in words


def test_an_unknown_user_has_no_similar_ones(shop: Shop) -> None:
    code, words = refused(lambda: shop.recommender.SimilarUsers(pb.SimilarUsersRequest(user="nobody")))
    assert (code, words) == (grpc.StatusCode.INVALID_ARGUMENT, "user: no user with the id 'nobody'")


def run(shop: Shop, *words: str, text: str = "") -> tuple[int, str, str]:
    """Run a command beside the server; return its exit code, and what it wrote to output and errors."""
    done = CliRunner().invoke(app, [*words, "--address", shop.address], input=text)
    failure = "" if done.exception is None else str(done.exception)
    return done.exit_code, done.stdout, done.stderr + failure


def columns(output: str) -> list[str]:
    """Return the second column of a table without its heading."""
    return [words[1] for line in output.splitlines() if len(words := line.split()) > 2 and words[0].isdecimal()]


def test_each_list_has_a_command(shop: Shop) -> None:
    for words, expected in (
        (("rank", "i1", "i4", "i7", "--user", "u4"), pb.RankRequest(user="u4", items=["i1", "i4", "i7"])),
        (("next", "i2", "i6", "--count", "5"), pb.NextItemsRequest(items=["i2", "i6"], count=5)),
        (("trending", "--exclude", "fresh"), pb.TrendingRequest(exclude_items=["fresh"], count=10)),
        (("new-items", "--max-age", "3d"), pb.NewItemsRequest(max_age=Duration(seconds=3 * 86_400))),
        (("new-items", "--user", "u3", "--exclude-seen", "*"), pb.NewItemsRequest(user="u3", exclude_seen=["*"])),
    ):
        code, output, errors = run(shop, *words)
        assert code == 0, errors
        method = getattr(shop.recommender, type(expected).DESCRIPTOR.name.removesuffix("Request"))
        assert columns(output) == ids(method(expected).answer)
        assert "as of " in output


def test_similar_items_and_users_have_commands(shop: Shop) -> None:
    code, output, errors = run(shop, "similar", "i4", "--count", "3", "--attributes", "colour", "--filter", COLOURED)
    assert code == 0, errors
    request = pb.SimilarItemsRequest(item="i4", count=3, filter=COLOURED)
    assert columns(output) == [item.item for item in shop.recommender.SimilarItems(request).items]
    assert "model 000001" in output
    code, output, errors = run(shop, "similar-users", "u4", "--json")
    assert code == 0, errors
    assert len(json.loads(output)["users"]) == 10


def test_a_wrong_expression_is_shown_with_a_line_that_points_at_it(shop: Shop) -> None:
    code, _, errors = run(shop, "recommend", "u1", "--filter", 'color == "red"')
    assert code == 1
    first, *rest = errors.splitlines()
    assert first.endswith("refused (INVALID_ARGUMENT):")
    assert "colour" in rest[0]
    assert rest[1].strip() == 'color == "red"'
    assert rest[2].strip("^ ") == ""
    assert rest[2].index("^") == rest[1].index("color")


def test_recommend_takes_what_steers_it(shop: Shop) -> None:
    words = ("--filter", COLOURED, "--booster", '3 if colour == "red" else 1', "--min-relevance", "-0.9")
    code, output, errors = run(shop, "recommend", "u4", "--count", "5", *words)
    assert code == 0, errors
    request = pb.RecommendRequest(
        user="u4", count=5, filter=COLOURED, booster='3 if colour == "red" else 1', min_relevance=-0.9
    )
    assert columns(output) == ids(shop.recommender.Recommend(request))
    assert len(columns(output)) == 5


def test_recommend_answers_for_each_user_of_a_file(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("".join(f"u{user % NUM}\n" for user in range(1_200)) + "\n")
    code, output, errors = run(shop, "recommend", "--batch", str(file), "--count", "2")
    assert code == 0, errors
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["user"] for line in lines] == [f"u{user % NUM}" for user in range(1_200)]
    assert [item["item"] for item in lines[-1]["items"]] == [item["item"] for item in lines[1_199 - NUM]["items"]]
    assert "1,200 answers, 0 refused" in errors
    code, output, errors = run(shop, "recommend", "--batch", "-", "--exclude-seen", "nothing", text="u1\nu2\n")
    assert code == 1
    assert [json.loads(line)["user"] for line in output.splitlines()] == ["u1", "u2"]
    assert "no interaction named 'nothing'" in json.loads(output.splitlines()[0])["refusal"]


def test_recommend_wants_a_user_or_a_file(shop: Shop) -> None:
    assert run(shop, "recommend")[0] == 2
    assert run(shop, "recommend", "u1", "--batch", "-")[0] == 2


def test_what_is_blocked_or_hidden_comes_by_no_list(shop: Shop) -> None:
    """The last test of the server: it hides an item for good."""
    blocked, hidden = "i6", "i2"
    rule = steering_pb2.Rule(name="no-six", action=steering_pb2.RULE_ACTION_BLOCK, items=[blocked])
    shop.admin.UpdateSteering(admin_pb2.UpdateSteeringRequest(put=steering_pb2.Steering(rules=[rule])))
    node = events_pb2.NodeUpsert(type="item", id=hidden, numbers={"is_hidden": 1.0})
    with EventPublisher(shop.settings) as publisher:
        partition, offset = publisher.publish(events_pb2.Event(event_time=at(0), node_upsert=node))
    position = pb.GraphPosition(next_offsets={partition: offset + 1})
    wanted = pb.RecommendRequest(user="u4", count=1_000, min_position=position, wait=Duration(seconds=10))
    ask = shop.recommender
    found = {
        "Recommend": ids(ask.Recommend(wanted)),
        "Rank": ids(ask.Rank(pb.RankRequest(user="u4", items=[blocked, hidden, "i4"])).answer),
        "NextItems": ids(ask.NextItems(pb.NextItemsRequest(items=["i8"], count=1_000)).answer),
        "Trending": ids(ask.Trending(pb.TrendingRequest(count=1_000)).answer),
        "Trending for a user": ids(ask.Trending(pb.TrendingRequest(user="u4", count=1_000)).answer),
        "NewItems": ids(ask.NewItems(pb.NewItemsRequest(max_age=Duration(seconds=OLD_DAYS * 90_000))).answer),
        "NewItems for a user": ids(
            ask.NewItems(pb.NewItemsRequest(user="u4", max_age=Duration(seconds=OLD_DAYS * 90_000))).answer
        ),
        "SimilarItems": [each.item for each in ask.SimilarItems(pb.SimilarItemsRequest(item="i8", count=1_000)).items],
    }
    wanted.ClearField("min_position")
    [answer] = ask.RecommendBatch(pb.RecommendBatchRequest(requests=[wanted]))
    found["RecommendBatch"] = ids(answer.answer)
    for name, items in found.items():
        assert "i4" in items, name
        assert not {blocked, hidden} & set(items), name


def test_a_forgotten_user_is_similar_to_nobody(shop: Shop) -> None:
    request = pb.SimilarUsersRequest(user="u4", count=1_000)
    shop.recommender.Recommend(pb.RecommendRequest(user="u6"))  # Then the cache has them, too.
    assert "u6" in [each.user for each in shop.recommender.SimilarUsers(request).users]
    deleted = events_pb2.NodeDelete(type="user", id="u6")
    with EventPublisher(shop.settings) as publisher:
        partition, offset = publisher.publish(events_pb2.Event(event_time=at(0), node_delete=deleted))
    position = pb.GraphPosition(next_offsets={partition: offset + 1})
    shop.recommender.Recommend(pb.RecommendRequest(min_position=position, wait=Duration(seconds=10)))
    assert "u6" not in [each.user for each in shop.recommender.SimilarUsers(request).users]
