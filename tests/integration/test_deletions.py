"""A deletion holds for what happened before it, whichever partition is read first, and on every server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import wall_ms
from springtide.settings.model import CheckpointSettings, Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]


def _delete(node_type: str, node_id: str, seconds_ago: float) -> events_pb2.Event:
    event_time = Timestamp()
    event_time.FromMilliseconds(wall_ms() - round(1_000 * seconds_ago))
    return events_pb2.Event(event_time=event_time, node_delete=events_pb2.NodeDelete(type=node_type, id=node_id))


async def _items(running: Any, position: pb.GraphPosition) -> list[tuple[str, float]]:
    """Return what a stranger is recommended once the graph has reached a position: items and scores."""
    request = pb.RecommendRequest(user="a stranger", count=9, min_position=position)
    request.wait.seconds = 10
    answer = await running.recommender.Recommend(request)
    assert not answer.is_behind_min_position
    return [(item.item, item.score) for item in answer.items]


def test_a_deleted_item_stays_deleted_on_two_servers_and_after_a_restart(
    settings: Settings,
    run_server: RunServer,
    make_purchase: MakePurchase,
    eventually: Callable[..., Awaitable[float]],
    tmp_path: Path,
    publish: Publish,
) -> None:
    other = settings.model_copy(update={"checkpoint": CheckpointSettings(url=str(tmp_path / "others"))})

    async def scenario() -> None:
        async with run_server(settings) as running:
            # The first server reads the deletion before the older purchases, which lie in another partition; the second
            # one reads both partitions from their beginning.
            publish(settings, [make_purchase("ann", "tea", 90), make_purchase("eve", "milk", 95)])
            deleted = publish(settings, [_delete("item", "milk", 30), _delete("user", "eve", 20)])
            await _items(running, deleted)
            late = [make_purchase(user, "milk", 60) for user in ("ann", "bob", "cid")]
            reached = publish(settings, [*late, make_purchase("eve", "tea", 25), make_purchase("bob", "bread", 10)])
            assert set(deleted.next_offsets) == {0, 1}
            assert set(reached.next_offsets) == {0}
            before = await _items(running, reached)
            status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            assert [item for item, _ in before] == ["bread", "tea"]
            assert status.num_edges["user:purchase:item"] == 2
        async with run_server(settings) as restarted:
            assert await _items(restarted, reached) == before
            async with run_server(other) as second:
                assert await _items(second, reached) == before
                again = publish(settings, [make_purchase("bob", "milk", seconds) for seconds in (31, 1)])

                async def agree() -> bool:
                    after = [await _items(server, again) for server in (restarted, second)]
                    return after[0] == after[1] and sorted(item for item, _ in after[0]) == ["bread", "milk", "tea"]

                await eventually(agree)  # Weights of items are computed again every 0.1 s.

    asyncio.run(scenario())
