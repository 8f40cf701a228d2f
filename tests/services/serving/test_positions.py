"""Waiting for a position of the stream: woken by another thread, or given up in time."""

import asyncio
import threading
import time

from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition
from springtide_services.serving.positions import PositionWaiters


def make_state(next_offsets: dict[int, int]) -> LiveState:
    state = LiveState(Settings(), {})
    state.position = StreamPosition("events", "", next_offsets)
    return state


def waiters(state: LiveState) -> PositionWaiters:
    return PositionWaiters(asyncio.get_running_loop(), state.has_reached)


def test_a_position_that_is_reached_needs_no_waiting() -> None:
    async def wait() -> bool:
        return await waiters(make_state({0: 5, 1: 2})).wait_for({0: 5, 1: 1}, 0)

    assert asyncio.run(wait())


def test_a_waiter_is_woken_once_all_its_partitions_are_there() -> None:
    async def wait() -> tuple[bool, list[bool]]:
        state = make_state({0: 5, 1: 2})
        positions = waiters(state)
        waiting = asyncio.create_task(positions.wait_for({0: 6, 1: 3}, 5))
        still_waits = []
        for reached in ({0: 6, 1: 2}, {0: 6, 1: 3}):
            await asyncio.sleep(0.01)
            still_waits.append(not waiting.done())
            state.advance(reached)
            moving = threading.Thread(target=positions.notify)
            moving.start()
            moving.join()
        return await waiting, still_waits

    started = time.monotonic()
    assert asyncio.run(wait()) == (True, [True, True])
    assert time.monotonic() - started < 1


def test_a_waiter_gives_up_in_time() -> None:
    async def wait() -> bool:
        positions = waiters(make_state({0: 5, 1: 2}))
        return await positions.wait_for({0: 6}, 0.05)

    started = time.monotonic()
    assert not asyncio.run(wait())
    assert 0.05 <= time.monotonic() - started < 1
