"""An event that breaks what applies it is put away with its place; the stream goes on with a state that is whole."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from springtide import state as state_module
from springtide.settings.model import Settings
from springtide.state_content import state_content
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.topics import client_config

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]


@pytest.mark.long
@pytest.mark.fault("event that breaks apply")
@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_poison_event_is_put_away_and_the_state_is_made_whole(
    settings: Settings,
    run_server: RunServer,
    publish: Publish,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    has_checkpoint: bool,
) -> None:
    """The batch is applied in part before it fails, as a mistake in the middle of applying does."""
    apply_events = state_module.apply_events

    def apply_or_break(graph: Any, batch: Any, *others: Any) -> Any:
        found = apply_events(graph, batch, *others)
        if "poison" in batch.interactions.user_ids:
            raise ZeroDivisionError("a mistake of ours")
        return found

    monkeypatch.setattr(state_module, "apply_events", apply_or_break)
    later = [make_purchase("ann", "i1"), make_purchase("poison", "i2"), make_purchase("bob", "i3")]
    later += [make_purchase("poison", "i4"), *(make_purchase(f"v{number}", "i5") for number in range(20))]

    async def scenario() -> dict[str, str]:
        async with run_server(settings) as running:
            position = publish(settings, diagonal_stream)
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            if has_checkpoint:
                running.server._loaded.ingest.checkpoint_now()
            position = publish(settings, later)
            offsets = dict(position.next_offsets)
            while True:
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                await running.recommender.Recommend(pb.RecommendRequest(count=3))  # It answers all the while.
                reached = status.position.next_offsets
                if all(reached[number] >= offset for number, offset in offsets.items()):
                    break
                await asyncio.sleep(0.02)
            assert status.num_dead_letters["poison"] == 2
            await running.recommender.Recommend(pb.RecommendRequest(min_position=publish(settings, later[:1])))
            running.server._loaded.ingest.checkpoint_now()  # Between two batches: weights have learned all by then.
            return state_content(running.server._loaded.answering.state)

    found = asyncio.run(asyncio.wait_for(scenario(), 200))

    monkeypatch.setattr(state_module, "apply_events", apply_events)
    clean = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"topic": f"{settings.kafka.topic}-clean"}),
            "checkpoint": settings.checkpoint.model_copy(update={"url": str(tmp_path / "clean")}),
        }
    )

    async def in_one_go() -> dict[str, str]:
        events = [*diagonal_stream, *later, later[0]]
        position = publish(clean, [event for event in events if event.interaction.user != "poison"])
        async with run_server(clean) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            running.server._loaded.ingest.checkpoint_now()  # Between two batches: weights have learned all by then.
            return state_content(running.server._loaded.answering.state)

    assert found == asyncio.run(in_one_go())
    consumer = KafkaConsumer(
        settings.kafka.dead_letter_topic,
        **client_config(settings.kafka),
        auto_offset_reset="earliest",
        consumer_timeout_ms=2_000,
    )
    letters = [dict(record.headers) for record in consumer]
    consumer.close()
    assert [letter["springtide.reason"] for letter in letters] == [b"poison", b"poison"]
    assert {letter["__streams.errors.message"] for letter in letters} == {b"ZeroDivisionError: a mistake of ours"}
