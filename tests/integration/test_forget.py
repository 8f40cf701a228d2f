"""`springtide forget USER --verify`: a user leaves answers, checkpoints, journal and models, and the proof holds."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from kafka import KafkaAdminClient, TopicPartition

from springtide.model.registry import ModelStore
from springtide.settings.model import Settings
from springtide.token_search import Token
from springtide.v1 import admin_pb2, events_pb2, steering_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.forget_tables import ForgetRun
from springtide_services.forgetting.kafka_log import search_log
from springtide_services.forgetting.search import places_of, search_all
from springtide_services.serving.client import Credentials
from springtide_services.stream.dead_letters import DeadLetterWriter
from springtide_services.stream.kafka_facts import read_facts
from springtide_services.stream.topics import client_config
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]

AMPLE = Duration(seconds=10)
USER, PLACE, CLUB, MOTTO = "eve-4711", "Oberammergau-4711", "chess-4711", "per aspera 4711"
TRACES = (USER, PLACE, CLUB, MOTTO)


@pytest.fixture
def keeping(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a journal, checkpoints each half second, and all kinds of circumstances."""
    return settings.model_copy(
        update={
            "checkpoint": settings.checkpoint.model_copy(
                update={"every_s": 0.5, "journal": str(tmp_path / "journal"), "keep": 9}
            ),
            "kafka": settings.kafka.model_copy(update={"dead_letter_file": str(tmp_path / "dead-letters.jsonl")}),
            "model": settings.model.model_copy(update={"forget_every_s": 0.0}),
            "gate": settings.gate.model_copy(update={"is_on": False}),
            "training": settings.training.model_copy(update={"steps": 4, "fine_tune_steps": 2}),
            "ranking": settings.ranking.model_copy(
                update={"context_weights": {"popularity": {}, "repeat": {}, "place": {}}}
            ),
        }
    )


def events_of_user(make_purchase: Callable[..., events_pb2.Event]) -> list[events_pb2.Event]:
    """Return all kinds of events with traces of the user, and one that is refused."""
    bought = [make_purchase(USER, f"i{item}", 50 + item) for item in (0, 2, 4)]
    for event in bought:
        event.interaction.context["place"] = PLACE
    refused = make_purchase(USER, "i0", 40)
    refused.interaction.type = "no such type"
    about = events_pb2.Event(event_time=bought[0].event_time)
    about.node_upsert.type, about.node_upsert.id = "user", USER
    about.node_upsert.categories["club"].values.append(CLUB)
    about.node_upsert.texts["motto"] = MOTTO
    visit = events_pb2.Event(event_time=bought[0].event_time)
    visit.relation.source_type, visit.relation.source_id, visit.relation.relation = "user", USER, "visits"
    visit.relation.target_type, visit.relation.target_id = "store", "a store"
    return [*bought, about, visit, refused]


def found(settings: Settings, trace: str) -> dict[str, int]:
    """Return in how many files of each place something is found."""
    return {each.place.name: each.num_found for each in search_all(places_of(settings), Token(trace)) if each.num_found}


def test_user_leaves_everything_that_is_kept_and_older_models_too(
    keeping: Settings,
    run_server: RunServer,
    publish: Publish,
    make_purchase: Callable[..., events_pb2.Event],
    diagonal_stream: list[events_pb2.Event],
    eventually: Callable[..., Awaitable[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scenario() -> None:
        async with run_server(keeping) as running:
            server = running.server
            checkpoint_now = server._loaded.ingest.checkpoint_now
            position = publish(keeping, diagonal_stream)
            request = pb.RecommendRequest(min_position=position, wait=AMPLE)
            assert not (await running.recommender.Recommend(request)).is_behind_min_position
            await asyncio.to_thread(checkpoint_now)  # So that the journal keeps what comes after it.
            publish(keeping, events_of_user(make_purchase))
            await eventually(lambda: asyncio.sleep(0, server._loaded.ingest.status().dead_letters != {}))
            for mode in ("retrain", "fine_tune"):
                await asyncio.to_thread(checkpoint_now)
                await asyncio.to_thread(train_once, keeping, mode)
            await eventually(lambda: asyncio.sleep(0, server._loaded.follower.served_version == "000002"))
            for trace in TRACES:
                assert {"checkpoints", "journal"} <= found(keeping, trace).keys()
            assert found(keeping, USER)["model registry"] >= 2
            assert found(keeping, CLUB)["model registry"] >= 2
            ruled = steering_pb2.Rule(
                name="asked", action="RULE_ACTION_BLOCK", items=["nothing", USER], note=f"{USER} asked"
            )
            steering = steering_pb2.Steering(rules=[ruled])
            await running.admin.UpdateSteering(admin_pb2.UpdateSteeringRequest(put=steering))
            assert found(keeping, USER)["rules and scenarios"] == 2
            before = [item.item for item in (await running.recommender.Recommend(pb.RecommendRequest(user="u3"))).items]
            revision = ModelStore(keeping.model.url).revision("000002")

            started = time.monotonic()
            run = ForgetRun(keeping, "user", USER, (server.address, server.admin_address), Credentials())
            is_gone = await asyncio.to_thread(run.run, publishes=True, verifies=True, timeout_s=60.0, reads_topics=True)
            said = capsys.readouterr().out
            assert is_gone, said
            assert time.monotonic() - started < 60.0
            for trace in TRACES:
                assert found(keeping, trace) == {}, trace
            assert "still has" in said  # The topics, which only the broker can clean.
            assert "retention.ms" in said
            assert USER not in [*ModelStore(keeping.model.url).load("000001").node_ids["user"]]

            await eventually(lambda: asyncio.sleep(0, server._loaded.follower._revision != revision))
            assert server._loaded.follower.served_version == "000002"
            after = [item.item for item in (await running.recommender.Recommend(pb.RecommendRequest(user="u3"))).items]
            assert after[:7] == before[:7]  # The odd ones; the others' popularity was the user's, too.
            entries = ModelStore(keeping.model.url).audit.entries()
            assert [entry.to_version for entry in entries if entry.action == "forget"] == ["000002", "000001"]

            again = ForgetRun(keeping, "user", USER, (server.address, server.admin_address), Credentials())
            assert await asyncio.to_thread(again.run, publishes=True, verifies=True, timeout_s=60.0, reads_topics=False)
            await asyncio.to_thread(checkpoint_now)
            version = await asyncio.to_thread(train_once, keeping, "fine_tune")
            assert found(keeping, USER) == {}, version
            assert found(keeping, CLUB) == {}

    asyncio.run(scenario())


def test_verification_says_what_it_finds_and_that_it_is_not_gone(
    keeping: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "audit"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps({"reason": f"a wish of {USER}0"}))
    run = ForgetRun(keeping, "user", USER, None, Credentials())
    assert run.run(publishes=False, verifies=True, timeout_s=0.0, reads_topics=False)
    (folder / "2.json").write_text(json.dumps({"reason": f"a wish of {USER}."}))
    assert not run.run(publishes=False, verifies=True, timeout_s=0.0, reads_topics=False)
    assert "2.json" in capsys.readouterr().out


def test_the_log_shows_no_id_of_a_refused_event(
    keeping: Settings,
    run_server: RunServer,
    publish: Publish,
    make_purchase: Callable[..., events_pb2.Event],
    eventually: Callable[..., Awaitable[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = keeping.model_copy(update={"attributes": {"user": {"age": "number"}}})
    unknown, blank, timeless, long = (make_purchase(USER, "i1") for _ in range(4))
    unknown.interaction.type = USER
    blank.interaction.item = " "
    timeless.ClearField("event_time")
    long.interaction.user = f"{USER} " * 99
    kind = events_pb2.Event(event_time=unknown.event_time, event_id=USER)
    kind.node_upsert.type, kind.node_upsert.id = "user", USER
    kind.node_upsert.categories["age"].values.append(USER)
    batch = events_pb2.EventBatch(dictionary=[USER, " ", USER + "-type"], users=[0], items=[1], types=[2])
    batch.event_times_ms.append(1)

    async def scenario() -> None:
        async with run_server(settings) as running:
            ingest = running.server._loaded.ingest
            publish(settings, [unknown, blank, timeless, long, kind, events_pb2.Event(batch=batch)])
            await eventually(lambda: asyncio.sleep(0, sum(ingest.status().dead_letters.values()) == 6))

    asyncio.run(scenario())
    said = "".join(capsys.readouterr())
    assert "events_refused" in said
    assert "4711" not in said


def test_an_item_can_be_forgotten_and_dead_letters_in_the_file_go_too(
    keeping: Settings,
    run_server: RunServer,
    publish: Publish,
    make_purchase: Callable[..., events_pb2.Event],
    eventually: Callable[..., Awaitable[float]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka = keeping.kafka.model_copy(update={"on_dead_letter_failure": "file"})
    settings = keeping.model_copy(update={"kafka": kafka})
    monkeypatch.setattr(DeadLetterWriter, "_write_to_topic", lambda *_: False)  # As without the right to write.
    item = "book-4711"
    refused = make_purchase("ann", item)
    refused.interaction.type = "no such type"

    async def scenario() -> None:
        async with run_server(settings) as running:
            server = running.server
            publish(settings, [make_purchase("ann", item, 9), make_purchase("bob", "tea", 9), refused])
            await eventually(
                lambda: asyncio.sleep(0, found(settings, item).keys() >= {"checkpoints", "dead-letter file"})
            )
            run = ForgetRun(settings, "item", item, (server.address, server.admin_address), Credentials())
            assert await asyncio.to_thread(run.run, publishes=True, verifies=True, timeout_s=60.0, reads_topics=False)
            assert found(settings, item) == {}
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann"))
            assert [each.item for each in answer.items] == ["tea"]

    asyncio.run(scenario())
    assert "item 'book-4711' was found in nothing" in capsys.readouterr().out


@pytest.mark.kafka
def test_topics_are_told_with_their_settings_and_the_offsets_that_are_named_remove_what_they_have(
    keeping: Settings,
    run_server: RunServer,
    publish: Publish,
    make_purchase: Callable[..., events_pb2.Event],
    eventually: Callable[..., Awaitable[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scenario() -> None:
        async with run_server(keeping) as running:
            server = running.server
            publish(keeping, events_of_user(make_purchase))
            await eventually(lambda: asyncio.sleep(0, server._loaded.ingest.status().dead_letters != {}))
            run = ForgetRun(keeping, "user", USER, (server.address, server.admin_address), Credentials())
            assert await asyncio.to_thread(run.run, publishes=True, verifies=True, timeout_s=60.0, reads_topics=True)

    asyncio.run(scenario())
    said = capsys.readouterr().out
    assert "cleanup.policy=delete; retention.ms=604800000 (7 days) removes them, the last one after" in said
    wanted = [
        json.loads(line.rpartition(" with ")[2]) for line in said.splitlines() if "kafka-delete-records.sh" in line
    ]
    named = [
        (each["topic"], each["partition"], each["offset"]) for of_topic in wanted for each in of_topic["partitions"]
    ]
    assert {topic for topic, *_ in named} == {keeping.kafka.topic, keeping.kafka.dead_letter_topic}
    with KafkaAdminClient(**client_config(keeping.kafka)) as admin:
        admin.delete_records({TopicPartition(topic, partition): offset for topic, partition, offset in named})
    facts = read_facts(keeping)
    for state in (facts.events, facts.dead_letters):
        assert search_log(keeping.kafka, state, Token(USER)).num_found == 0
