"""Waiting for a position of the stream: woken by another thread, or given up in time."""

import asyncio
import threading
import time
from collections.abc import Mapping

from springtide_services.serving.positions import PositionWaiters


class Graph:
    """Stands where it is told to."""

    def __init__(self) -> None:
        self.next_offsets: dict[int, int] = {0: 5, 1: 2}

    def __call__(self) -> Mapping[int, int]:
        return self.next_offsets


def test_a_position_that_is_reached_needs_no_waiting() -> None:
    async def wait() -> bool:
        return await PositionWaiters(asyncio.get_running_loop(), Graph()).wait_for({0: 5, 1: 1}, 0)

    assert asyncio.run(wait())


def test_a_waiter_is_woken_once_all_its_partitions_are_there() -> None:
    async def wait() -> tuple[bool, list[bool]]:
        graph = Graph()
        positions = PositionWaiters(asyncio.get_running_loop(), graph)
        waiting = asyncio.create_task(positions.wait_for({0: 6, 1: 3}, 5))
        still_waits = []
        for reached in ({0: 6, 1: 2}, {0: 6, 1: 3}):
            await asyncio.sleep(0.01)
            still_waits.append(not waiting.done())
            graph.next_offsets = reached
            moving = threading.Thread(target=positions.notify)
            moving.start()
            moving.join()
        return await waiting, still_waits

    started = time.monotonic()
    assert asyncio.run(wait()) == (True, [True, True])
    assert time.monotonic() - started < 1


def test_a_waiter_gives_up_in_time() -> None:
    async def wait() -> bool:
        positions = PositionWaiters(asyncio.get_running_loop(), Graph())
        return await positions.wait_for({0: 6}, 0.05)

    started = time.monotonic()
    assert not asyncio.run(wait())
    assert 0.05 <= time.monotonic() - started < 1


def test_a_partition_that_was_never_read_counts_as_its_beginning() -> None:
    async def wait() -> tuple[bool, bool]:
        positions = PositionWaiters(asyncio.get_running_loop(), Graph())
        return await positions.wait_for({2: 0}, 0), await positions.wait_for({2: 1}, 0)

    assert asyncio.run(wait()) == (True, False)
