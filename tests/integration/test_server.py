"""The server over real sockets: its health, its answers, its refusals, and models that change under load."""

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.lock import HOLDER_FILE
from springtide.checkpoint.lock_holder import LockHolder
from springtide.clock import Deadline
from springtide.errors import (
    CheckpointError,
    CheckpointLockedError,
    CheckpointLockLostError,
    OffsetsLostError,
    SettingsError,
)
from springtide.model.registry import ModelStore
from springtide.ranking.ranker import FAMILIARITY
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide.v1 import admin_pb2, admin_pb2_grpc, events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.addresses import free_port
from springtide_services.cli.checkpoint_tables import use_checkpoint
from springtide_services.exit_codes import EXIT_REFUSED
from springtide_services.serving.admin_service import AdminService
from springtide_services.serving.recommender_service import RecommenderService
from springtide_services.serving.server import Server
from springtide_services.stream.producer import EventPublisher
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
MakePurchase = Callable[..., events_pb2.Event]
SERVICES = ("", "springtide.v1.RecommenderService", "springtide.v1.AdminService")


@pytest.fixture
def settings(on_each_engine: Settings) -> Settings:
    return on_each_engine


class Stub(Protocol):
    def __call__(self, request: Any) -> Awaitable[Any]: ...


def publish(settings: Settings, events: Sequence[events_pb2.Event]) -> pb.GraphPosition:
    """Publish events, and return the position at which the graph has them all."""
    next_offsets: dict[int, int] = {}
    with EventPublisher(settings) as publisher:
        for event in events:
            partition, offset = publisher.publish(event)
            next_offsets[partition] = offset + 1
    return pb.GraphPosition(next_offsets=next_offsets)


async def refusal(stub: Stub, request: Any) -> tuple[grpc.StatusCode, list[str], str]:
    """Return the code, the fields at fault and the message that a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(request)
    fields: list[str] = []
    for key, value in refused.value.trailing_metadata():
        if key == GRPC_DETAILS_METADATA_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                bad = error_details_pb2.BadRequest()
                if detail.Unpack(bad):
                    fields += [violation.field for violation in bad.field_violations]
    return refused.value.code(), fields, refused.value.details() or ""


def test_health_turns_to_serving_once_the_stream_is_caught_up(
    settings: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    async def scenario() -> None:
        async with run_server(settings, wait_until_ready=False) as running:
            assert [await running.is_serving(name) for name in SERVICES] == [False] * 3
            await eventually(running.is_serving)
            assert [await running.is_serving(name) for name in SERVICES] == [True] * 3

    asyncio.run(scenario())


def test_services_that_are_not_loaded_yet_say_that_they_are_unavailable() -> None:
    async def scenario() -> None:
        grpc_server = grpc.aio.server()
        recommender_pb2_grpc.add_RecommenderServiceServicer_to_server(RecommenderService(Settings()), grpc_server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(Settings()), grpc_server)
        port = grpc_server.add_insecure_port("127.0.0.1:0")
        await grpc_server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            recommender = recommender_pb2_grpc.RecommenderServiceStub(channel)
            admin = admin_pb2_grpc.AdminServiceStub(channel)
            for stub, request in (
                (recommender.Recommend, pb.RecommendRequest()),
                (admin.GetStatus, admin_pb2.GetStatusRequest()),
            ):
                code, _, message = await refusal(stub, request)
                assert (code, "still loading" in message) == (grpc.StatusCode.UNAVAILABLE, True)
        await grpc_server.stop(None)

    asyncio.run(scenario())


@pytest.mark.parametrize("is_on", [True, False])
def test_reflection_lists_the_services_where_it_is_on(settings: Settings, run_server: RunServer, is_on: bool) -> None:
    server_settings = settings.server.model_copy(update={"reflection": is_on})

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async def scenario() -> set[str]:
        changed = settings.model_copy(update={"server": server_settings})
        async with run_server(changed, wait_until_ready=False) as running:
            stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
            if not is_on:
                # Nothing is sent: a request that is on its way when the refusal comes is an error of the client's own.
                assert await stub.ServerReflectionInfo().code() == grpc.StatusCode.UNIMPLEMENTED
                return set()
            async for answer in stub.ServerReflectionInfo(requests()):
                return {service.name for service in answer.list_services_response.service}
        return set()

    found = asyncio.run(scenario())
    assert not is_on or set(SERVICES[1:]) | {"grpc.health.v1.Health"} <= found


def test_a_bad_request_is_refused_with_the_field_that_is_wrong(settings: Settings, run_server: RunServer) -> None:
    recommend_requests = [
        (pb.RecommendRequest(count=0), "count"),
        (pb.RecommendRequest(user="u" * 300), "user"),
        (pb.RecommendRequest(recent_items=["i"] * 1_001), "recent_items"),
        (pb.RecommendRequest(exclude_items=["i"] * 10_001), "exclude_items"),
        (pb.RecommendRequest(allow_items=[""]), "allow_items[0]"),
        (pb.RecommendRequest(exclude_seen=["nothing_of_that_name"]), "exclude_seen[0]"),
        (pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="a")]), "category_filters[0].values"),
        (
            pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="colour", values=["red"])]),
            "category_filters[0].attribute",
        ),
        (pb.RecommendRequest(context=pb.Context(attributes={str(n): "" for n in range(65)})), "context.attributes"),
        (pb.RecommendRequest(min_position=pb.GraphPosition(next_offsets={9: 1})), "min_position.next_offsets[9]"),
        (pb.RecommendRequest(min_position=pb.GraphPosition(next_offsets={0: 1}), wait=Duration(seconds=11)), "wait"),
    ]
    far_away = pb.RecommendRequest()
    far_away.context.event_time.seconds = 10**15
    recommend_requests.append((far_away, "context.event_time"))

    async def scenario() -> None:
        async with run_server(settings) as running:
            for request, field in recommend_requests:
                code, fields, _ = await refusal(running.recommender.Recommend, request)
                assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
            for stub, other_request, field in (
                (running.recommender.SimilarItems, pb.SimilarItemsRequest(), "item"),
                (running.recommender.SimilarItems, pb.SimilarItemsRequest(item="i", count=1_001), "count"),
                (running.recommender.Explain, pb.ExplainRequest(), "item"),
                (running.recommender.Explain, pb.ExplainRequest(item="nothing of that id"), "item"),
                (running.recommender.Explain, pb.ExplainRequest(item="i", user="u" * 300), "user"),
                (running.admin.ListModels, admin_pb2.ListModelsRequest(page_size=-1), "page_size"),
                (running.admin.ListModels, admin_pb2.ListModelsRequest(page_token="?"), "page_token"),
                (running.admin.PromoteModel, admin_pb2.PromoteModelRequest(), "version"),
                (running.admin.StartTraining, admin_pb2.StartTrainingRequest(mode=9), "mode"),
            ):
                code, fields, _ = await refusal(stub, other_request)
                assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
            too_large = pb.RecommendRequest(exclude_items=["i" * 1_000] * 9_000)
            code, _, _ = await refusal(running.recommender.Recommend, too_large)
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(scenario())


def test_without_a_model_the_fallback_answers_and_says_so(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event]
) -> None:
    position = publish(settings, diagonal_stream)

    async def scenario() -> pb.RecommendResponse:
        async with run_server(settings) as running:
            return await running.recommender.Recommend(pb.RecommendRequest(user="u1", count=5, min_position=position))

    response = asyncio.run(scenario())
    assert len(response.items) == 5
    assert response.personalization == pb.PERSONALIZATION_FALLBACK
    assert response.model_version == ""
    assert dict(response.position.next_offsets) == dict(position.next_offsets)


def test_an_answer_reflects_the_position_that_was_asked_for(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, diagonal_stream: list[events_pb2.Event]
) -> None:
    publish(settings, diagonal_stream)

    async def scenario() -> None:
        async with run_server(settings) as running:
            for item in ("i3", "i5", "i7"):
                position = await asyncio.to_thread(publish, settings, [make_purchase("u_new", item)])
                response = await running.recommender.Recommend(
                    pb.RecommendRequest(
                        user="u_new",
                        count=16,
                        exclude_seen=["purchase"],
                        min_position=position,
                        wait=Duration(seconds=5),
                    )
                )
                assert not response.is_behind_min_position
                assert item not in {entry.item for entry in response.items}
                assert all(response.position.next_offsets[part] >= at for part, at in position.next_offsets.items())

    asyncio.run(scenario())


def test_a_position_that_does_not_come_is_not_waited_for_longer_than_asked(
    settings: Settings, run_server: RunServer
) -> None:
    far = pb.GraphPosition(next_offsets={0: 10**9})

    async def scenario() -> None:
        async with run_server(settings) as running:
            started = time.monotonic()
            request = pb.RecommendRequest(user="u", min_position=far, wait=Duration(nanos=200_000_000))
            response = await running.recommender.Recommend(request)
            assert response.is_behind_min_position
            assert 0.2 <= time.monotonic() - started < 8, "not as long as the server allows"
            request = pb.RecommendRequest(user="u", min_position=far, wait=Duration(seconds=10))
            response = await running.recommender.Recommend(request, timeout=2.0)  # Answered before that deadline.
            assert response.is_behind_min_position

    asyncio.run(scenario())


def test_models_are_swapped_under_load_without_a_dropped_request(
    settings: Settings, run_server: RunServer, eventually: Eventually, diagonal_stream: list[events_pb2.Event]
) -> None:
    position = publish(settings, diagonal_stream)
    versions: Counter[str] = Counter()

    async def ask_until(stopping: asyncio.Event, running: Any) -> None:
        while not stopping.is_set():
            response = await running.recommender.Recommend(pb.RecommendRequest(user="u1", count=3))
            assert len(response.items) == 3
            versions[response.model_version] += 1

    async def answers_with(running: Any, version: str) -> bool:
        response = await running.recommender.Recommend(pb.RecommendRequest(user="u1"))
        return bool(response.model_version == version)

    async def scenario() -> None:
        stopping = asyncio.Event()
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            asking = [asyncio.create_task(ask_until(stopping, running)) for _ in range(4)]
            assert await asyncio.to_thread(train_once, settings, "retrain") == "000001"
            await eventually(lambda: answers_with(running, "000001"))
            assert await asyncio.to_thread(train_once, settings, "fine_tune") == "000002"
            await eventually(lambda: answers_with(running, "000002"))
            rolled_back = await running.admin.RollbackModel(admin_pb2.RollbackModelRequest())
            assert rolled_back.model.version == "000001"
            assert await answers_with(running, "000001")
            promoted = await running.admin.PromoteModel(admin_pb2.PromoteModelRequest(version="000002"))
            assert promoted.model.is_current
            assert await answers_with(running, "000002")
            stopping.set()
            await asyncio.gather(*asking)

    asyncio.run(scenario())
    assert set(versions) == {"", "000001", "000002"}


def test_what_is_promoted_by_hand_answers_by_itself_and_is_recorded(
    settings: Settings, run_server: RunServer, eventually: Eventually, diagonal_stream: list[events_pb2.Event]
) -> None:
    position = publish(settings, diagonal_stream)
    store = ModelStore(settings.model.url)

    async def answers_with(running: Any, version: str) -> bool:
        response = await running.recommender.Recommend(pb.RecommendRequest(user="u1"))
        return bool(response.model_version == version)

    async def scenario() -> None:
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            for _ in range(2):
                await asyncio.to_thread(train_once, settings, "retrain")
            await eventually(lambda: answers_with(running, "000002"))
            store.rollback(reason="by hand")  # As `springtide models rollback` does, beside the server.
            await eventually(lambda: answers_with(running, "000001"))
            store.promote("000002", reason="by hand again")
            await eventually(lambda: answers_with(running, "000002"))
            await running.admin.RollbackModel(admin_pb2.RollbackModelRequest())
            promoted = await running.admin.PromoteModel(admin_pb2.PromoteModelRequest(version="000002"))
            assert promoted.model.verdict == "not judged"
            assert promoted.model.verdict_reason.endswith("interactions to judge by, fewer than 200")

    asyncio.run(scenario())
    entries = store.audit.entries()
    assert [(entry.action, entry.from_version, entry.to_version) for entry in entries] == [
        ("promote", "", "000001"),
        ("promote", "000001", "000002"),
        ("roll_back", "000002", "000001"),
        ("promote", "000001", "000002"),
        ("roll_back", "000002", "000001"),
        ("promote", "000001", "000002"),
    ]
    assert [entry.reason for entry in entries[2:4]] == ["by hand", "by hand again"]
    assert all(entry.actor.startswith("trainer ") for entry in entries[:2])
    assert all(entry.actor.startswith("ipv4:127.0.0.1:") for entry in entries[4:])


def test_an_operator_sees_and_steers(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event]
) -> None:
    position = publish(settings, diagonal_stream)

    async def scenario() -> None:
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            started = await running.admin.StartTraining(
                admin_pb2.StartTrainingRequest(mode=admin_pb2.TRAINING_MODE_RETRAIN)
            )
            (request,) = TrainingFolder.beside_models(settings).requests()
            assert (request.request_id, request.mode) == (started.request_id, "retrain")
            assert request.checkpoint == started.checkpoint

            code, _, message = await refusal(running.admin.RollbackModel, admin_pb2.RollbackModelRequest())
            assert (code, "nothing to roll back to" in message) == (grpc.StatusCode.FAILED_PRECONDITION, True)
            code, _, _ = await refusal(running.admin.PromoteModel, admin_pb2.PromoteModelRequest(version="000009"))
            assert code == grpc.StatusCode.NOT_FOUND

            for _ in range(3):
                await asyncio.to_thread(train_once, settings)
            pages = []
            token = ""
            while not pages or token:
                page = await running.admin.ListModels(admin_pb2.ListModelsRequest(page_size=2, page_token=token))
                pages.append([model.version for model in page.models])
                token = page.next_page_token
            assert pages == [["000003", "000002"], ["000001"]]
            first = page.models[0]
            assert (first.training, first.num_interactions, first.is_current) == (
                "retrain",
                len(diagonal_stream),
                False,
            )
            assert "lightgcn" in first.parts["encoder"]

            status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            assert dict(status.position.next_offsets) == dict(position.next_offsets)
            assert dict(status.num_nodes) == {"user": 16, "item": 16}
            assert dict(status.num_edges) == {"user:purchase:item": len(diagonal_stream)}
            assert (status.lag_events, status.is_broker_connected) == (0, True)
            assert status.checkpoint_time.seconds > 0
            assert status.graph_bytes > 0
            assert (status.training.stage, status.training.model_version) == ("done", "000003")

    asyncio.run(scenario())


def test_similar_items_are_those_that_the_same_users_take(
    settings: Settings, run_server: RunServer, eventually: Eventually, diagonal_stream: list[events_pb2.Event]
) -> None:
    position = publish(settings, diagonal_stream)

    async def scenario() -> pb.SimilarItemsResponse:
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            await asyncio.to_thread(train_once, settings)

            async def has_model() -> bool:
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                return bool(status.model_version)

            await eventually(has_model)
            return await running.recommender.SimilarItems(pb.SimilarItemsRequest(item="i4", count=5))

    response = asyncio.run(scenario())
    assert {int(entry.item[1:]) % 2 for entry in response.items} == {0}
    assert "i4" not in {entry.item for entry in response.items}


def test_a_server_on_an_ipv6_address_answers_where_it_says_and_where_the_settings_say(
    settings: Settings, run_server: RunServer
) -> None:
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    server_settings = settings.server.model_copy(update={"host": "::1", "port": port})
    command = [Path(sys.executable).with_name("springtide"), "status", "--json"]
    environment = {**os.environ, "SPRINGTIDE_SERVER__HOST": "::1", "SPRINGTIDE_SERVER__PORT": str(port)}

    async def scenario() -> subprocess.CompletedProcess[str]:
        async with run_server(settings.model_copy(update={"server": server_settings})) as running:
            assert running.server.address == f"[::1]:{port}"
            return await asyncio.to_thread(
                subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60
            )

    done = asyncio.run(scenario())
    assert done.returncode == 0, done.stderr


def test_a_port_that_is_taken_is_named(settings: Settings, run_server: RunServer) -> None:
    async def scenario() -> None:
        async with run_server(settings, wait_until_ready=False) as running:
            port = int(running.server.address.rpartition(":")[2])
            server_settings = settings.server.model_copy(update={"port": port})
            second = Server(settings.model_copy(update={"server": server_settings}))
            with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
                await second.start()
            await second.stop()

    asyncio.run(scenario())


def waits_for_lock(settings: Settings) -> list[LockHolder]:
    """Take the lock and release it; return the holder that it had to wait for, if there was one."""
    former: list[LockHolder] = []
    lock = CheckpointLock(settings.checkpoint.url)
    lock.acquire(on_wait=lambda holder, _: former.append(holder))
    lock.release()
    return former


async def run_until_it_fails(settings: Settings) -> None:
    server = Server(settings)
    await server.start()
    try:
        await asyncio.wait_for(server.wait(), 10)
    finally:
        await server.stop()


def test_a_second_server_on_one_checkpoint_url_is_refused_until_the_first_one_stops(
    settings: Settings, run_server: RunServer
) -> None:
    async def scenario() -> None:
        async with run_server(settings):
            with pytest.raises(CheckpointLockedError, match=rf"have another writer: host \S+, pid {os.getpid()}, "):
                await run_until_it_fails(settings)
        async with run_server(settings) as running:
            assert await running.is_serving()

    asyncio.run(scenario())


def test_a_server_whose_lock_was_taken_over_ends_and_writes_nothing_more(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event]
) -> None:
    publish(settings, diagonal_stream)
    folder = Path(settings.checkpoint.url)

    async def scenario() -> None:
        async with run_server(settings) as running:
            (folder / HOLDER_FILE).unlink()
            code, _, message = await refusal(running.admin.StartTraining, admin_pb2.StartTrainingRequest())
            assert (code, "has lost the lock" in message) == (grpc.StatusCode.INTERNAL, True)
            with pytest.raises(CheckpointLockLostError):
                await asyncio.wait_for(running.server.wait(), 10)

    asyncio.run(scenario())
    assert CheckpointStore(settings.checkpoint.url).names() == []


def test_a_process_that_was_killed_can_start_again_at_once_and_a_second_one_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    with server_process(settings) as process:
        asyncio.run(_until_serving(first_line(process)))
        with pytest.raises(CheckpointLockedError, match=rf"pid {process.pid}"):
            CheckpointLock(settings.checkpoint.url).acquire()
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "SPRINGTIDE_KAFKA__TOPIC": settings.kafka.topic,
            "SPRINGTIDE_CHECKPOINT__URL": settings.checkpoint.url,
            "SPRINGTIDE_MODEL__URL": settings.model.url,
            "SPRINGTIDE_SERVER__PORT": "0",
        }
        serve = [Path(sys.executable).with_name("springtide"), "serve"]
        done = subprocess.run(
            serve,
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, f"pid {process.pid}" in done.stderr) == (EXIT_REFUSED, True)
        process.kill()
        process.wait(60)
    assert waits_for_lock(settings) == []


def test_settings_whose_parts_cannot_work_end_the_server(settings: Settings) -> None:
    """Those that a server makes; of the others it knows the names, and the trainer checks their options."""
    weights = {**settings.ranking.context_weights, "trend": {"horizon": 3}}
    ranking = settings.ranking.model_copy(update={"context_weights": weights})
    model = settings.model.model_copy(update={"loss": PartSettings(name="max_margn")})

    with pytest.raises(SettingsError, match=r"ranking\.context_weights\.trend: .*no option"):
        asyncio.run(run_until_it_fails(settings.model_copy(update={"ranking": ranking})))
    with pytest.raises(SettingsError, match=r"model\.loss: no loss named 'max_margn'"):
        asyncio.run(run_until_it_fails(settings.model_copy(update={"model": model})))


def test_a_stream_that_is_not_the_checkpoint_s_ends_the_server_if_the_settings_say_so(settings: Settings) -> None:
    state = LiveState(settings, {})
    state.position = StreamPosition(settings.kafka.topic, "00000000-0000-0000-0000-00000000beef", {0: 5, 1: 5})
    CheckpointStore(settings.checkpoint.url).write(state.snapshot())

    kafka = settings.kafka.model_copy(update={"on_failure": "exit"})
    with pytest.raises(OffsetsLostError):
        asyncio.run(run_until_it_fails(settings.model_copy(update={"kafka": kafka})))


def test_a_process_ends_on_sigterm_with_a_last_checkpoint(
    settings: Settings, diagonal_stream: list[events_pb2.Event]
) -> None:
    publish(settings, diagonal_stream)
    with server_process(settings) as process:
        asyncio.run(_until_serving(first_line(process)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    checkpoint = CheckpointStore(settings.checkpoint.url).latest()
    assert checkpoint is not None
    assert checkpoint.num_events == len(diagonal_stream)
    assert waits_for_lock(settings) == []


def test_a_damaged_newest_checkpoint_ends_the_server_until_an_older_one_is_used(
    settings: Settings, run_server: RunServer, make_purchase: MakePurchase, diagonal_stream: list[events_pb2.Event]
) -> None:
    async def read(events: Sequence[events_pb2.Event]) -> int:
        position = publish(settings, events)
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            return int(status.num_edges["user:purchase:item"])

    assert asyncio.run(read(diagonal_stream)) == len(diagonal_stream)
    assert asyncio.run(read([make_purchase("u1", "i2")])) == len(diagonal_stream) + 1
    store = CheckpointStore(settings.checkpoint.url)
    older = store.names()[-1]
    newest_segment = max((Path(settings.checkpoint.url) / "segments").glob("*edges*"))
    newest_segment.write_bytes(b"damaged")

    with pytest.raises(CheckpointError, match=r"damaged: .*`springtide checkpoints use NAME`"):
        asyncio.run(run_until_it_fails(settings))
    use_checkpoint(settings, older, confirm=lambda _: True)

    assert asyncio.run(read([make_purchase("u1", "i4")])) == len(diagonal_stream) + 2


def test_an_item_is_explained_as_it_was_ranked(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event]
) -> None:
    position = publish(settings, diagonal_stream)
    context = pb.Context(attributes={"time_zone": "Nowhere/At_All"})
    context.event_time.CopyFrom(diagonal_stream[-1].event_time)

    async def scenario() -> tuple[pb.RecommendResponse, pb.ExplainResponse]:
        async with run_server(settings) as running:
            view = pb.RECOMMEND_VIEW_FULL
            request = pb.RecommendRequest(user="u4", context=context, min_position=position, view=view)
            response = await running.recommender.Recommend(request)
            request = pb.ExplainRequest(user="u4", item=response.items[0].item, context=context)
            return response, await running.recommender.Explain(request)

    response, explained = asyncio.run(scenario())
    best = response.items[0]
    assert (explained.item, explained.rank) == (best.item, 1)
    assert explained.score == pytest.approx(best.score, abs=1e-4)
    ranked_by = dict(zip(response.weight_names, best.weights, strict=True))
    ranked_by.pop(FAMILIARITY, None)  # It is in the exponent.
    assert {weight.name: weight.weight for weight in explained.weights} == pytest.approx(ranked_by, rel=1e-4)
    for weight in explained.weights:
        assert weight.weight == pytest.approx(math.prod(factor.weight for factor in weight.factors), rel=1e-4)
        for factor in weight.factors:
            assert factor.weight == pytest.approx(factor.lift**factor.exponent, rel=1e-4)
    assert "you chose it" in explained.sentence
    assert explained.personalization == pb.PERSONALIZATION_FALLBACK


@contextlib.contextmanager
def server_process(settings: Settings) -> Iterator["subprocess.Popen[str]"]:
    """Run the server as a process; the first line that it prints is its address."""
    code = (
        "import sys; from springtide.settings.model import Settings; "
        "from springtide_services.serving.server import serve; "
        "from springtide_services.logs import configure_logging; configure_logging(); "
        "serve(Settings.model_validate_json(sys.argv[1]), on_listening=lambda address: print(address, flush=True))"
    )
    command = [sys.executable, "-c", code, settings.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def _until_serving(address: str) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        deadline = Deadline.after(60.0)
        while (await stub.Check(health_pb2.HealthCheckRequest())).status != health_pb2.HealthCheckResponse.SERVING:
            assert not deadline.is_over(), "not serving"
            await asyncio.sleep(0.02)
