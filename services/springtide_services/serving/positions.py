"""Waiting until the graph has reached a position in the stream, without a thread for each request that waits."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class _Waiter:
    next_offsets: Mapping[int, int]
    reached: asyncio.Future[bool]


class PositionWaiters:
    """The requests on one event loop that wait for a position; the ingest thread wakes them as the graph moves.

    Args:
        loop: The event loop that they wait on.
        has_reached: Returns whether the graph has reached next offsets, by partition; called on the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, has_reached: Callable[[Mapping[int, int]], bool]) -> None:
        self._loop = loop
        self._has_reached = has_reached
        self._waiters: set[_Waiter] = set()

    async def wait_for(self, next_offsets: Mapping[int, int], timeout_s: float) -> bool:
        """Wait until the graph has reached offsets in all their partitions.

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

    def notify(self) -> None:
        """Wake the waiters whose position has been reached; from any thread, and fast enough for the ingest thread."""
        if self._waiters:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.reached.done() and self._has_reached(waiter.next_offsets):
                waiter.reached.set_result(True)
