"""Waiting for a position of the stream: woken by another thread, or given up in time."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition
from springtide_services.serving import positions as positions_module
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
        waiting = asyncio.create_task(positions.wait_for({0: 6, 1: 3}, 60))
        still_waits = []
        for reached in ({0: 6, 1: 2}, {0: 6, 1: 3}):
            await asyncio.sleep(0.01)  # Nothing may wake it.
            still_waits.append(not waiting.done())
            state.advance(reached)
            moving = threading.Thread(target=positions.notify)
            moving.start()
            moving.join()
        return await waiting, still_waits

    started = time.monotonic()
    assert asyncio.run(wait()) == (True, [True, True])
    assert time.monotonic() - started < 30, "woken, and not at the end of its time"


def test_a_waiter_gives_up_in_time() -> None:
    async def wait() -> bool:
        positions = waiters(make_state({0: 5, 1: 2}))
        return await positions.wait_for({0: 6}, 0.05)

    started = time.monotonic()
    assert not asyncio.run(wait())
    assert 0.05 <= time.monotonic() - started < 30


def test_the_stream_goes_on_once_those_who_waited_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions_module, "_LONGEST_WAY_S", 30.0)  # On a busy machine answers take more than 3 ms.
    order: list[str] = []

    async def answer(positions: PositionWaiters) -> None:
        assert await positions.wait_for({0: 6}, 60)
        for _ in range(5):  # What it takes to rank and to respond: turns of the loop.
            await asyncio.sleep(0)
        order.append("answered")

    async def run() -> None:
        state = make_state({0: 5})
        positions = waiters(state)
        answering = [asyncio.create_task(answer(positions)) for _ in range(3)]
        await asyncio.sleep(0)  # They wait now.

        def move() -> None:
            state.advance({0: 6})
            positions.notify_and_give_way()
            order.append("went on")

        await asyncio.gather(asyncio.to_thread(move), *answering)

    for _ in range(10):
        asyncio.run(run())
    assert order == [*["answered"] * 3, "went on"] * 10


def test_answers_that_take_long_hold_the_stream_for_a_moment_and_not_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(positions_module, "time", SimpleNamespace(monotonic=lambda: now_s))

    async def run() -> list[float]:
        nonlocal now_s
        state = make_state({0: 5})
        positions = waiters(state)
        are_over, held_s = asyncio.Event(), []

        def wait(timeout_s: float) -> bool:
            nonlocal now_s
            now_s += timeout_s
            held_s[-1] += timeout_s
            return False

        positions._are_answered.wait = wait  # type: ignore[method-assign,assignment]

        def move(number: int) -> None:
            held_s.append(0.0)
            state.advance({0: number + 1})
            positions.notify_and_give_way()

        async def answer(number: int) -> None:
            assert await positions.wait_for({0: number + 1}, 60)
            await are_over.wait()

        answering = []
        for number in range(5, 9):
            if number == 8:
                now_s += positions_module._LONGEST_WAY_S
            answering.append(asyncio.create_task(answer(number)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.to_thread(move, number)
        are_over.set()
        await asyncio.gather(*answering)
        return held_s

    longest_s = positions_module._LONGEST_WAY_S
    assert asyncio.run(run()) == [longest_s, 0.0, 0.0, longest_s], "half of the time at most"


def test_nobody_is_woken_for_a_position_that_is_not_reached() -> None:
    async def wait() -> tuple[bool, bool]:
        state = make_state({0: 5})
        positions = waiters(state)
        waiting = asyncio.create_task(positions.wait_for({0: 9}, 0.2))
        await asyncio.sleep(0.01)  # Nothing may wake it.
        state.advance({0: 6})
        return positions.notify(), await waiting

    assert asyncio.run(wait()) == (False, False)
