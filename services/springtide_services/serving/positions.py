"""Waiting until the graph has reached a position in the stream, without a thread for each request that waits."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# An answer takes 1 to 2 ms once its event is applied. If ingest went on at once, it would hold Python's lock for most
# of the first.
_LONGEST_WAY_S = 0.003


@dataclass(eq=False, slots=True)
class _Waiter:
    next_offsets: Mapping[int, int]
    reached: asyncio.Future[bool]
    is_woken: bool = False


class PositionWaiters:
    """The requests on one event loop that wait for a position; the ingest thread wakes them as the graph moves.

    Args:
        loop: The event loop that they wait on.
        has_reached: Returns whether the graph has reached next offsets, by partition; called by any thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, has_reached: Callable[[Mapping[int, int]], bool]) -> None:
        self._loop = loop
        self._has_reached = has_reached
        self._waiters: set[_Waiter] = set()
        self._num_unanswered = 0  # Of those that were woken; the loop's thread counts.
        self._are_answered = threading.Event()
        self._way_ended_s = self._way_took_s = 0.0

    def has_reached(self, next_offsets: Mapping[int, int]) -> bool:
        """Return whether the graph has reached offsets in all their partitions."""
        return self._has_reached(next_offsets)

    async def wait_for(self, next_offsets: Mapping[int, int], timeout_s: float) -> bool:
        """Wait until the graph has reached offsets in all their partitions.

        The task that calls it counts as one request: it is answered when the task ends.

        Args:
            next_offsets: For each partition, the offset of the first event that need not be in the graph.
            timeout_s: How many seconds to wait at most; with 0 or less it only checks.

        Returns:
            Whether the graph has reached them.
        """
        if self._has_reached(next_offsets):
            return True
        if timeout_s <= 0:
            return False
        waiter = _Waiter(next_offsets, self._loop.create_future())
        self._waiters.add(waiter)
        if self._has_reached(next_offsets):  # The graph moved before the waiter was registered.
            waiter.reached.set_result(True)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter.reached
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
            task = asyncio.current_task()
            if waiter.is_woken and task is not None:
                task.add_done_callback(self._note_answered)

    def notify(self) -> bool:
        """Wake the waiters whose position has been reached, and return whether there are any; from any thread."""
        waiters = tuple(self._waiters)  # In one step: the loop's thread changes the set.
        if not any(self._has_reached(waiter.next_offsets) for waiter in waiters if not waiter.is_woken):
            return False
        self._are_answered.clear()
        self._loop.call_soon_threadsafe(self._wake)
        return True

    def notify_and_give_way(self) -> None:
        """Wake the waiters, and return when they are answered, at the latest after 3 ms; from the ingest thread.

        Both threads need Python's lock: meanwhile the answers have it. At most half of the time is given away, so that
        the stream goes on however many requests wait.
        """
        began_s = time.monotonic()
        if self.notify() and began_s - self._way_ended_s >= self._way_took_s:
            self._are_answered.wait(_LONGEST_WAY_S)
            self._way_ended_s = time.monotonic()
            self._way_took_s = self._way_ended_s - began_s

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.reached.done() and self._has_reached(waiter.next_offsets):
                waiter.is_woken = True
                self._num_unanswered += 1
                waiter.reached.set_result(True)
        if not self._num_unanswered:  # Those that were to be woken have given up since.
            self._are_answered.set()

    def _note_answered(self, _: asyncio.Task[object]) -> None:
        self._num_unanswered -= 1
        if not self._num_unanswered:
            self._are_answered.set()
