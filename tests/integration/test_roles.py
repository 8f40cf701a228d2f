"""Several servers on one stream and one checkpoint URL: one writes, the others read, and one takes over."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from kafka import KafkaConsumer, KafkaProducer

from springtide.checkpoint import CheckpointStore
from springtide.plugins.loading import load_serving_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.state_content import state_content
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
RunServerProcess = Callable[[Settings], AbstractContextManager[tuple[subprocess.Popen[str], str]]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]
Eventually = Callable[..., Any]

WAIT = Duration(seconds=10)


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings by which a silent writer is replaced after two seconds."""
    checkpoint = settings.checkpoint.model_copy(update={"takeover_s": 2.0, "every_s": 0.2})
    return settings.model_copy(update={"checkpoint": checkpoint})


def with_role(settings: Settings, role: str) -> Settings:
    return settings.model_copy(update={"checkpoint": settings.checkpoint.model_copy(update={"role": role})})


def restored(settings: Settings) -> LiveState:
    weights = make_context_weights(settings.ranking, load_serving_plugins(settings))
    store, state = CheckpointStore(settings.checkpoint.url), LiveState(settings, weights)
    checkpoint = store.latest()
    assert checkpoint is not None
    store.restore(checkpoint, state)
    return state


def num_events_stored(settings: Settings) -> int:
    checkpoint = CheckpointStore(settings.checkpoint.url).latest()
    return 0 if checkpoint is None else checkpoint.num_events


async def applied(running: Any, position: pb.GraphPosition) -> None:
    """Wait until a server has read as far as a position."""
    await running.recommender.Recommend(pb.RecommendRequest(user="u1", min_position=position, wait=WAIT))


@pytest.fixture(params=["folder", "s3"])
def on_each_store(quick: Settings, request: pytest.FixtureRequest) -> Settings:
    """The settings with checkpoints and models in folders, and then on an object store."""
    if request.param == "folder":
        return quick
    bucket = request.getfixturevalue("s3_bucket")
    checkpoint = quick.checkpoint.model_copy(update={"url": f"{bucket}/checkpoints"})
    return quick.model_copy(
        update={"checkpoint": checkpoint, "model": quick.model.model_copy(update={"url": f"{bucket}/models"})}
    )


def test_of_two_servers_one_writes_and_the_other_reads_and_takes_its_place(
    on_each_store: Settings,
    run_server: RunServer,
    eventually: Eventually,
    publish: Publish,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
) -> None:
    quick = on_each_store

    async def scenario() -> None:
        async with run_server(quick) as first:
            publish(quick, diagonal_stream)

            async def is_stored(number: int) -> bool:
                return num_events_stored(quick) == number

            await eventually(lambda: is_stored(len(diagonal_stream)))
            async with run_server(quick) as second:
                statuses = [await each.admin.GetStatus(admin_pb2.GetStatusRequest()) for each in (first, second)]
                assert [status.role for status in statuses] == ["writer", "reader"]
                assert [status.fencing_number for status in statuses] == [1, 1]
                assert all(f"pid {os.getpid()}" in status.writer for status in statuses)
                with pytest.raises(grpc.aio.AioRpcError, match="only reads checkpoints: their writer is host") as no:
                    await second.admin.StartTraining(admin_pb2.StartTrainingRequest())
                assert no.value.code() == grpc.StatusCode.FAILED_PRECONDITION
                position = publish(quick, [make_purchase("u1", "i2")])
                await applied(second, position)
                await first.server.stop()
                position = publish(quick, [make_purchase("u3", "i4")])
                await applied(second, position)
                await eventually(lambda: is_stored(len(diagonal_stream) + 2))
                status = await second.admin.GetStatus(admin_pb2.GetStatusRequest())
                assert (status.role, status.fencing_number) == ("writer", 2)
                checkpoint = CheckpointStore(quick.checkpoint.url).latest()
                assert checkpoint is not None
                assert checkpoint.manifest["fence"] == 2
                assert second.server._loaded is not None
                assert state_content(restored(quick)) == state_content(second.server._loaded.answering.state)

    asyncio.run(scenario())


def test_a_reader_never_writes_and_refused_events_are_put_away_once(
    quick: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    async def scenario() -> None:
        async with run_server(with_role(quick, "reader")) as reader:
            with KafkaProducer(bootstrap_servers=quick.kafka.bootstrap_servers) as producer:
                producer.send(quick.kafka.topic, b"\xff\xff nothing of ours").get(10)

            async def has_refused(running: Any) -> bool:
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                return sum(status.num_dead_letters.values()) == 1

            await eventually(lambda: has_refused(reader))
            assert CheckpointStore(quick.checkpoint.url).names() == []
            async with run_server(quick) as writer:
                await eventually(lambda: has_refused(writer))
                status = await writer.admin.GetStatus(admin_pb2.GetStatusRequest())
                assert status.role == "writer"
        assert CheckpointStore(quick.checkpoint.url).names() == ["00000001"]

    asyncio.run(scenario())
    assert len(dead_letters(quick)) == 1


def dead_letters(settings: Settings) -> list[Any]:
    consumer = KafkaConsumer(
        settings.kafka.dead_letter_topic,
        bootstrap_servers=settings.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=1_000,
    )
    try:
        return list(consumer)
    finally:
        consumer.close()


def test_letters_that_a_killed_writer_did_not_write_are_written_by_its_successor(
    quick: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    """The first server is a reader for good, so nobody writes; the second one takes over when it has read."""

    async def scenario() -> None:
        async with run_server(with_role(quick, "writer")) as writer, run_server(quick) as second:
            # As if killed: it reads nothing more, and writes nothing.
            assert writer.server._loaded is not None
            await asyncio.to_thread(writer.server._loaded.ingest.stop)
            with KafkaProducer(bootstrap_servers=quick.kafka.bootstrap_servers) as producer:
                producer.send(quick.kafka.topic, b"\xff\xff nothing of ours").get(10)

            async def has_refused() -> bool:
                status = await second.admin.GetStatus(admin_pb2.GetStatusRequest())
                return sum(status.num_dead_letters.values()) == 1

            await eventually(has_refused)
            assert await asyncio.to_thread(dead_letters, quick) == []
            await writer.server.stop()

            async def is_writer() -> bool:
                return (await second.admin.GetStatus(admin_pb2.GetStatusRequest())).role == "writer"

            await eventually(is_writer)
            assert len(await asyncio.to_thread(dead_letters, quick)) == 1

    asyncio.run(scenario())


@pytest.mark.long
def test_a_writer_that_was_suspended_reads_on_once_another_has_taken_its_place(
    quick: Settings,
    run_server: RunServer,
    run_server_process: RunServerProcess,
    eventually: Eventually,
    publish: Publish,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
) -> None:
    async def scenario() -> None:
        position = publish(quick, diagonal_stream)
        with run_server_process(quick) as (process, address):
            async with run_server(quick) as second:
                await applied(second, position)
                os.kill(process.pid, signal.SIGSTOP)

                async def is_writer() -> bool:
                    return (await second.admin.GetStatus(admin_pb2.GetStatusRequest())).role == "writer"

                await eventually(is_writer)
                position = publish(quick, [make_purchase("u1", "i2")])
                await applied(second, position)
                os.kill(process.pid, signal.SIGCONT)
                async with grpc.aio.insecure_channel(address) as channel:
                    late = type(second.recommender)(channel)
                    await late.Recommend(pb.RecommendRequest(user="u1", min_position=position, wait=WAIT))

                    async def is_stored() -> bool:
                        return num_events_stored(quick) == len(diagonal_stream) + 1

                    await eventually(is_stored)
                    assert process.poll() is None
                newest = CheckpointStore(quick.checkpoint.url).latest()
                assert newest is not None
                assert newest.manifest["fence"] == 2
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
                assert await is_writer()

    asyncio.run(scenario())
    assert restored(quick).num_events == len(diagonal_stream) + 1


def test_a_second_writer_is_refused_within_seconds(quick: Settings, run_server: RunServer) -> None:
    async def scenario() -> None:
        async with run_server(quick):
            started_s = time.monotonic()
            with pytest.raises(Exception, match=rf"have another writer: host \S+, pid {os.getpid()}"):
                async with run_server(with_role(quick, "writer")):
                    pass
            assert time.monotonic() - started_s < 30

    asyncio.run(scenario())
