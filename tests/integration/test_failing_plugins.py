"""A real server whose plugins raise, answer nonsense or block: requests are answered, and operators are told."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from springtide.plugins import guarded_parts, guarding
from springtide.settings.model import PartSettings, PluginSettings, Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.producer import EventPublisher
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]
Eventually = Callable[..., Awaitable[float]]

FOLDER = Path(__file__).parents[1] / "plugin_faults" / "served"
MAX_CALL_S = 0.5  # A busy machine may hold up a call that long by itself: then the part is left out once more.
BROKEN: list[tuple[dict[str, str], threading.Event]] = []  # What each test has to mend at its end.
FAULTS = {"raises": "raised", "answers nonsense": "wrong", "blocks": "blocked"}


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let parts rest for no time, so that one test can break one after the other."""
    monkeypatch.setattr(guarding, "_FIRST_REST_S", 0.0)
    monkeypatch.setattr(guarding, "_MAX_REST_S", 0.0)
    monkeypatch.setattr(guarding, "_BLOCKED_S", 0.3)
    yield
    for ways, released in BROKEN:
        ways.clear()
        released.set()
    BROKEN.clear()
    sys.modules.pop("springtide_plugin_faulty", None)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    ranking = settings.ranking.model_copy(update={"context_weights": {"popularity": {}, "repeat": {}, "faulty": {}}})
    encoder = settings.model.model_copy(update={"encoder": PartSettings(name="faulty")})
    plugins = PluginSettings(folder=str(FOLDER), max_call_s=MAX_CALL_S)
    events = settings.events.model_copy(update={"decoders": {"faulty": {}}})
    return settings.model_copy(update={"ranking": ranking, "model": encoder, "plugins": plugins, "events": events})


class Faulty:
    """The plugin that a running server has loaded; a training loads its own."""

    def __init__(self) -> None:
        module = sys.modules["springtide_plugin_faulty"]
        self.ways, self._released = module.ways, module.released
        BROKEN.append((self.ways, self._released))

    def mend(self) -> None:
        """Let calls return that are blocked, and all others work."""
        self.ways.clear()
        self._released.set()
        self._released.clear()


async def status_of(running: Any) -> admin_pb2.GetStatusResponse:
    status: admin_pb2.GetStatusResponse = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
    return status


@pytest.mark.long
@pytest.mark.fault("plugin fails or blocks while an answer is made")
def test_answers_are_given_whatever_a_weight_or_an_encoder_does(
    settings: Settings,
    run_server: RunServer,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
    eventually: Eventually,
    make_purchase: MakePurchase,
) -> None:
    """New users make the encoder fold in; weights of moments that are too old make the item side be asked."""

    async def ask(running: Any, number: int) -> list[str]:
        running.forget_weights()
        request = pb.RecommendRequest(user="u1", recent_items=[f"i{number}"], count=3)
        answer = await running.recommender.Recommend(request, timeout=5.0)
        return [item.item for item in answer.items]

    async def scenario() -> None:
        async with run_server(settings) as running:
            faulty = Faulty()
            position = publish(settings, diagonal_stream)
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            await asyncio.to_thread(train_once, settings)
            await eventually(lambda: serves_model(running))
            status = await status_of(running)
            assert [(each.name, each.way) for each in status.plugins] == [
                ("springtide_plugins", "built in"),
                ("faulty.py", "plugins.folder"),
            ]
            faulty.mend()
            usual = await ask(running, 3)
            for hook in ("bucket", "item_log_lifts", "history_log_lifts", "related", "layer", "readout"):
                for way, fault in FAULTS.items():
                    faulty.ways[hook] = way
                    started = time.monotonic()
                    assert len(await ask(running, 3)) == 3, (hook, way)
                    took_s = time.monotonic() - started
                    assert way != "blocks" or took_s >= MAX_CALL_S, (hook, way, took_s)
                    if hook not in ("layer", "readout"):
                        assert await ask(running, 3) == usual, "the weight says nothing when it works, too"
                    told = {(each.hook, each.fault) for each in (await status_of(running)).failing_parts}
                    expected = "raised" if (hook, way) == ("bucket", "answers nonsense") else fault
                    assert (hook, expected) in told, told
                    faulty.mend()
            assert await ask(running, 3) == usual
            bypassed = dict((await status_of(running)).num_bypassed)
            assert set(bypassed) == {"context weight 'faulty'", "encoder 'faulty'"}

    asyncio.run(asyncio.wait_for(scenario(), 120))


async def serves_model(running: Any) -> bool:
    return bool((await status_of(running)).model_version)


@asynccontextmanager
async def blocked(running: Any, faulty: Faulty, eventually: Eventually) -> AsyncIterator[admin_pb2.GetStatusResponse]:
    """Wait until the stream is told to wait for the plugin; afterwards let it go on."""

    async def is_told() -> bool:
        return (await status_of(running)).stream_problem.kind == "plugin"

    await eventually(is_told)
    yield await status_of(running)
    faulty.mend()

    async def reads() -> bool:
        return (await status_of(running)).stream_health == "reading"

    await eventually(reads)


@pytest.mark.fault("plugin fails or blocks while it learns")
@pytest.mark.parametrize("way", ["raises", "blocks"])
def test_stream_goes_on_without_a_weight_that_fails_to_learn_and_the_next_start_lets_it_learn_anew(
    settings: Settings,
    run_server: RunServer,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    monkeypatch.setattr(guarded_parts, "_LEARNING_S", 0.2)

    async def scenario() -> None:
        async with run_server(settings) as running:
            faulty = Faulty()
            first, second = diagonal_stream[:50], diagonal_stream[50:]
            await running.recommender.Recommend(pb.RecommendRequest(min_position=publish(settings, first)))
            faulty.ways["observe"] = way
            request = pb.RecommendRequest(min_position=publish(settings, second), user="u1", count=3)
            assert len((await running.recommender.Recommend(request, timeout=10.0)).items) == 3
            status = await status_of(running)
            assert status.stream_health == "reading"
            assert not status.num_dead_letters
            [failing] = [each for each in status.failing_parts if each.hook == "observe"]
            assert (failing.part, failing.fault) == ("context weight 'faulty'", FAULTS[way])
            faulty.mend()
        async with run_server(settings) as running:  # From the checkpoint that the end has written.
            weight = running.server._loaded.answering.state.context_weights["faulty"]
            assert weight.num_observed == len(diagonal_stream)
            assert not (await status_of(running)).failing_parts

    asyncio.run(asyncio.wait_for(scenario(), 120))


@pytest.mark.fault("plugin fails or blocks while a record is decoded")
def test_stream_that_waits_for_a_plugin_names_it_and_answers_go_on(
    settings: Settings,
    run_server: RunServer,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
    eventually: Eventually,
    make_purchase: MakePurchase,
) -> None:
    def publish_pair(text: bytes) -> None:
        with EventPublisher(settings) as publisher:
            producer = publisher._producer
            producer.send(settings.kafka.topic, value=text, headers=[("content-type", b"text/x-pair")]).get(30)

    async def scenario() -> None:
        async with run_server(settings) as running:
            faulty = Faulty()
            position = publish(settings, diagonal_stream)
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))

            faulty.ways["decode"] = "raises"
            publish_pair(b"bob i2")
            await eventually(lambda: has_letters(running, 1))
            faulty.ways["decode"] = "answers nonsense"
            publish_pair(b"bob i2")
            await eventually(lambda: has_letters(running, 2))
            faulty.ways["recognises"] = "raises"
            publish_pair(b"bob i2")
            await eventually(lambda: has_letters(running, 3))
            faulty.mend()
            faulty.ways["decode"] = "blocks"
            publish_pair(b"bob i2")
            async with blocked(running, faulty, eventually) as status:
                assert status.stream_health == "waiting"
                assert "decoder 'faulty' of .../faulty.py does not return from decode" in status.stream_problem.message
                await eventually(lambda: not_reading(running))
                assert await running.is_serving()
                answer = await running.recommender.Recommend(pb.RecommendRequest(user="u1", count=3), timeout=5.0)
                assert len(answer.items) == 3

            faulty.ways["decode"] = "blocks"
            publish_pair(b"bob i2")

            async def is_told() -> bool:
                return (await status_of(running)).stream_problem.kind == "plugin"

            await eventually(is_told)
            # And the server ends, although the stream does not.

    asyncio.run(asyncio.wait_for(scenario(), 120))


async def not_reading(running: Any) -> bool:
    return not await running.is_serving("stream")


async def has_letters(running: Any, count: int, reason: str = "undecodable") -> bool:
    return (await status_of(running)).num_dead_letters[reason] >= count
