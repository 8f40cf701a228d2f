"""A first model comes as soon as there is enough to learn from, over a real broker, server and trainer."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any

import pytest

from springtide.clock import wall_ms
from springtide.model.registry import ModelStore
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import first_training as first_training_module
from springtide_services.stream.producer import EventPublisher
from springtide_services.training.training_folder import TrainingFolder, TrainingStatus

RunTrainer = Callable[[Settings], AbstractContextManager[object]]
RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]

PAUSE_S = 1.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_training(settings, first_model_pause_s=PAUSE_S)


def with_training(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"training": settings.training.model_copy(update=changes)})


def has_request(settings: Settings) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return bool(TrainingFolder.beside_models(settings).requests())

    return has


async def assert_none_is_requested(settings: Settings) -> None:
    """Wait for three pauses, in which the server reads what was published."""
    await asyncio.sleep(3 * PAUSE_S)  # Nothing may be requested.
    assert TrainingFolder.beside_models(settings).requests() == []


@pytest.mark.long
@pytest.mark.timeout(400)
def test_first_model_comes_by_itself_soon_after_a_burst_and_once(
    settings: Settings,
    run_server: RunServer,
    run_trainer: RunTrainer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    folder = TrainingFolder.beside_models(settings)

    async def scenario() -> None:
        with run_trainer(settings):
            async with run_server(settings) as running:
                await asyncio.to_thread(publish, settings, diagonal_stream)
                published_ms = wall_ms()

                async def is_served() -> bool:
                    status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                    assert not status.training.failure, status.training.failure
                    return bool(status.model_version)

                async def is_begun() -> bool:
                    return folder.status() is not None

                async def is_closed() -> bool:
                    return folder.requests() == []

                await eventually(is_begun, within_s=120)
                status = folder.status()
                assert status is not None
                waited_ms = status.started_ms - published_ms
                assert 1_000 * (PAUSE_S - 0.5) < waited_ms < settings.checkpoint.every_s * 1_000 / 2
                await eventually(is_served, within_s=120)
                await eventually(is_closed, within_s=120)
                manifest = ModelStore(settings.model.url).manifest("000001")
                assert (manifest.training, manifest.request_id) == ("retrain", status.request_id)
                assert manifest.graph_cut["num_events"] == len(diagonal_stream)
                assert status.request_id, "not by the schedule"
                await asyncio.to_thread(publish, settings, diagonal_stream)
                await assert_none_is_requested(settings)
                assert ModelStore(settings.model.url).versions() == ["000001"]

        async with run_server(settings) as running:
            await asyncio.to_thread(publish, settings, diagonal_stream)
            await assert_none_is_requested(settings)

    asyncio.run(scenario())


@contextmanager
def going_on(settings: Settings, make_purchase: MakePurchase, factor: float) -> Iterator[None]:
    """Publish purchases meanwhile: first 120, then ten times a second enough to grow by a factor a second."""
    stopping = threading.Event()

    def go_on() -> None:
        num, wanted = 0, 120.0
        with EventPublisher(settings) as publisher:
            while not stopping.is_set():
                for number in range(num, round(wanted)):
                    publisher.publish(make_purchase(f"u{number % 16}", f"i{number % 37}"))
                num, wanted = round(wanted), wanted * factor**0.1
                stopping.wait(0.1)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@pytest.mark.long
@pytest.mark.parametrize(
    ("factor", "max_wait_s", "least_s", "most_s"),
    [
        pytest.param(1.3, 4.0, 3.0, 12.0, id="a burst that does not end waits no longer than it may"),
        pytest.param(1.005, 600.0, 0.5, 12.0, id="a trickle is no burst"),
    ],
)
def test_stream_that_goes_on_does_not_hold_the_first_model_back(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    make_purchase: MakePurchase,
    factor: float,
    max_wait_s: float,
    least_s: float,
    most_s: float,
) -> None:
    settings = with_training(settings, first_model_max_wait_s=max_wait_s)

    async def scenario() -> float:
        async with run_server(settings):
            started_s = time.monotonic()
            with going_on(settings, make_purchase, factor):
                await eventually(has_request(settings), within_s=120)
                return time.monotonic() - started_s

    assert least_s < asyncio.run(scenario()) < most_s
    (request,) = TrainingFolder.beside_models(settings).requests()
    assert request.reason.startswith("the first model, from ")


@pytest.mark.long
def test_too_few_positive_interactions_are_not_enough(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    views = []
    for event in diagonal_stream:
        views.append(events_pb2.Event())
        views[-1].CopyFrom(event)
        views[-1].interaction.type = "rating"
        views[-1].interaction.value = 3.0

    async def scenario() -> None:
        async with run_server(settings):
            await asyncio.to_thread(publish, settings, views)
            await assert_none_is_requested(settings)
            await asyncio.to_thread(publish, settings, diagonal_stream)
            await eventually(has_request(settings), within_s=120)

    asyncio.run(scenario())


@pytest.mark.long
def test_restarted_server_does_not_ask_while_a_training_is_under_way_or_about_to_begin(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    monkeypatch: pytest.MonkeyPatch,
    publish: Publish,
) -> None:
    monkeypatch.setattr(first_training_module, "_LOOK_EVERY_S", 0.5)
    monkeypatch.setattr(first_training_module, "_BEGUN_MS", 1_000)
    folder = TrainingFolder.beside_models(settings)

    async def scenario() -> None:
        async with run_server(with_training(settings, first_model_pause_s=None)) as running:
            await asyncio.to_thread(publish, settings, diagonal_stream)
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
        (request,) = folder.requests()
        folder.close(request.request_id)  # Only the checkpoint is left, on which the trainer begins by itself.
        async with run_server(settings) as running:
            await assert_none_is_requested(settings)

            folder.write_status(TrainingStatus("fit", "retrain", "", started_ms=wall_ms(), updated_ms=wall_ms()))
            await asyncio.to_thread(publish, settings, diagonal_stream)
            await assert_none_is_requested(settings)

            folder.write_status(TrainingStatus("failed", "retrain", "", started_ms=wall_ms(), updated_ms=wall_ms()))
            await eventually(has_request(settings), within_s=120)
        assert len(folder.requests()) == 1

    asyncio.run(scenario())
