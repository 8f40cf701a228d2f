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


def test_the_stream_goes_on_once_those_who_waited_are_answered() -> None:
    order: list[str] = []

    async def answer(positions: PositionWaiters) -> None:
        assert await positions.wait_for({0: 6}, 5)
        for _ in range(5):  # What it takes to rank and to respond: turns of the loop.
            await asyncio.sleep(0)
        order.append("answered")

    async def run() -> None:
        state = make_state({0: 5})
        positions = waiters(state)
        answering = [asyncio.create_task(answer(positions)) for _ in range(3)]
        await asyncio.sleep(0.01)

        def move() -> None:
            state.advance({0: 6})
            positions.notify_and_give_way()
            order.append("went on")

        await asyncio.gather(asyncio.to_thread(move), *answering)

    for _ in range(10):
        asyncio.run(run())
    assert order.count("went on") == 10
    # On a machine so busy that three answers take more than 3 ms, the stream goes on before.
    assert sum(order[number : number + 4] == [*["answered"] * 3, "went on"] for number in range(0, 40, 4)) > 5


def test_answers_that_take_long_hold_the_stream_for_a_moment_and_not_each_time() -> None:
    async def run() -> list[bool]:
        state = make_state({0: 5})
        positions = waiters(state)
        gave_way = []

        def move(number: int) -> None:
            state.advance({0: number + 1})
            wait, waits = positions._are_answered.wait, []
            positions._are_answered.wait = lambda timeout: waits.append(timeout) or wait(timeout)  # type: ignore[method-assign,func-returns-value]
            positions.notify_and_give_way()
            positions._are_answered.wait = wait  # type: ignore[method-assign]
            gave_way.append(bool(waits))

        async def answer(number: int) -> None:
            assert await positions.wait_for({0: number + 1}, 5)
            await asyncio.sleep(0.5)

        answering = []
        for number in range(5, 9):
            answering.append(asyncio.create_task(answer(number)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.to_thread(move, number)
        await asyncio.gather(*answering)
        return gave_way

    started = time.monotonic()
    gave_way = asyncio.run(run())
    assert gave_way[0]
    assert not all(gave_way), "each event would wait for the answers before it"
    assert time.monotonic() - started < 1.5


def test_nobody_is_woken_for_a_position_that_is_not_reached() -> None:
    async def wait() -> tuple[bool, bool]:
        state = make_state({0: 5})
        positions = waiters(state)
        waiting = asyncio.create_task(positions.wait_for({0: 9}, 0.2))
        await asyncio.sleep(0.01)
        state.advance({0: 6})
        return positions.notify(), await waiting

    assert asyncio.run(wait()) == (False, False)
