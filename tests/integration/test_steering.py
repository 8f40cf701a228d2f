"""Rules and scenarios through a real server: they hold at once, at their times, are followed, kept and told."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner

from springtide.clock import wall_ms
from springtide.settings.model import (
    CheckpointSettings,
    KafkaSettings,
    ModelSettings,
    ServerSettings,
    Settings,
    SteeringSettings,
    TrainingSettings,
)
from springtide.v1 import admin_pb2 as pb
from springtide.v1 import admin_pb2_grpc, events_pb2, recommender_pb2, recommender_pb2_grpc, steering_pb2
from springtide_services.cli.app import app
from springtide_services.serving.server import Server
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics

Run = Callable[..., AbstractAsyncContextManager[Any]]

BUDGET_S = 60.0
NUM = 8  # Users and items; item i0 was bought by all, i7 by one.
BLOCK, PIN = steering_pb2.RULE_ACTION_BLOCK, steering_pb2.RULE_ACTION_PIN
BOOST, BURY = steering_pb2.RULE_ACTION_BOOST, steering_pb2.RULE_ACTION_BURY


@dataclass(frozen=True)
class Shop:
    """A server without a model, which ranks by popularity: i0 first, i7 last; and what talks to it."""

    server: Server
    recommender: recommender_pb2_grpc.RecommenderServiceStub
    admin: admin_pb2_grpc.AdminServiceStub

    def items(self, count: int = NUM, **fields: Any) -> list[str]:
        answer = self.recommender.Recommend(recommender_pb2.RecommendRequest(count=count, **fields))
        return [item.item for item in answer.items]

    def put(self, *rules: steering_pb2.Rule, **fields: Any) -> pb.UpdateSteeringResponse:
        answer: pb.UpdateSteeringResponse = self.admin.UpdateSteering(put(*rules, **fields))
        return answer

    def refused(self, request: pb.UpdateSteeringRequest) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as raised:
            self.admin.UpdateSteering(request)
        return raised.value.code(), raised.value.details()

    def run(self, *arguments: str) -> Any:
        """Run the command line against it."""
        return CliRunner().invoke(app, [*arguments, "--address", self.server.admin_address])


def rule(name: str, action: int, *items: str, **fields: Any) -> steering_pb2.Rule:
    return steering_pb2.Rule(name=name, action=action, items=items, **fields)  # type: ignore[arg-type]


def put(*rules: steering_pb2.Rule, **fields: Any) -> pb.UpdateSteeringRequest:
    return pb.UpdateSteeringRequest(put=steering_pb2.Steering(rules=rules), **fields)


def in_seconds(seconds: float) -> Timestamp:
    time_ = Timestamp()
    time_.FromMilliseconds(wall_ms() + round(1_000 * seconds))
    return time_


def stream() -> list[events_pb2.Event]:
    """User n bought the items 0 to 7 - n, an hour ago; items have a price and a brand."""
    events = []
    for item in range(NUM):
        upsert = events_pb2.NodeUpsert(type="item", id=f"i{item}")
        upsert.numbers["price"] = item
        upsert.categories["brand"].values.append("even" if item % 2 == 0 else "odd")
        events.append(events_pb2.Event(event_time=in_seconds(-7_200), node_upsert=upsert))
    for user in range(NUM):
        for item in range(NUM - user):
            interaction = events_pb2.Interaction(user=f"u{user}", item=f"i{item}", type="purchase")
            events.append(events_pb2.Event(event_time=in_seconds(-3_600 - user), interaction=interaction))
    return events


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BUDGET_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("steering")
    topic = f"test.steering-{os.getpid()}"
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=broker, topic=topic, dead_letter_topic=f"{topic}-dead"),
        checkpoint=CheckpointSettings(url=str(folder / "checkpoints")),
        model=ModelSettings(url=str(folder / "models")),
        training=TrainingSettings(first_model_pause_s=None),
        server=ServerSettings(port=0),
    )
    ensure_topics(settings)
    with EventPublisher(settings) as publisher:
        sent = [publisher.publish(event) for event in stream()]
    position = recommender_pb2.GraphPosition(next_offsets={partition: offset + 1 for partition, offset in sorted(sent)})
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
            recommender = recommender_pb2_grpc.RecommenderServiceStub(public)
            recommender.Recommend(recommender_pb2.RecommendRequest(min_position=position))
            yield Shop(server, recommender, admin_pb2_grpc.AdminServiceStub(operators))
    finally:
        done(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def shop(running: Shop) -> Shop:
    """The server of all these tests, with nothing that steers."""
    running.admin.UpdateSteering(pb.UpdateSteeringRequest(replace=True))
    return running


def test_without_rules_the_most_bought_is_first(shop: Shop) -> None:
    assert shop.items() == [f"i{number}" for number in range(NUM)]


def test_a_blocked_item_is_gone_from_the_next_answer_of_every_call(shop: Shop) -> None:
    assert "i0" in shop.items()
    shop.put(rule("ended", BLOCK, "i0"))
    assert shop.items() == [f"i{number}" for number in range(1, NUM)]
    assert "i0" not in shop.items(user="u7", recent_items=["i0"])
    assert shop.items(allow_items=["i0", "i3"]) == ["i3"]
    explained = shop.recommender.Explain(recommender_pb2.ExplainRequest(user="u7", item="i0"))
    assert explained.rank == 0
    shop.admin.UpdateSteering(pb.UpdateSteeringRequest(remove_rules=["ended"]))
    assert shop.items()[0] == "i0"


def test_a_boost_raises_and_a_burial_lowers(shop: Shop) -> None:
    shop.put(rule("up", BOOST, "i7", factor=1e6), rule("down", BURY, "i0", factor=1e-6))
    items = shop.items()
    assert (items[0], items[-1]) == ("i7", "i0")


def test_pinned_items_are_at_their_slot_and_say_why(shop: Shop) -> None:
    shop.put(rule("hero", PIN, "i7", "i6", slot=2))
    answer = shop.recommender.Recommend(recommender_pb2.RecommendRequest(count=4))
    assert [item.item for item in answer.items] == ["i0", "i7", "i6", "i1"]
    assert answer.items[1].placed_by == "rule hero"


def test_a_rule_is_about_the_items_that_pass_its_filter(shop: Shop) -> None:
    shop.put(rule("cheap", BLOCK, filter='price < 3 and "even" in brand'))
    assert shop.items() == ["i1", "i3", "i4", "i5", "i6", "i7"]


def test_a_rule_begins_and_ends_at_its_times(shop: Shop) -> None:
    start, end = in_seconds(1.0), in_seconds(2.0)
    shop.put(rule("for-a-second", BLOCK, "i0", start_time=start, end_time=end))
    assert "i0" in shop.items()
    until(lambda: "i0" not in shop.items())
    assert wall_ms() >= start.ToMilliseconds()
    until(lambda: "i0" in shop.items())
    assert wall_ms() >= end.ToMilliseconds()
    at = recommender_pb2.Context(event_time=start)
    assert "i0" not in shop.items(context=at)  # As of then.


def test_a_rule_of_a_scenario_holds_in_it_alone(shop: Shop) -> None:
    steering = steering_pb2.Steering(
        rules=[rule("home-only", BLOCK, "i0", scenarios=["home"])],
        scenarios=[steering_pb2.Scenario(name="home", count=3)],
    )
    shop.admin.UpdateSteering(pb.UpdateSteeringRequest(put=steering))
    assert "i0" in shop.items()
    answer = shop.recommender.Recommend(recommender_pb2.RecommendRequest(scenario="home"))
    assert [item.item for item in answer.items] == ["i1", "i2", "i3"]


def test_a_change_of_several_is_made_whole_or_not_at_all(shop: Shop) -> None:
    code, words = shop.refused(put(rule("fine", BLOCK, "i0"), rule("raise", BOOST, "i1", factor=0.5)))
    assert (code, words) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "rules.raise.factor: wanted more than 1, and at most 1,000,000, got 0.5",
    )
    assert "i0" in shop.items()


def test_an_expression_with_an_unknown_attribute_is_refused_with_the_nearest(shop: Shop) -> None:
    code, words = shop.refused(put(rule("cheap", BLOCK, filter="pric < 3")))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith("rules.cheap.filter: ")
    assert "did you mean price?" in words


def test_a_scenario_that_could_not_be_answered_is_refused(shop: Shop) -> None:
    for fields in ({"reranker": "none-such"}, {"max_per": {"none-such": 2}}, {"include_attributes": ["none-such"]}):
        scenario = steering_pb2.Scenario(name="home", **fields)  # type: ignore[arg-type]
        code, words = shop.refused(pb.UpdateSteeringRequest(put=steering_pb2.Steering(scenarios=[scenario])))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert words.startswith("scenarios.home.")
        assert "none-such" in words
    assert "i0" in shop.items()


def test_an_item_that_is_not_there_is_warned_of_and_blocked_when_it_comes(shop: Shop) -> None:
    answer = shop.put(rule("later", BLOCK, "i0", "i77"))
    assert list(answer.warnings) == ["Rule later names 1 item that the graph does not have: i77."]


def test_a_change_on_top_of_an_old_version_is_refused(shop: Shop) -> None:
    version = shop.put(rule("one", BLOCK, "i0")).version
    shop.put(rule("two", BLOCK, "i1"))
    code, words = shop.refused(put(rule("three", BLOCK, "i2"), version=version))
    assert code == grpc.StatusCode.ABORTED
    assert f"version {version} was to be changed" in words


def test_a_dry_run_says_what_would_change_and_changes_nothing(shop: Shop) -> None:
    before = shop.admin.GetSteering(pb.GetSteeringRequest())
    answer = shop.put(rule("ended", BLOCK, "i0"), dry_run=True)
    assert list(answer.changes) == ["Rule ended is new: blocks 1 item (i0)."]
    assert {sample.user for sample in answer.samples} == {f"u{number}" for number in range(NUM)}
    for sample in answer.samples:
        assert [item for item in sample.before if item != "i0"] == list(sample.after)
        assert "i0" in sample.before
    asked = recommender_pb2.RecommendRequest(user="u1", count=2)
    (sample,) = shop.put(rule("ended", BLOCK, "i0"), dry_run=True, samples=[asked]).samples
    assert (list(sample.before), list(sample.after)) == (["i0", "i1"], ["i1", "i2"])
    assert shop.admin.GetSteering(pb.GetSteeringRequest()) == before
    assert "i0" in shop.items()


def test_each_change_is_listed_with_who_why_and_what_page_by_page(shop: Shop) -> None:
    shop.put(rule("ended", BLOCK, "i0"), reason="the promotion ended")
    shop.admin.UpdateSteering(pb.UpdateSteeringRequest(remove_rules=["ended"]))
    page = shop.admin.ListSteeringChanges(pb.ListSteeringChangesRequest(page_size=1))
    assert list(page.changes[0].changes) == ["Rule ended is removed."]
    request = pb.ListSteeringChangesRequest(page_size=1, page_token=page.next_page_token)
    (change,) = shop.admin.ListSteeringChanges(request).changes
    assert (change.reason, list(change.changes)) == (
        "the promotion ended",
        ["Rule ended is new: blocks 1 item (i0)."],
    )
    assert change.actor.startswith("ipv4:127.0.0.1:")
    assert abs(change.change_time.ToMilliseconds() - wall_ms()) < 60_000


def test_the_status_tells_version_and_numbers(shop: Shop) -> None:
    version = shop.put(rule("one", BLOCK, "i0"), rule("two", BLOCK, "i1")).version
    status = shop.admin.GetStatus(pb.GetStatusRequest()).steering
    assert (status.version, status.num_rules, status.num_scenarios, status.fault) == (version, 2, 0, "")


def test_the_command_line_blocks_lists_and_removes(shop: Shop) -> None:
    done = shop.run("rules", "block", "promo-ended", "--item", "i0", "--until", "2099-12-24", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "Rule promo-ended is new: blocks 1 item (i0) until 2099-12-24." in done.output
    assert "8 of 8 answers would change" in done.output
    assert "i0" in shop.items()
    done = shop.run("rules", "block", "promo-ended", "--item", "i0", "--until", "2099-12-24", "--reason", "over")
    assert done.exit_code == 0, done.output
    assert "i0" not in shop.items()
    assert "promo-ended  holds  blocks 1 item (i0) until 2099-12-24" in shop.run("rules", "list").output
    assert json.loads(shop.run("rules", "list", "--json").output)["steering"]["rules"][0]["name"] == "promo-ended"
    history = shop.run("steering", "history", "--limit", "1").output
    assert ": over\n" in history
    assert "@" in history  # user@host
    assert shop.run("rules", "remove", "promo-ended").exit_code == 0
    assert "i0" in shop.items()


def test_the_command_line_pins_boosts_and_buries(shop: Shop) -> None:
    for arguments in (
        ("pin", "hero", "--item", "i5"),
        ("boost", "up", "--filter", '"odd" in brand', "--factor", "1000000"),
        ("bury", "down", "--item", "i1", "--factor", "0.000001"),
    ):
        done = shop.run("rules", *arguments)
        assert done.exit_code == 0, done.output
    assert shop.items(count=3) == ["i5", "i3", "i7"]


def test_the_command_line_sets_a_scenario_field_by_field(shop: Shop) -> None:
    assert shop.run("scenarios", "set", "home", "--count", "3").exit_code == 0
    assert shop.run("scenarios", "set", "home", "--filter", "price > 2", "--max-per", "brand=2").exit_code == 0
    scenario = shop.admin.GetSteering(pb.GetSteeringRequest()).steering.scenarios[0]
    assert (scenario.count, scenario.filter, dict(scenario.max_per)) == (3, "price > 2", {"brand": 2})
    answer = shop.recommender.Recommend(recommender_pb2.RecommendRequest(scenario="home"))
    assert [item.item for item in answer.items] == ["i3", "i4", "i5"]
    assert 'filter = "price > 2"' in shop.run("scenarios", "show", "home").output
    assert "count 3" in shop.run("scenarios", "list").output
    assert shop.run("scenarios", "remove", "home").exit_code == 0


def test_what_is_shown_as_a_file_is_applied_again(shop: Shop, tmp_path: Path) -> None:
    shop.put(rule("ended", BLOCK, "i0"), rule("hero", PIN, "i5", slot=1))
    shown = shop.run("steering", "show").output
    file = tmp_path / "steering.toml"
    file.write_text(shown)
    assert "nothing has changed" in shop.run("steering", "apply", str(file), "--replace").output
    file.write_text(shown.replace('"i0"', '"i1"'))
    assert (
        "2 rules, 0 scenarios, 0 experiments; the server would take them"
        in shop.run("steering", "check", str(file)).output
    )
    shop.run("steering", "apply", str(file), "--replace")
    assert shop.items(count=3) == ["i5", "i0", "i2"]
    file.write_text(shown.replace("block", "blok"))
    with pytest.raises(
        Exception, match=r"steering\.toml:\d+: rules\.ended\.action: no action 'blok'; did you mean 'block'"
    ):
        raise shop.run("steering", "check", str(file)).exception


def test_two_servers_on_one_store_follow_each_other_and_lose_no_change(
    settings: Settings, run_server: Run, eventually: Callable[..., Awaitable[float]]
) -> None:
    async def run() -> None:
        async with run_server(settings) as first, run_server(settings) as second:
            calls = [
                each.admin.UpdateSteering(put(rule(f"{name}-{number}", BLOCK, "i1")))
                for number in range(5)
                for name, each in (("one", first), ("two", second))
            ]
            await asyncio.gather(*calls)

            async def both_have_all() -> bool:
                answers = [await each.admin.GetSteering(pb.GetSteeringRequest()) for each in (first, second)]
                return all(len(each.steering.rules) == 10 for each in answers)

            await eventually(both_have_all)

    asyncio.run(run())


def test_what_was_put_survives_a_kill_and_a_damaged_version_is_passed_over_loudly(
    settings: Settings,
    run_server: Run,
    run_server_process: Callable[[Settings], AbstractContextManager[tuple["subprocess.Popen[str]", str]]],
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin_port = free.getsockname()[1]
    listening = settings.model_copy(update={"server": settings.server.model_copy(update={"admin_port": admin_port})})
    told: list[str] = []
    with (
        run_server_process(listening) as (process, _),
        grpc.insecure_channel(f"127.0.0.1:{admin_port}") as channel,
    ):
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        killer = threading.Timer(0.5, process.send_signal, (signal.SIGKILL,))
        killer.start()
        with contextlib.suppress(grpc.RpcError):
            while True:  # Until it is killed in the middle of one.
                admin.UpdateSteering(put(rule(f"r{len(told):04d}", BLOCK, "i1")), timeout=BUDGET_S)
                told.append(f"r{len(told):04d}")
        killer.join()
        process.wait()
    assert told

    async def run() -> None:
        async with run_server(settings) as running:
            whole = await running.admin.GetSteering(pb.GetSteeringRequest())
            names = [each.name for each in whole.steering.rules]
            assert names[: len(told)] == told  # The one that was under way may be there, too.
            assert len(names) - len(told) in (0, 1)
        newest = Path(settings.model.url).parent / "steering" / "versions" / f"{whole.version:012d}.json"
        newest.write_bytes(newest.read_bytes()[:100])
        async with run_server(settings) as running:
            steering = await running.admin.GetSteering(pb.GetSteeringRequest())
            assert (steering.version, len(steering.steering.rules)) == (whole.version - 1, len(names) - 1)
            status = (await running.admin.GetStatus(pb.GetStatusRequest())).steering
            assert status.version == whole.version - 1
            assert newest.name in status.fault

    asyncio.run(run())


def test_a_file_is_followed_and_changes_by_calls_are_refused(
    settings: Settings, run_server: Run, eventually: Callable[..., Awaitable[float]], tmp_path: Path
) -> None:
    file = tmp_path / "steering.toml"
    file.write_text('[rules.ended]\naction = "block"\nitems = ["i0"]\n')
    from_file = settings.model_copy(update={"steering": SteeringSettings(file=str(file))})

    async def run() -> None:
        async with run_server(from_file) as running:

            async def holds(*names: str) -> bool:
                answer = await running.admin.GetSteering(pb.GetSteeringRequest())
                return [each.name for each in answer.steering.rules] == list(names)

            async def is_refused() -> bool:
                status = (await running.admin.GetStatus(pb.GetStatusRequest())).steering
                return "no such key" in status.fault

            assert await holds("ended")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.admin.UpdateSteering(put(rule("other", BLOCK, "i1")))
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert "steering.file" in refused.value.details()
            assert (await running.admin.UpdateSteering(put(rule("other", BLOCK, "i1"), dry_run=True))).changes
            file.write_text('[rules.other]\naction = "block"\nitems = ["i1"]\n')
            await eventually(lambda: holds("other"))
            file.write_text('[rules.third]\naction = "block"\nitmes = ["i1"]\n')
            await eventually(is_refused)
            assert await holds("other")
            file.write_text('[rules.third]\naction = "block"\nitems = ["i1"]\n')
            await eventually(lambda: holds("third"))
            status = (await running.admin.GetStatus(pb.GetStatusRequest())).steering
            assert (status.version, status.fault, status.is_from_file) == (3, "", True)
            (change, *_) = (await running.admin.ListSteeringChanges(pb.ListSteeringChangesRequest())).changes
            assert change.actor.endswith("steering.toml")

    asyncio.run(run())


def test_up_refuses_a_wrong_file_before_it_starts_anything(tmp_path: Path) -> None:
    file = tmp_path / "steering.toml"
    file.write_text("[rules.ended]\naction = 1")
    done = CliRunner().invoke(app, ["up", "--steering", str(file)])
    assert "steering.toml:2: rules.ended.action: no action 1" in str(done.exception)
