"""The micro-batcher: what waits together is scored together, and one bad query fails alone."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest

from springtide.errors import InvalidRequestError
from springtide_services.serving.batching import MicroBatcher, ShortCalls


class Doubler:
    """Doubles numbers and remembers the batches; a batch with a negative number is refused whole."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.began.set()
        self.gate.wait(60)
        self.batches.append(list(numbers))
        if min(numbers) < 0:
            raise InvalidRequestError("number", f"wanted 0 or more, got {min(numbers)}")
        return [2 * number for number in numbers]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def batcher(doubler: Doubler) -> Iterator[MicroBatcher[int, int]]:
    batcher = MicroBatcher(doubler, max_batch=4)
    yield batcher
    batcher.close()


async def _behind_a_busy_worker(
    doubler: Doubler, batcher: MicroBatcher[int, int], ask: Callable[[], Awaitable[None]]
) -> None:
    """Let ``ask`` submit while the worker is held by a first query."""
    doubler.gate.clear()
    doubler.began.clear()
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(doubler.began.wait, 60)
    asking = asyncio.ensure_future(ask())
    for _ in range(20):  # Turns of the loop, in which all is submitted.
        await asyncio.sleep(0)
    doubler.gate.set()
    await asking
    assert await first == 0


def test_a_query_is_answered_with_its_own_answer(batcher: MicroBatcher[int, int]) -> None:
    async def ask() -> list[int]:
        return await asyncio.gather(*(batcher.submit(number) for number in range(50)))

    assert asyncio.run(ask()) == [2 * number for number in range(50)]


def test_what_waits_is_scored_together_up_to_the_bound(doubler: Doubler, batcher: MicroBatcher[int, int]) -> None:
    async def ask() -> None:
        await asyncio.gather(*(batcher.submit(number) for number in (1, 2, 3, 4, 5)))

    asyncio.run(_behind_a_busy_worker(doubler, batcher, ask))
    assert doubler.batches == [[0], [1, 2, 3, 4], [5]]


def test_a_bad_query_fails_alone(doubler: Doubler, batcher: MicroBatcher[int, int]) -> None:
    outcomes: list[int | BaseException] = []

    async def ask() -> None:
        outcomes.extend(
            await asyncio.gather(*(batcher.submit(number) for number in (1, -2, 3)), return_exceptions=True)
        )

    asyncio.run(_behind_a_busy_worker(doubler, batcher, ask))
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], InvalidRequestError)
    assert outcomes[2] == 6


def test_a_query_that_was_given_up_is_not_scored(doubler: Doubler, batcher: MicroBatcher[int, int]) -> None:
    async def ask() -> None:
        given_up = asyncio.create_task(batcher.submit(7))
        kept = asyncio.create_task(batcher.submit(8))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await kept == 16

    asyncio.run(_behind_a_busy_worker(doubler, batcher, ask))
    assert doubler.batches == [[0], [8]]


def test_an_idle_batcher_does_not_wait_for_a_batch_to_fill(batcher: MicroBatcher[int, int]) -> None:
    async def ask_one_after_another() -> float:
        await batcher.submit(0)
        took_s = []
        for number in range(100):
            started = time.perf_counter()
            await batcher.submit(number)
            took_s.append(time.perf_counter() - started)
        return sorted(took_s)[10]  # The others may have waited for a busy machine.

    assert asyncio.run(ask_one_after_another()) < 0.005  # Mostly 0.0001 s.


def _threads_that_score(busy_s: float) -> list[bool]:
    """Return, for each of four queries one after another, whether the event loop's own thread scored it."""
    threads = []

    def score(numbers: Sequence[int]) -> list[int]:
        threads.append(threading.current_thread())
        started_s = time.thread_time()
        while time.thread_time() - started_s < busy_s:
            pass
        return list(numbers)

    async def ask() -> None:
        for number in range(4):
            await batcher.submit(number)

    batcher = MicroBatcher(score, max_batch=4)
    asyncio.run(ask())
    batcher.close()
    return [thread is threading.main_thread() for thread in threads]


def test_short_queries_are_scored_in_the_loop_once_their_time_is_known() -> None:
    assert _threads_that_score(0.0) == [False, True, True, True]


def test_long_queries_are_left_to_the_worker() -> None:
    assert _threads_that_score(0.01) == [False, False, False, False]


def test_queries_that_are_short_one_by_one_are_left_to_the_worker_when_many_wait() -> None:
    threads = []

    def score(numbers: Sequence[int]) -> list[int]:
        threads.append(threading.current_thread() is threading.main_thread())
        started_s = time.thread_time()
        while time.thread_time() - started_s < 0.001 * len(numbers):
            pass
        return list(numbers)

    async def ask() -> None:
        await batcher.submit(0)
        await asyncio.gather(*(batcher.submit(number) for number in range(4)))

    batcher = MicroBatcher(score, max_batch=4)
    asyncio.run(ask())
    batcher.close()
    assert threads == [False, False]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of CPU time that goes on by what the test puts into the list."""
    seconds = [0.0]
    monkeypatch.setattr(time, "thread_time", lambda: seconds[0])
    return seconds


def taking(clock: list[float], query_s: list[float]) -> tuple[list[list[int]], MicroBatcher[int, int]]:
    """Return the batches to come, and a batcher whose queries each take as long as the list says, times themselves."""
    batches: list[list[int]] = []

    def score(numbers: Sequence[int]) -> list[int]:
        batches.append(list(numbers))
        clock[0] += sum(query_s[0] * max(number, 1) for number in numbers)
        return [2 * number for number in numbers]

    return batches, MicroBatcher(score, max_batch=4, work=lambda number: float(max(number, 1)))


def test_query_is_answered_at_once_when_queries_are_known_to_be_short(clock: list[float]) -> None:
    batches, batcher = taking(clock, [0.0001])
    assert batcher.answer_at_once(1) is None
    assert asyncio.run(batcher.submit(1)) == 2
    assert batcher.answer_at_once(2) == 4
    assert batcher.answer_at_once(5) is None, "five times the work would take 0.5 ms"
    assert batches == [[1], [2]]
    batcher.close()


def test_queries_that_become_long_are_soon_left_to_the_worker(clock: list[float]) -> None:
    query_s = [0.0001]
    _, batcher = taking(clock, query_s)
    asyncio.run(batcher.submit(1))
    query_s[0] = 0.1
    num_at_once = next(number for number in range(100) if batcher.answer_at_once(1) is None)
    assert num_at_once <= 8
    query_s[0] = 0.0001
    num_submitted = 0
    while batcher.answer_at_once(1) is None:
        asyncio.run(batcher.submit(1))
        num_submitted += 1
    assert 1 < num_submitted < 12
    batcher.close()


def test_error_of_a_query_answered_at_once_is_its_own(doubler: Doubler, batcher: MicroBatcher[int, int]) -> None:
    asyncio.run(batcher.submit(1))
    batcher._alone_s = 0.0
    with pytest.raises(InvalidRequestError):
        batcher.answer_at_once(-1)
    assert batcher.answer_at_once(2) == 4


def test_short_query_does_not_wait_for_the_long_ones() -> None:
    began, long_one = threading.Event(), threading.Event()

    def score(numbers: Sequence[int]) -> list[int]:
        if 9 in numbers:
            began.set()
            long_one.wait(60)
        return [2 * number for number in numbers]

    async def scenario() -> int | None:
        batcher = MicroBatcher(score, max_batch=4, work=lambda number: 1e9 if number == 9 else 1e-9)
        waiting = asyncio.ensure_future(batcher.submit(9))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(began.wait, 60)
        batcher._alone_s = 0.0001
        answer = batcher.answer_at_once(1)
        long_one.set()
        assert await waiting == 18
        batcher.close()
        return answer

    assert asyncio.run(scenario()) == 2


def test_calls_run_in_the_loop_while_they_are_short(clock: list[float]) -> None:
    call_s, in_loop = [0.0001], []

    def call() -> int:
        in_loop.append(threading.current_thread() is threading.main_thread())
        clock[0] += call_s[0]
        return 7

    async def scenario() -> None:
        calls = ShortCalls()
        assert await calls.run(call) == 7
        await calls.run(call)
        call_s[0] = 0.01
        await calls.run(call)
        await calls.run(call)

    asyncio.run(scenario())
    assert in_loop == [False, True, True, False]


def test_a_query_whose_time_is_over_is_never_begun(doubler: Doubler, batcher: MicroBatcher[int, int]) -> None:
    async def scenario() -> list[int | BaseException]:
        outcomes: list[int | BaseException] = []

        async def ask() -> None:
            now_s = asyncio.get_running_loop().time()
            asked = batcher.submit(1, now_s), batcher.submit(2, now_s + 600), batcher.submit(3)
            outcomes.extend(await asyncio.gather(*asked, return_exceptions=True))

        await _behind_a_busy_worker(doubler, batcher, ask)
        return outcomes

    outcomes = asyncio.run(scenario())
    assert isinstance(outcomes[0], TimeoutError)
    assert outcomes[1:] == [4, 6]
    assert doubler.batches == [[0], [2, 3]]


def test_plain_queries_do_not_wait_for_all_of_a_burst_of_dear_ones(doubler: Doubler) -> None:
    batcher = MicroBatcher(doubler, max_batch=4, work=lambda number: 11.0 if number >= 100 else 1.0)

    async def ask() -> None:
        await asyncio.gather(*(batcher.submit(number) for number in (*range(100, 106), *range(1, 6))))

    asyncio.run(_behind_a_busy_worker(doubler, batcher, ask))
    batcher.close()
    assert doubler.batches == [[0], [1, 2, 3, 100], [4, 5, 101, 102], [103, 104, 105]]
