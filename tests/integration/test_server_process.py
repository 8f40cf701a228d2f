"""When a server starts, is refused and ends: its checkpoint's lock, its settings, its signals, its last checkpoint."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
from kafka import KafkaAdminClient, TopicPartition

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.leases import FOLDER
from springtide.checkpoint.lock_holder import LockHolder
from springtide.errors import (
    CheckpointLockedError,
    CheckpointLockLostError,
    OffsetsLostError,
    SettingsError,
)
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide.state_content import state_content
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.exit_codes import EXIT_REFUSED
from springtide_services.serving.server import Server
from springtide_services.stream.topics import client_config

RunServerProcess = Callable[[Settings], AbstractContextManager[tuple[subprocess.Popen[str], str]]]
RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]


@pytest.fixture
def settings(on_each_engine: Settings) -> Settings:
    checkpoint = on_each_engine.checkpoint.model_copy(update={"role": "writer"})
    return on_each_engine.model_copy(update={"checkpoint": checkpoint})


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
        await asyncio.wait_for(server.wait(), 60)
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


@pytest.mark.fault("server whose lock was taken over")
def test_a_server_whose_lock_was_taken_over_ends_and_writes_nothing_more(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event], publish: Publish
) -> None:
    publish(settings, diagonal_stream)
    folder = Path(settings.checkpoint.url)

    async def scenario() -> None:
        async with run_server(settings) as running:
            shutil.rmtree(folder / FOLDER)
            with pytest.raises(grpc.aio.AioRpcError, match="has lost the lock") as refused:
                await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            with pytest.raises(CheckpointLockLostError):
                await asyncio.wait_for(running.server.wait(), 10)

    asyncio.run(scenario())
    assert CheckpointStore(settings.checkpoint.url).names() == []


@pytest.mark.fault("server killed, a second one started")
def test_a_process_that_was_killed_can_start_again_at_once_and_a_second_one_is_refused(
    settings: Settings, run_server_process: RunServerProcess, tmp_path: Path
) -> None:
    with run_server_process(settings) as (process, _):
        with pytest.raises(CheckpointLockedError, match=rf"pid {process.pid}"):
            CheckpointLock(settings.checkpoint.url).acquire()
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "SPRINGTIDE_KAFKA__TOPIC": settings.kafka.topic,
            "SPRINGTIDE_CHECKPOINT__URL": settings.checkpoint.url,
            "SPRINGTIDE_CHECKPOINT__ROLE": "writer",
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
    settings: Settings,
    run_server_process: RunServerProcess,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    publish(settings, diagonal_stream)
    with run_server_process(settings) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    checkpoint = CheckpointStore(settings.checkpoint.url).latest()
    assert checkpoint is not None
    assert checkpoint.num_events == len(diagonal_stream)
    assert waits_for_lock(settings) == []


@pytest.mark.parametrize("shared", [False, True])
def test_after_damage_the_state_is_the_one_that_the_log_gives_in_one_go(
    settings: Settings,
    run_server: RunServer,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
    shared: bool,
) -> None:
    """Of the newest checkpoint's own file the one before takes its place; of one that both have, the whole log does."""

    async def read(events: Sequence[events_pb2.Event], url: str = "") -> tuple[dict[str, str], Any]:
        position = publish(settings, events)
        updates = {"checkpoint": settings.checkpoint.model_copy(update={"url": url})} if url else {}
        async with run_server(settings.model_copy(update=updates)) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            return state_content(running.server._loaded.answering.state), status

    asyncio.run(read(diagonal_stream))
    asyncio.run(read([make_purchase("u1", "i2"), make_purchase("new", "i2")]))
    segments = Path(settings.checkpoint.url) / "segments"
    store = CheckpointStore(settings.checkpoint.url)
    older, newest = store.names()[-1], store.names()[0]
    own = sorted(segments.glob(f"{newest}-*edges*"))
    damaged = sorted(segments.glob(f"{older}-*edges*-0.arrays"))[0] if shared else own[-1]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)

    found, status = asyncio.run(read([make_purchase("u1", "i4")]))

    (first, *others) = status.damaged_checkpoints
    assert (first.name, damaged.name in first.fault) == (newest, True)
    assert first.instead == ("the stream from its beginning" if shared else f"checkpoint {older}")
    assert bool(others) == shared
    assert not status.num_dead_letters
    wanted, _ = asyncio.run(read([], str(Path(settings.checkpoint.url).with_name("in-one-go"))))
    assert found == wanted
    again, status = asyncio.run(read([]))
    assert again == wanted
    assert not status.damaged_checkpoints, "what was written since is whole"


@pytest.mark.kafka
@pytest.mark.parametrize("is_manifest_readable", [True, False])
def test_without_a_whole_checkpoint_a_log_that_lost_its_beginning_is_an_error_until_it_is_skipped(
    settings: Settings,
    run_server: RunServer,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
    is_manifest_readable: bool,
) -> None:
    """Nothing is read from what is left without a word, however often the server is started."""

    async def read() -> None:
        position = publish(settings, diagonal_stream)
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))

    asyncio.run(read())
    folder = "segments" if is_manifest_readable else "manifests"
    for path in (Path(settings.checkpoint.url) / folder).iterdir():
        path.write_bytes(path.read_bytes()[:-70])
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        admin.delete_records({TopicPartition(settings.kafka.topic, 0): 3})
    for _ in range(2):
        with pytest.raises(OffsetsLostError, match=r"partition 0 .* begins at offset 3, wanted 0"):
            asyncio.run(run_until_it_fails(settings))

    async def skip() -> int:
        server = Server(settings, skip_lost=True)
        await server.start()
        try:
            while server._loaded is None or not server._loaded.ingest.is_caught_up:
                await asyncio.sleep(0.02)
            return len(server._loaded.ingest.status().gaps)
        finally:
            await server.stop()

    assert asyncio.run(asyncio.wait_for(skip(), 60)) == 1
