"""Waiting for the graph to reach a position in the stream, without a thread for each who waits."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from springtide.state import LiveState


@dataclass(eq=False, slots=True)
class _Waiter:
    next_offsets: Mapping[int, int]
    reached: asyncio.Future[bool]


class PositionWaiters:
    """Those who wait for a position, on one event loop; woken when the ingest thread says that the graph has moved.

    Args:
        loop: The event loop that they wait on.
        next_offsets: Tells how far the graph is now, by partition; called on the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, next_offsets: Callable[[], Mapping[int, int]]) -> None:
        self._loop = loop
        self._next_offsets = next_offsets
        self._waiters: set[_Waiter] = set()

    async def wait_for(self, next_offsets: Mapping[int, int], timeout_s: float) -> bool:
        """Wait until the graph has reached offsets in all their partitions.

        Args:
            next_offsets: For each partition, the offset of the first event that need not be in the graph.
            timeout_s: How many seconds to wait at most; 0 or less to look only.

        Returns:
            Whether it has.
        """
        if self._has_reached(next_offsets):
            return True
        if timeout_s <= 0:
            return False
        waiter = _Waiter(next_offsets, self._loop.create_future())
        self._waiters.add(waiter)
        if self._has_reached(next_offsets):  # It moved just before it could know of the waiter.
            waiter.reached.set_result(True)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter.reached
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)

    def notify(self) -> None:
        """Say that the graph has moved. To be called from any thread, above all the ingest thread: it is quick."""
        if self._waiters:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.reached.done() and self._has_reached(waiter.next_offsets):
                waiter.reached.set_result(True)

    def _has_reached(self, wanted: Mapping[int, int]) -> bool:
        reached = self._next_offsets()
        return all(reached.get(partition, 0) >= offset for partition, offset in wanted.items())


def next_offsets_of(state: LiveState) -> Mapping[int, int]:
    """Return how far a state is: by partition, the offset of the first event that is not yet in it."""
    position = state.position
    return {} if position is None else position.next_offsets
