"""A server whose stream cannot go on: it answers from the graph, says why, and keeps its checkpoints in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from kafka import KafkaAdminClient

from springtide.checkpoint import CheckpointStore
from springtide.errors import OffsetsLostError
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, admin_pb2_grpc, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.addresses import free_port
from springtide_services.serving import server as server_module
from springtide_services.serving.server import Server
from springtide_services.stream import source
from springtide_services.stream.topics import client_config, ensure_topics

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]


def _recreate_topic(settings: Settings) -> None:
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        admin.delete_topics([settings.kafka.topic])
    ensure_topics(settings)


def _with_kafka(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=changes)})


async def _status(running: Any) -> admin_pb2.GetStatusResponse:
    status: admin_pb2.GetStatusResponse = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
    return status


async def _num_recommended(running: Any) -> int:
    return len((await running.recommender.Recommend(pb.RecommendRequest(user="u1", count=3))).items)


def test_answers_go_on_when_the_topic_is_recreated_under_the_server(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    monkeypatch: pytest.MonkeyPatch,
    publish: Publish,
) -> None:
    monkeypatch.setattr(source, "_TOPIC_CHECK_S", 0.2)
    publish(settings, diagonal_stream)

    async def scenario() -> None:
        async with run_server(settings) as running:
            await eventually(lambda: running.is_serving("stream"))
            assert not (await _status(running)).HasField("stream_problem")
            await asyncio.to_thread(_recreate_topic, settings)

            async def has_ended() -> bool:
                return (await _status(running)).stream_problem.is_final

            await eventually(has_ended)
            status = await _status(running)
            assert status.stream_problem.kind == "offsets_lost"
            assert "recreated" in status.stream_problem.message
            assert "--skip-lost" in status.stream_problem.message
            assert status.stream_problem.HasField("since")
            assert (status.lag_events, status.is_broker_connected) == (-1, False)

            async def only_the_stream_is_away() -> bool:
                return [await running.is_serving(name) for name in ("", "stream")] == [True, False]

            await eventually(only_the_stream_is_away)
            assert await _num_recommended(running) == 3
            # What was read after the last checkpoint is nowhere else any more.
            training = await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            assert training.checkpoint

    asyncio.run(scenario())
    checkpoint = CheckpointStore(settings.checkpoint.url).latest()
    assert checkpoint is not None
    assert checkpoint.num_events == len(diagonal_stream)


def test_server_starts_from_the_checkpoint_when_the_stream_is_lost(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    publish(settings, diagonal_stream)

    async def first() -> None:
        async with run_server(settings):
            pass

    async def again() -> None:
        async with run_server(settings) as running:
            assert await _num_recommended(running) == 3
            assert not await running.is_serving("stream")
            assert (await _status(running)).stream_problem.kind == "offsets_lost"

    asyncio.run(first())
    _recreate_topic(settings)
    asyncio.run(again())
    with pytest.raises(OffsetsLostError):
        asyncio.run(_run_until_it_fails(_with_kafka(settings, on_failure="exit")))


@pytest.mark.fault("no broker at the start")
def test_server_starts_from_the_checkpoint_when_no_broker_answers(
    settings: Settings,
    run_server: RunServer,
    diagonal_stream: list[events_pb2.Event],
    monkeypatch: pytest.MonkeyPatch,
    publish: Publish,
) -> None:
    monkeypatch.setattr(server_module, "_START_GRACE_MS", 500)
    publish(settings, diagonal_stream)

    async def scenario(settings: Settings) -> None:
        async with run_server(settings) as running:
            assert await _num_recommended(running) == 3

    asyncio.run(scenario(settings))
    asyncio.run(scenario(_with_kafka(settings, bootstrap_servers=f"127.0.0.1:{free_port()}")))


def test_skip_lost_keeps_the_graph_and_reads_a_recreated_topic_from_its_beginning(
    settings: Settings,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    make_purchase: Callable[..., events_pb2.Event],
    publish: Publish,
) -> None:
    publish(settings, diagonal_stream)

    async def start(*, skip_lost: bool, num_edges: int) -> admin_pb2.GetStatusResponse:
        server = Server(settings, skip_lost=skip_lost)
        await server.start()
        try:
            channel = grpc.aio.insecure_channel(server.admin_address)
            admin = admin_pb2_grpc.AdminServiceStub(channel)

            async def has_all() -> bool:
                try:
                    status = await admin.GetStatus(admin_pb2.GetStatusRequest())
                except grpc.aio.AioRpcError:
                    return False
                return sum(status.num_edges.values()) == num_edges and status.lag_events == 0

            await eventually(has_all)
            status: admin_pb2.GetStatusResponse = await admin.GetStatus(admin_pb2.GetStatusRequest())
            await channel.close()
            return status
        finally:
            await server.stop()

    num = len(diagonal_stream)
    before = asyncio.run(start(skip_lost=False, num_edges=num))
    _recreate_topic(settings)
    publish(settings, [make_purchase("u1", "i2"), make_purchase("new", "i2")])
    after = asyncio.run(start(skip_lost=True, num_edges=num + 2))
    assert {gap.partition: gap.from_offset for gap in after.stream_gaps} == dict(before.position.next_offsets)
    assert {(gap.topic, gap.to_offset, gap.reason) for gap in after.stream_gaps} == {
        (settings.kafka.topic, 0, "recreated")
    }
    assert all(gap.HasField("found_time") and gap.HasField("read_until_time") for gap in after.stream_gaps)
    # The next start needs no option, and still knows of the gap.
    again = asyncio.run(start(skip_lost=False, num_edges=num + 2))
    assert again.stream_gaps == after.stream_gaps


async def _run_until_it_fails(settings: Settings) -> None:
    server = Server(settings)
    await server.start()
    try:
        await asyncio.wait_for(server.wait(), 30)
    finally:
        await server.stop()
