"""Models that change while the server answers, and what an operator sees and steers."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest

from springtide.model.registry import ModelStore
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]


@pytest.fixture
def settings(on_each_engine: Settings) -> Settings:
    return on_each_engine


async def answers_with(running: Any, version: str) -> bool:
    response = await running.recommender.Recommend(pb.RecommendRequest(user="u1"))
    return bool(response.model_version == version)


def test_models_are_swapped_under_load_without_a_dropped_request(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    position = publish(settings, diagonal_stream)
    versions: Counter[str] = Counter()

    async def ask_until(stopping: asyncio.Event, running: Any) -> None:
        while not stopping.is_set():
            response = await running.recommender.Recommend(pb.RecommendRequest(user="u1", count=3))
            assert len(response.items) == 3
            versions[response.model_version] += 1

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
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    position = publish(settings, diagonal_stream)
    store = ModelStore(settings.model.url)

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
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event], publish: Publish
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

            with pytest.raises(grpc.aio.AioRpcError, match="nothing to roll back to") as refused:
                await running.admin.RollbackModel(admin_pb2.RollbackModelRequest())
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            with pytest.raises(grpc.aio.AioRpcError) as unknown:
                await running.admin.PromoteModel(admin_pb2.PromoteModelRequest(version="000009"))
            assert unknown.value.code() == grpc.StatusCode.NOT_FOUND

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
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
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
