"""Attributes from the broker to the client: the latest event time wins, and one wrong value blocks nothing."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from google.protobuf.duration_pb2 import Duration

from springtide.checkpoint import CheckpointStore
from springtide.clock import wall_ms
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.producer import EventPublisher

Events = list[events_pb2.Event]
RunServer = Callable[..., AbstractAsyncContextManager[Any]]

ITEMS = [f"i{number}" for number in range(6)]


def _upsert(item: str, seconds_ago: int, **attributes: object) -> events_pb2.Event:
    event = events_pb2.Event(node_upsert={"type": "item", "id": item, **attributes})
    event.event_time.FromMilliseconds(wall_ms() - 1_000 * seconds_ago)
    return event


def _colours(item: str, seconds_ago: int, *colours: str) -> events_pb2.Event:
    return _upsert(item, seconds_ago, categories={"colour": {"values": colours}})


def _delete(item: str, seconds_ago: int) -> events_pb2.Event:
    event = events_pb2.Event(node_delete={"type": "item", "id": item})
    event.event_time.FromMilliseconds(wall_ms() - 1_000 * seconds_ago)
    return event


async def _of_colour(running: Any, colour: str) -> list[str]:
    filters = [pb.CategoryFilter(attribute="colour", values=[colour])]
    answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann", category_filters=filters))
    return sorted(item.item for item in answer.items)


async def _publish(running: Any, settings: Settings, events: Events) -> None:
    with EventPublisher(settings) as publisher:
        offsets: dict[int, int] = {}
        for event in events:
            partition, offset = publisher.publish(event)
            offsets[partition] = offset + 1
    position = pb.GraphPosition(next_offsets=offsets)
    answer = await running.recommender.Recommend(
        pb.RecommendRequest(user="ann", min_position=position, wait=Duration(seconds=10))
    )
    assert not answer.is_behind_min_position


async def _dead_letters(running: Any) -> dict[str, int]:
    return dict((await running.admin.GetStatus(admin_pb2.GetStatusRequest())).num_dead_letters)


def test_replayed_catalogue_and_late_values_undo_nothing(
    settings: Settings, run_server: RunServer, make_purchase: Callable[..., events_pb2.Event]
) -> None:
    catalogue = [_colours(item, 300, "red") for item in ITEMS]
    changes = [_colours("i0", 100, "blue"), _colours("i1", 100), _colours("i2", 200, "blue")]

    async def scenario() -> None:
        async with run_server(settings) as running:
            await _publish(running, settings, [make_purchase("bob", item, 250) for item in ITEMS])
            await _publish(running, settings, [*catalogue, *changes, *catalogue, _colours("i3", 310, "blue")])
            assert await _of_colour(running, "blue") == ["i0", "i2"]
            assert await _of_colour(running, "red") == ["i3", "i4", "i5"]
        async with run_server(settings) as running:  # From its checkpoint.
            await _publish(running, settings, [*catalogue, _colours("i1", 150, "blue")])
            assert await _of_colour(running, "blue") == ["i0", "i2"]
            assert await _of_colour(running, "red") == ["i3", "i4", "i5"]

    asyncio.run(scenario())


def test_one_value_of_another_kind_and_one_node_of_thousands_of_attributes_block_nothing(
    settings: Settings, run_server: RunServer, make_purchase: Callable[..., events_pb2.Event]
) -> None:
    async def scenario() -> None:
        async with run_server(settings) as running:
            await _publish(running, settings, [make_purchase("bob", item, 250) for item in ITEMS])
            await _publish(running, settings, [_upsert("i0", 300, texts={"colour": "red"})])
            await _publish(running, settings, [_delete("i0", 200)])
            await _publish(running, settings, [_colours(item, 100, "red") for item in ITEMS[1:4]])
            assert await _of_colour(running, "red") == ["i1", "i2", "i3"]
            assert await _dead_letters(running) == {}
            wrong = _upsert("i4", 90, texts={"colour": "red"}, categories={"size": {"values": ["L"]}})
            await _publish(running, settings, [wrong])
            assert await _dead_letters(running) == {"wrong_attribute_kind": 1}
            filters = [pb.CategoryFilter(attribute="size", values=["L"])]
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann", category_filters=filters))
            assert [item.item for item in answer.items] == ["i4"]
            assert await _of_colour(running, "red") == ["i1", "i2", "i3"]
            names = [f"a{number}" for number in range(1_500)]
            wide = _upsert("i5", 80, texts={f"t {name}": "" for name in names}, numbers=dict.fromkeys(names, 1.0))
            await _publish(running, settings, [wide, _colours("i4", 80, "red")])
            assert await _dead_letters(running) == {"wrong_attribute_kind": 1, "too_many_attributes": 1}
            assert await _of_colour(running, "red") == ["i1", "i2", "i3", "i4"]
        state = LiveState(settings, {})
        store = CheckpointStore(settings.checkpoint.url)
        store.restore(store.latest(), state)
        assert state.graph.nodes("item").attribute_names() == {"colour", "size"}

    asyncio.run(scenario())


def test_kind_of_the_settings_refuses_others_alone(
    settings: Settings, run_server: RunServer, make_purchase: Callable[..., events_pb2.Event]
) -> None:
    settings = settings.model_copy(update={"attributes": {"item": {"colour": "category"}}})

    async def scenario() -> None:
        async with run_server(settings) as running:
            assert await _of_colour(running, "red") == [], "an attribute of the settings is known before any value"
            await _publish(running, settings, [make_purchase("bob", item, 250) for item in ITEMS])
            await _publish(running, settings, [_upsert(item, 300, texts={"colour": "red"}) for item in ITEMS])
            await _publish(running, settings, [_colours("i1", 310, "red")])
            assert await _of_colour(running, "red") == ["i1"], "a refused value has no time, either"
            assert await _dead_letters(running) == {"wrong_attribute_kind": 6}

    asyncio.run(scenario())
