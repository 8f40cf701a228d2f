"""Dropping the oldest edges beyond the numbers that may be kept."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from springtide.graph.edges import EdgeType
from springtide.graph.store import EdgeStore


@dataclass(frozen=True, slots=True)
class Excess:
    """Stores that share a bound which they exceed.

    Attributes:
        stores: The stores.
        num_edges: By how many edges they exceed it.
    """

    stores: list[EdgeStore]
    num_edges: int

    def first_kept_ms(self) -> tuple[int, int]:
        """Return the newest time among the edges to drop, and how many of that time are to be dropped."""
        times = np.concatenate([store.columns.timestamps_ms[: store.length] for store in self.stores])
        start_ms = int(np.partition(times, self.num_edges - 1)[self.num_edges - 1])
        return start_ms, self.num_edges - int(np.count_nonzero(times < start_ms))


def beyond(
    stores: Mapping[EdgeType, EdgeStore],
    max_edges: int | None,
    apart: Collection[EdgeType],
    max_apart: int | None,
    slack: int,
) -> list[Excess]:
    """Return what exceeds its bound.

    Args:
        stores: The edges by type.
        max_edges: Most edges of all types but those apart; None for no bound.
        apart: Edge types with a bound of their own.
        max_apart: Most edges of these together; None for no bound.
        slack: By which part of itself a bound may be exceeded, as a divisor; 0 for none.
    """
    shares: list[tuple[list[EdgeStore], int | None]] = [(list(stores.values()), max_edges)]
    if apart:
        shares = [
            ([store for edge_type, store in stores.items() if edge_type not in apart], max_edges),
            ([store for edge_type, store in stores.items() if edge_type in apart], max_apart),
        ]
    found = []
    for sharing, bound in shares:
        if bound is not None and (excess := sum(map(len, sharing)) - bound) > (bound // slack if slack else 0):
            found.append(Excess(sharing, excess))
    return found


def keep_since(stores: Iterable[EdgeStore], start_ms: int, num_at_start_to_drop: int) -> None:
    """Drop the edges before a time, and some of those at it."""
    for store in stores:
        times = store.columns.timestamps_ms[: store.length]
        keep = times >= start_ms
        if num_at_start_to_drop:
            at_start = np.flatnonzero(times == start_ms)[:num_at_start_to_drop]
            keep[at_start] = False
            num_at_start_to_drop -= len(at_start)
        if not keep.all():
            store.compact(keep)
