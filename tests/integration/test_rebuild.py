"""`springtide rebuild`: what one person published by mistake is undone, while the server answers."""

import asyncio
import dataclasses
import gc
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.errors import CheckpointLockedError, RebuildError, SettingsError
from springtide.events.skips import Skips
from springtide.settings.model import InteractionSettings, Settings
from springtide.state import LiveState
from springtide.testing import state_content
from springtide.v1 import admin_pb2, events_pb2, steering_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli import rebuild_run
from springtide_services.cli.checkpoint_tables import show_checkpoint
from springtide_services.cli.rebuild_run import RebuildRun
from springtide_services.stream import succession
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config, ensure_topics
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
MakePurchase = Callable[..., events_pb2.Event]
Eventually = Callable[..., Awaitable[float]]
ITEMS = ("tea", "milk", "bread")


def publish(settings: Settings, events: list[events_pb2.Event]) -> dict[int, list[int]]:
    """Publish events, and return their offsets by partition."""
    offsets: dict[int, list[int]] = {}
    with EventPublisher(settings) as publisher:
        for event in events:
            partition, offset = publisher.publish(event)
            offsets.setdefault(partition, []).append(offset)
    return offsets


def good_events(make_purchase: MakePurchase) -> list[events_pb2.Event]:
    return [make_purchase(f"u{user}", ITEMS[user % 3], seconds_ago=600) for user in range(12)]


def wrong_events(make_purchase: MakePurchase, num: int = 40) -> list[events_pb2.Event]:
    """Purchases of one item by everybody, as an import of the wrong file makes them."""
    events = [make_purchase(f"u{user % 12}", "junk", seconds_ago=60) for user in range(num)]
    for number, event in enumerate(events):
        event.event_id = f"import-7/{number}"
    return events


def at(offsets: dict[int, list[int]]) -> pb.GraphPosition:
    return pb.GraphPosition(next_offsets={number: max(of_one) + 1 for number, of_one in offsets.items()})


async def items_for(running: Any, user: str, position: pb.GraphPosition | None = None) -> list[str]:
    """Return the items for a user, ranked by all events: once the graph has reached a position, if one is given."""
    request = pb.RecommendRequest(user=user, count=10, min_position=position)
    request.wait.seconds = 10
    assert not (await running.recommender.Recommend(request)).is_behind_min_position
    running.forget_weights()
    answer = await running.recommender.Recommend(request)
    return [item.item for item in answer.items]


async def status_of(running: Any) -> admin_pb2.GetStatusResponse:
    return await running.admin.GetStatus(admin_pb2.GetStatusRequest())


async def rebuild(settings: Settings, address: str, skips: Skips, **options: Any) -> None:
    """Run the command's work beside the server, as another process would."""
    run = RebuildRun(settings, address)
    options = {"from_what_is_left": False, "forgets_skips": False, "confirm": lambda question: True, **options}
    await asyncio.to_thread(run.run, skips, **options)


def let_go_soon(running: Any, settings: Settings) -> None:
    """Let the server give up a former graph at once: the next rebuild waits until it is gone."""
    server = settings.server.model_copy(update={"max_deadline_s": 0.5})
    running.server._adoption._settings = settings.model_copy(update={"server": server})


@asynccontextmanager
async def asking(running: Any) -> AsyncIterator[list[float]]:
    """Ask the server all the while; yield how many seconds each request took. None may fail."""
    took_s: list[float] = []
    is_over = False

    async def ask(user: str) -> None:
        while not is_over:
            started = time.monotonic()
            answer = await running.recommender.Recommend(pb.RecommendRequest(user=user, count=10), timeout=30)
            took_s.append(time.monotonic() - started)
            assert answer.items
            await asyncio.sleep(0.005)

    askers = [asyncio.create_task(ask(f"u{user}")) for user in range(4)]
    try:
        yield took_s
    finally:
        is_over = True
        await asyncio.gather(*askers)  # A request that failed fails the test.


def test_wrong_purchases_are_undone_while_the_server_answers(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            publish(settings, good_events(make_purchase))
            position = at(publish(settings, wrong_events(make_purchase)))
            assert (await items_for(running, "stranger", position))[0] == "junk"
            async with asking(running) as took_s:
                later: dict[int, list[int]] = {}

                async def go_on_publishing() -> None:
                    for number in range(20):
                        event = make_purchase(f"n{number}", "tea")
                        for partition, of_one in (await asyncio.to_thread(publish, settings, [event])).items():
                            later.setdefault(partition, []).extend(of_one)

                publishing = asyncio.create_task(go_on_publishing())
                await rebuild(settings, running.server.admin_address, Skips(event_ids=("import-7/*",)))
                await publishing
            assert len(took_s) >= 20
            assert sorted(took_s)[len(took_s) // 2] < 3.0
            answer = await items_for(running, "stranger", at(later))
            assert "junk" not in answer
            assert answer[0] == "tea"
            status = await status_of(running)
            assert (status.rebuild.stage, status.rebuild.failure) == ("done", "")
            assert status.num_edges["user:purchase:item"] == 32
            new = at(publish(settings, [make_purchase("u1", "cake")]))
            assert "cake" in await items_for(running, "stranger", new)
            answers = [await items_for(running, f"u{user}") for user in range(12)]
        async with run_server(settings) as running:
            assert [await items_for(running, f"u{user}") for user in range(12)] == answers
            assert "junk" not in answers[0]

    asyncio.run(scenario())
    assert "left out 40: event ids that begin with import-7/" in capsys.readouterr().out
    show_checkpoint(settings, "")
    assert "event ids that begin with import-7/: 40, since" in capsys.readouterr().out
    assert not [*CheckpointStore(f"{settings.checkpoint.url}/rebuilt").names()]


def test_later_rebuild_leaves_out_what_a_former_one_did(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(settings, good_events(make_purchase))
    offsets = publish(settings, wrong_events(make_purchase, 12))
    ranges = tuple((number, min(of_one), max(of_one)) for number, of_one in offsets.items())
    unused = "127.0.0.1:9"

    async def scenario() -> None:
        await rebuild(settings, unused, Skips(offsets=ranges))  # No server runs.
        async with run_server(settings) as running:
            assert sorted(await items_for(running, "stranger")) == sorted(ITEMS)
            await rebuild(settings, running.server.admin_address, Skips(users=("u0",)))
            assert (await status_of(running)).num_edges["user:purchase:item"] == 11
        await rebuild(settings, unused, Skips())
        async with run_server(settings) as running:
            assert (await status_of(running)).num_edges["user:purchase:item"] == 11
        await rebuild(settings, unused, Skips(), forgets_skips=True)
        async with run_server(settings) as running:
            assert (await status_of(running)).num_edges["user:purchase:item"] == 24
            assert (await items_for(running, "stranger"))[0] == "junk"

    asyncio.run(scenario())
    assert "still left out since a former rebuild: events of user u0" in capsys.readouterr().err


@pytest.mark.long
def test_what_is_published_after_a_rebuild_is_not_left_out_by_it(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user whose purchases were a mistake goes on buying; later rebuilds follow each other without a pause."""

    async def num_edges(running: Any) -> int:
        return (await status_of(running)).num_edges["user:purchase:item"]

    async def scenario() -> None:
        async with run_server(settings) as running:
            let_go_soon(running, settings)
            publish(settings, [*good_events(make_purchase), *wrong_events(make_purchase, 12)])
            blocked = steering_pb2.Rule(name="ended", action="RULE_ACTION_BLOCK", items=["bread"])
            steering = steering_pb2.Steering(rules=[blocked])
            await running.admin.UpdateSteering(admin_pb2.UpdateSteeringRequest(put=steering))
            await rebuild(settings, running.server.admin_address, Skips(users=("u0",)))
            assert "bread" not in await items_for(running, "u1")  # What holds, holds on the rebuilt state too.
            assert "models learned from" in capsys.readouterr().out
            await items_for(running, "u0", at(publish(settings, [make_purchase("u0", "bread")])))
            assert await num_edges(running) == 22 + 1
            await rebuild(settings, running.server.admin_address, Skips())  # At once.
            assert await num_edges(running) == 22 + 1
            await rebuild(settings, running.server.admin_address, Skips(event_ids=("imprt-7/*",)))  # Misspelt.
            assert "nothing matches" in (out := capsys.readouterr().out)
            assert "models learned from" not in out
            await rebuild(settings, running.server.admin_address, Skips(users=("u0",)))  # Asked for again: all of it.
            assert await num_edges(running) == 22
        newest = CheckpointStore(settings.checkpoint.url).latest()
        assert newest is not None
        assert [each["skips"]["users"] for each in newest.manifest["left_out"]] == [["u0"]]

    asyncio.run(scenario())


def test_second_rebuild_at_the_same_time_is_told_of_the_first(settings: Settings) -> None:
    with (
        CheckpointLock(f"{settings.checkpoint.url}/rebuilt"),
        pytest.raises(
            CheckpointLockedError, match=r"^another rebuild is running: wait until it is done \(host .*, pid"
        ),
    ):
        asyncio.run(rebuild(settings, "127.0.0.1:9", Skips()))


def test_rebuild_brings_what_changed_settings_lack(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, eventually: Eventually
) -> None:
    events = good_events(make_purchase)
    for number in range(6):
        events.append(make_purchase(f"v{number}", "cake", seconds_ago=60))
        events[-1].interaction.type = "tasting"
    tasting = settings.model_copy(
        update={"interactions": {"purchase": InteractionSettings(), "tasting": InteractionSettings(weight=5.0)}}
    )

    async def scenario() -> None:
        async with run_server(settings) as running:
            await items_for(running, "u1", at(publish(settings, events)))
            assert (await status_of(running)).num_dead_letters["unknown_type"] == 6
        async with run_server(tasting) as running:
            status = await status_of(running)
            assert any("interactions.tasting is new" in reason for reason in status.rebuild_reasons)
            await rebuild(tasting, running.server.admin_address, Skips())
            status = await status_of(running)
            assert not status.rebuild_reasons
            assert status.num_edges["user:tasting:item"] == 6
            assert (await items_for(running, "stranger"))[0] == "cake"
            assert not status.num_dead_letters

    asyncio.run(scenario())
    kafka = settings.kafka
    consumer = KafkaConsumer(
        kafka.dead_letter_topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest",
        enable_auto_commit=False,
    )  # fmt: skip
    letters = [letter for _ in range(5) for of_one in consumer.poll(500).values() for letter in of_one]
    consumer.close(autocommit=False)
    assert len(letters) == 6  # Each once.


def test_model_that_is_served_is_served_over_the_rebuilt_state(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event], make_purchase: MakePurchase
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            position = at(publish(settings, diagonal_stream))
            await items_for(running, "u1", position)
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            version = await asyncio.to_thread(train_once, settings)
            promoted = admin_pb2.PromoteModelRequest(version=version)
            await running.admin.PromoteModel(promoted)
            before = await running.recommender.Recommend(pb.RecommendRequest(user="u2", count=3))
            publish(settings, wrong_events(make_purchase))
            await rebuild(settings, running.server.admin_address, Skips(event_ids=("import-7/*",)))
            after = await running.recommender.Recommend(pb.RecommendRequest(user="u2", count=3))
            assert after.model_version == version == before.model_version
            assert [item.item for item in after.items] == [item.item for item in before.items]
            assert (await status_of(running)).model_version == version
            rolled = await running.admin.PromoteModel(promoted)  # The registry is followed on the new one.
            assert rolled.model.version == version

    asyncio.run(scenario())


def test_rebuild_that_cannot_be_served_leaves_the_old_graph(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            position = at(publish(settings, good_events(make_purchase)))
            before = await items_for(running, "u1", position)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.admin.ServeRebuild(admin_pb2.ServeRebuildRequest(rebuilt="00000007"))
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.admin.ServeRebuild(admin_pb2.ServeRebuildRequest(rebuilt="../00000001"))
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            with pytest.raises(CheckpointLockedError, match="--address"):
                await rebuild(settings, "127.0.0.1:9", Skips())  # A server runs, but not there.

            def refuse(question: str) -> None:
                raise SettingsError("no")

            with pytest.raises(SettingsError):
                await rebuild(settings, running.server.admin_address, Skips(), confirm=refuse)
            assert sorted(await items_for(running, "u1")) == sorted(before)  # Some are within rounding.
            new = at(publish(settings, [make_purchase("u1", "cake")]))
            assert "cake" in await items_for(running, "stranger", new)

    asyncio.run(scenario())


def test_rows_of_packed_batches_are_left_out_by_time_type_and_user(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase
) -> None:
    now_ms = time.time_ns() // 1_000_000
    dictionary = ["ann", "bob", "tea", "junk", "purchase", "view"]
    batch = events_pb2.EventBatch(
        dictionary=dictionary, users=[0, 1, 0, 0], items=[2, 3, 3, 3], types=[4, 4, 4, 5], event_times_ms=[now_ms] * 4
    )

    async def edges(running: Any) -> dict[str, int]:
        return dict((await status_of(running)).num_edges)

    async def scenario() -> None:
        publish(settings, good_events(make_purchase))
        publish(settings, [events_pb2.Event(batch=batch)])
        await asyncio.sleep(0.01)  # Both publications have another millisecond than the end of the span.
        until_ms = time.time_ns() // 1_000_000
        await asyncio.sleep(0.01)  # As above.
        publish(settings, [events_pb2.Event(batch=batch)])
        skips = Skips(since_ms=now_ms - 60_000, until_ms=until_ms, users=("ann",), types=("purchase",))
        await rebuild(settings, "127.0.0.1:9", skips)
        async with run_server(settings) as running:
            assert await edges(running) == {"user:purchase:item": 12 + 4, "user:view:item": 2}
        await rebuild(settings, "127.0.0.1:9", dataclasses.replace(skips, until_ms=None))
        async with run_server(settings) as running:
            assert await edges(running) == {"user:purchase:item": 12 + 2, "user:view:item": 2}

    asyncio.run(scenario())


def test_server_that_stops_while_it_takes_a_graph_over_keeps_the_old_one(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            await items_for(running, "u1", at(publish(settings, good_events(make_purchase))))
            # What the former state has, the new one never reaches.
            has_reached = LiveState.has_reached
            monkeypatch.setattr(LiveState, "has_reached", lambda state, offsets: False)
            monkeypatch.setattr(rebuild_run, "_MAX_SILENCE_S", 1.0)  # The command ends soon after the server.
            rebuilding = asyncio.create_task(rebuild(settings, running.server.admin_address, Skips(users=("u0",))))
            while (await status_of(running)).rebuild.stage != "swap":
                await asyncio.sleep(0.05)
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="u0", count=10))
            assert len(answer.items) == 3
            rebuilding.cancel()
        monkeypatch.setattr(LiveState, "has_reached", has_reached)
        async with run_server(settings) as running:
            assert (await status_of(running)).num_edges["user:purchase:item"] == 12

    asyncio.run(scenario())


def test_graph_that_does_not_reach_the_old_one_is_given_up(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "_MAX_PASSING_S", 0.5)
    has_reached = LiveState.has_reached

    async def scenario() -> None:
        async with run_server(settings) as running:
            await items_for(running, "u1", at(publish(settings, good_events(make_purchase))))
            monkeypatch.setattr(LiveState, "has_reached", lambda state, offsets: False)
            with pytest.raises(RebuildError, match="serves the old one: it could not be read as far"):
                await rebuild(settings, running.server.admin_address, Skips(users=("u0",)))
            monkeypatch.setattr(LiveState, "has_reached", has_reached)
            new = at(publish(settings, [make_purchase("u0", "cake")]))
            assert "cake" in await items_for(running, "stranger", new)
            assert (await status_of(running)).num_edges["user:purchase:item"] == 13
            await rebuild(settings, running.server.admin_address, Skips(users=("u0",)))
            assert (await status_of(running)).num_edges["user:purchase:item"] == 11

    asyncio.run(scenario())


def test_rebuild_that_leaves_nothing_out_gives_the_graph_that_is_served(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase
) -> None:
    events = [make_purchase(f"u{number % 7}", f"i{number % 5}", seconds_ago=number) for number in range(200)]
    for number, event in enumerate(events):
        event.event_id = f"e{number % 90}"
    upsert = events_pb2.NodeUpsert(type="item", id="i1", numbers={"price": 2.0}, texts={"title": "tea"})
    for payload in (
        {"node_upsert": upsert},
        {"node_delete": events_pb2.NodeDelete(type="user", id="u3")},
        {"relation": {"source_type": "item", "source_id": "i1", "relation": "like", "target_type": "item"}},
    ):
        if "relation" in payload:
            payload["relation"]["target_id"] = "i2"
        event = events_pb2.Event(**payload)
        event.event_time.FromMilliseconds(events[100].event_time.ToMilliseconds())
        events.append(event)

    async def scenario() -> None:
        async with run_server(settings) as running:
            await items_for(running, "u1", at(publish(settings, events)))
            former = running.server._loaded.answering.state
            await rebuild(settings, running.server.admin_address, Skips())
            state = running.server._loaded.answering.state
            assert state is not former
            assert state_content(state) == state_content(former)
            assert state.next_offsets == former.next_offsets

    asyncio.run(scenario())


def test_former_graph_is_let_go(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, eventually: Eventually
) -> None:
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"max_deadline_s": 1.0})})

    async def scenario() -> None:
        async with run_server(settings) as running:
            await items_for(running, "u1", at(publish(settings, good_events(make_purchase))))
            former = weakref.ref(running.server._loaded.answering.state)
            await rebuild(settings, running.server.admin_address, Skips())

            async def is_gone() -> bool:
                gc.collect()
                return former() is None

            await eventually(is_gone)

    asyncio.run(scenario())


@pytest.mark.kafka
def test_topic_that_has_lost_its_beginning_is_refused_unless_the_rest_is_wanted(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase
) -> None:
    settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"num_partitions": 2})})
    offsets = publish(settings, good_events(make_purchase))
    lost = max(offsets, key=lambda number: len(offsets[number]))
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        admin.delete_records({TopicPartition(settings.kafka.topic, lost): 2})

    async def scenario() -> None:
        with pytest.raises(RebuildError, match=f"partition {lost} begins at offset 2.*--from-what-is-left"):
            await rebuild(settings, "127.0.0.1:9", Skips())
        assert not CheckpointStore(settings.checkpoint.url).names()
        await rebuild(settings, "127.0.0.1:9", Skips(), from_what_is_left=True)
        async with run_server(settings) as running:
            status = await status_of(running)
            assert status.num_edges["user:purchase:item"] == 10
            [gap] = status.stream_gaps
            assert (gap.partition, gap.from_offset, gap.to_offset, gap.reason) == (lost, 0, 2, "retention")

    asyncio.run(scenario())


def test_server_that_has_lost_its_events_goes_on_with_a_graph_of_what_there_is(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, eventually: Eventually
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            await items_for(running, "u1", at(publish(settings, good_events(make_purchase))))
        await rebuild(settings, "127.0.0.1:9", Skips(offsets=((0, 0, 0), (1, 0, 0)), users=("u7",)))
        with KafkaAdminClient(**client_config(settings.kafka)) as admin:
            admin.delete_topics([settings.kafka.topic])
        ensure_topics(settings)
        publish(settings, [make_purchase("ann", "cake"), make_purchase("bob", "cake")])  # Offset 0 of another topic.
        async with run_server(settings) as running:
            status = await status_of(running)
            assert (status.stream_problem.kind, status.stream_problem.is_final) == ("offsets_lost", True)
            assert "springtide rebuild" in status.stream_problem.message
            assert "cake" not in await items_for(running, "stranger")
            await rebuild(settings, running.server.admin_address, Skips())
            assert await items_for(running, "stranger") == ["cake"]
            new = at(publish(settings, [make_purchase("ann", "tea")]))
            assert sorted(await items_for(running, "stranger", new)) == ["cake", "tea"]

            async def is_reading() -> bool:
                status = await status_of(running)
                return bool(status.is_broker_connected and not status.HasField("stream_problem"))

            await eventually(is_reading)
        async with run_server(settings) as running:
            assert sorted(await items_for(running, "stranger")) == ["cake", "tea"]
        newest = CheckpointStore(settings.checkpoint.url).latest()
        assert newest is not None
        [left_out] = newest.manifest["left_out"]
        assert (left_out["skips"]["offsets"], left_out["skips"]["users"]) == ([], ["u7"])

    asyncio.run(scenario())
