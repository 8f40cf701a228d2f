"""Where a query is answered: in the event loop if that is short, else by a thread, and then in a batch."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Query = TypeVar("Query")
Answer = TypeVar("Answer")

# A query that takes less by itself is answered at once, in the event loop: to let it wait for others, to wake the
# worker and then the loop again would take as long, and up to a millisecond on a busy machine.
_AT_ONCE_S = 0.0003
_MEASURE_EVERY = 8  # To read the clock of CPU time takes 1 µs: each eighth of the queries that are answered at once.
# Batches that take less are scored in the event loop. Meanwhile the loop does nothing else, so not much longer.
_SHORT_S = 0.002


MOST_OF_A_PLAIN_QUERY = 2.0
"""How many times the work of a plain query one may be that does not count as much work."""

_Waiting = tuple[Query, asyncio.Future[Answer], float]  # With the loop's time at which its time is over.


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Queries that a batcher has had.

    Attributes:
        num_queries: Those that were ranked, by where: ``at_once`` by themselves in the event loop, in a short batch of
            the ``loop``, or in one of the ``worker``.
        num_batches: How many batches these were, by where.
        num_waiting: Queries that wait for a batch.
    """

    num_queries: Mapping[str, int]
    num_batches: Mapping[str, int]
    num_waiting: int


class ShortCalls:
    """Runs calls of one kind, such as all of one gRPC method, in the event loop as long as they are short.

    The first one, and those after one that took long, are left to a thread.
    """

    def __init__(self) -> None:
        self._call_s = math.inf

    async def run(self, call: Callable[[], Answer], *, may_block: bool = False) -> Answer:
        """Return what a call returns, and raise what it raises; it may run in any thread, unless it may block."""
        if self._call_s < _AT_ONCE_S and not may_block:
            return self._timed(call)
        return await asyncio.to_thread(self._timed, call)

    def _timed(self, call: Callable[[], Answer]) -> Answer:
        started_s = time.thread_time()
        try:
            return call()
        finally:
            self._call_s = _expected_s(self._call_s, time.thread_time() - started_s)


class MicroBatcher(Generic[Query, Answer]):
    """Answers short queries at once, and passes the others to one worker thread, at most ``max_batch`` at a time.

    A query that is expected to take less than 0.3 ms by itself need not wait for others: ``answer_at_once`` answers it
    in the event loop, even while the worker is busy with long ones.

    ``submit`` is for the rest. An idle batcher scores a query at once. While the worker is busy, new queries queue up
    and make the next batch. So the batch size follows the load, and there is no waiting time to configure. To be used
    from one event loop, which scores short batches itself: those that would take less than 2 ms if each query took as
    long as in the last batch.

    Queries that are much work queue apart from the others, which are up to three quarters of a batch before any of
    them: so a burst of dear ones does not hold up the rest. A query whose time is over is never begun.

    Args:
        score: Returns the answers to a batch of queries, in their order; called by the event loop's thread and by the
            worker, also at the same time.
        max_batch: The most queries in a batch.
        work: Returns how many times the work of a plain query a query may be, 1 or more.
        may_block: Returns whether a query may block, since it asks what others wrote: then none is answered in the
            event loop.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Query]], Sequence[Answer]],
        max_batch: int,
        work: Callable[[Query], float] = lambda query: 1.0,
        may_block: Callable[[], bool] = lambda: False,
    ) -> None:
        self.may_block = may_block
        self._score = score
        self._max_batch = max_batch
        self._work = work
        self._plain: deque[_Waiting[Query, Answer]] = deque()
        self._dear: deque[_Waiting[Query, Answer]] = deque()
        self._is_busy = False
        self._alone_s = math.inf  # CPU time of a plain query by itself.
        self._query_s = math.inf  # CPU time of each query of the last batch.
        self._unmeasured = 0
        self._num_at_once = 0
        self._num_queries = {"loop": 0, "worker": 0}
        self._num_batches = {"loop": 0, "worker": 0}
        self._worker: Executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")

    def answer_at_once(self, query: Query) -> Answer | None:
        """Return the answer to a query if it is expected to take less than 0.3 ms, else None: then ``submit`` it.

        Raises:
            Exception: If scoring this query raises it.
        """
        if self._alone_s >= _AT_ONCE_S or self.may_block():
            return None
        work = self._work(query)
        if work * self._alone_s >= _AT_ONCE_S:
            return None
        self._num_at_once += 1
        if self._unmeasured:
            self._unmeasured -= 1
            return self._score((query,))[0]
        self._unmeasured = _MEASURE_EVERY - 1
        started_s = time.thread_time()
        try:
            return self._score((query,))[0]
        finally:
            self._alone_s = _expected_s(self._alone_s, (time.thread_time() - started_s) / work)

    async def submit(self, query: Query, until_s: float | None = None, *, is_dear: bool = False) -> Answer:
        """Return the answer to a query.

        Args:
            query: The query.
            until_s: When its time is over, as the event loop's clock reads, in seconds; None for never.
            is_dear: Whether it queues with those that are much work, such as one of many that nobody waits for.

        Raises:
            TimeoutError: If its time is over before it is begun.
            Exception: If scoring this query raises it; errors of other queries in the batch do not matter.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        queue = self._dear if is_dear or self._work(query) > MOST_OF_A_PLAIN_QUERY else self._plain
        queue.append((query, answer, math.inf if until_s is None else until_s))
        if not self._is_busy:
            self._is_busy = True
            loop.call_soon(self._start_next, loop)  # After all requests of this loop iteration.
        return await answer

    @property
    def counts(self) -> BatchCounts:
        """Queries that were ranked, and how many wait; from any thread."""
        return BatchCounts(
            num_queries={"at_once": self._num_at_once, **self._num_queries},
            num_batches=dict(self._num_batches),
            num_waiting=len(self._plain) + len(self._dear),
        )

    def close(self) -> None:
        """Answer the waiting queries, and stop the worker."""
        self._worker.shutdown(wait=True)

    def _start_next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[tuple[Query, asyncio.Future[Answer]]] = []
        num_dear = min(len(self._dear), self._max_batch // 4)
        for queue, num_left_out in ((self._plain, num_dear), (self._dear, 0), (self._plain, 0)):
            _take(batch, queue, self._max_batch - num_left_out, loop.time())
        if not batch:
            self._is_busy = False
            return
        queries = [query for query, _ in batch]
        is_short = len(queries) * self._query_s < _SHORT_S and not self.may_block()
        way = "loop" if is_short else "worker"
        self._num_queries[way] += len(queries)
        self._num_batches[way] += 1
        if is_short:
            outcomes = self._timed_outcomes(queries)
            loop.call_soon(self._start_next, loop)  # After the requests that have come meanwhile.
            _settle(batch, outcomes)
            return
        scored = self._worker.submit(self._timed_outcomes, queries)

        def finish(done: Future[list[Answer | Exception]]) -> None:
            self._start_next(loop)  # First, so that the worker is busy while these answers are written out.
            _settle(batch, done.result())

        scored.add_done_callback(lambda done: loop.call_soon_threadsafe(finish, done))

    def _timed_outcomes(self, queries: Sequence[Query]) -> list[Answer | Exception]:
        started_s = time.thread_time()
        outcomes = _outcomes(self._score, queries)
        took_s = time.thread_time() - started_s
        self._query_s = took_s / len(queries)
        if len(queries) == 1:
            self._alone_s = _expected_s(self._alone_s, took_s / self._work(queries[0]))
        elif self._query_s < _AT_ONCE_S / 2:  # Then one by itself is probably short, too: the next one will tell.
            self._alone_s, self._unmeasured = self._query_s, 0
        return outcomes


def _take(
    batch: list[tuple[Query, asyncio.Future[Answer]]],
    queue: deque[tuple[Query, asyncio.Future[Answer], float]],
    at_most: int,
    now_s: float,
) -> None:
    """Move queries to a batch until it has so many; those whose time is over are refused."""
    while queue and len(batch) < at_most:
        query, answer, until_s = queue.popleft()
        if answer.done():  # Its client has cancelled the call.
            continue
        if now_s >= until_s:
            answer.set_exception(TimeoutError())
        else:
            batch.append((query, answer))


def _expected_s(former_s: float, measured_s: float) -> float:
    """Return what to expect next: the last time measured, but that one that took long is not forgotten at once."""
    return max(measured_s, former_s / 2) if former_s < math.inf else measured_s


def _settle(batch: Sequence[tuple[Query, asyncio.Future[Answer]]], outcomes: Sequence[Answer | Exception]) -> None:
    for (_, answer), outcome in zip(batch, outcomes, strict=True):
        if answer.done():
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


def _outcomes(
    score: Callable[[Sequence[Query]], Sequence[Answer]], queries: Sequence[Query]
) -> list[Answer | Exception]:
    """Score a batch; if that fails, score each query by itself, so that only the bad query fails."""
    try:
        return list(score(queries))
    except Exception as error:
        if len(queries) == 1:
            return [error]
    return [_outcomes(score, [query])[0] for query in queries]
