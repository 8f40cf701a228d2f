"""Micro-batching: the queries that are waiting are scored in one batch; no query waits for a batch to fill."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Query = TypeVar("Query")
Answer = TypeVar("Answer")

# Batches that take less are scored in the event loop: to wake the worker, and the loop again, takes up to a millisecond
# on a busy machine. Meanwhile the loop does nothing else, so not much longer.
_SHORT_S = 0.002


class MicroBatcher(Generic[Query, Answer]):
    """Passes the waiting queries to one worker thread, at most ``max_batch`` at a time.

    An idle batcher scores a query at once. While the worker is busy, new queries queue up and make the next batch. So
    the batch size follows the load, and there is no waiting time to configure. To be used from one event loop, which
    scores short batches itself: those that would take less than 2 ms if each query took as long as in the last batch.

    Args:
        score: Returns the answers to a batch of queries, in their order; called by one thread at a time.
        max_batch: The most queries in a batch.
    """

    def __init__(self, score: Callable[[Sequence[Query]], Sequence[Answer]], max_batch: int) -> None:
        self._score = score
        self._max_batch = max_batch
        self._waiting: deque[tuple[Query, asyncio.Future[Answer]]] = deque()
        self._is_busy = False
        self._query_s = math.inf  # CPU time of each query of the last batch.
        self._worker: Executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")

    async def submit(self, query: Query) -> Answer:
        """Return the answer to a query.

        Raises:
            Exception: If scoring this query raises it; errors of other queries in the batch do not matter.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((query, answer))
        if not self._is_busy:
            self._is_busy = True
            loop.call_soon(self._start_next, loop)  # After all requests of this loop iteration.
        return await answer

    def close(self) -> None:
        """Answer the waiting queries, and stop the worker."""
        self._worker.shutdown(wait=True)

    def _start_next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[tuple[Query, asyncio.Future[Answer]]] = []
        while self._waiting and len(batch) < self._max_batch:
            query, answer = self._waiting.popleft()
            if not answer.done():  # Done already if its client has cancelled the call.
                batch.append((query, answer))
        if not batch:
            self._is_busy = False
            return
        queries = [query for query, _ in batch]
        if len(queries) * self._query_s < _SHORT_S:
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
        self._query_s = (time.thread_time() - started_s) / len(queries)
        return outcomes


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
