"""Baskets: interactions of one user without a long gap, and the kind of shopping trip of each."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.plugins.contracts import Observed
from springtide.training.sampling import ranges

Int64s = npt.NDArray[np.int64]
When = Literal["weekpart", "daypart"]

KINDS: dict[When, tuple[str, ...]] = {
    "weekpart": ("weekday", "weekend"),
    "daypart": ("night", "morning", "afternoon", "evening"),
}
_THURSDAY = 3  # Weekday of 1970-01-01, counted from Monday.
_HOURS_PER_DAYPART = 6


@dataclass(frozen=True, slots=True)
class Graphs:
    """Sets of items, one after another.

    Attributes:
        item_rows: int64 ``[num_nodes]``, the items graph by graph, each once in a graph.
        pointers: int64 ``[num_graphs + 1]``, where each graph starts, and where the last one ends.
    """

    item_rows: Int64s
    pointers: Int64s

    def __len__(self) -> int:
        """Number of graphs."""
        return len(self.pointers) - 1

    @classmethod
    def of(cls, graph: Int64s, item_rows: Int64s, num_graphs: int, max_items: int) -> "Graphs":
        """Group items into graphs; repeated items of a graph are left out.

        Args:
            graph: int64 ``[n]``, number of the graph, ascending.
            item_rows: int64 ``[n]``.
            num_graphs: Number of graphs.
            max_items: Number of items of a graph that are kept, at most, the first ones.
        """
        keys = np.stack([graph, item_rows])
        _, first = np.unique(keys, axis=1, return_index=True)
        first.sort()
        graph, item_rows = graph[first], item_rows[first]
        starts = np.searchsorted(graph, np.arange(num_graphs))
        is_kept = np.arange(len(graph)) - starts[graph] < max_items
        pointers = np.searchsorted(graph[is_kept], np.arange(num_graphs + 1))
        return cls(item_rows[is_kept], pointers)

    def items_of(self, graphs: Int64s) -> tuple[Int64s, Int64s]:
        """Return the items of some graphs, graph by graph, and for each item the position of its graph, int64 each."""
        position, index = ranges(self.pointers[graphs], np.diff(self.pointers)[graphs])
        return self.item_rows[index], position


def baskets_of(interactions: Observed, gap_minutes: float, max_items: int) -> tuple[Graphs, Int64s]:
    """Split each user's interactions into baskets, at long gaps.

    Args:
        interactions: Interactions, in any order.
        gap_minutes: A gap of this length or longer starts a new basket.
        max_items: Number of items of a basket that are kept, at most, the first ones.

    Returns:
        The baskets, and the time of the first event of each, int64 ``[num_baskets]``, milliseconds since 1970.
    """
    users, times = interactions.user_rows, interactions.timestamps_ms
    order = np.lexsort((times, users))
    users, times = users[order], times[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(users) != 0) | (np.diff(times) >= gap_minutes * 60_000)
    basket = np.cumsum(is_first) - 1
    items = interactions.item_rows[order].astype(np.int64)
    return Graphs.of(basket, items, int(is_first.sum()), max_items), times[is_first]


def kinds_of(times_ms: Int64s, when: When) -> Int64s:
    """Return the part of the week or of the day of each time in UTC, int64, as positions in ``KINDS``."""
    if when == "weekpart":
        day = (times_ms // MS_PER_DAY + _THURSDAY) % 7
        return (day >= 5).astype(np.int64)
    part: Int64s = times_ms % MS_PER_DAY // (_HOURS_PER_DAYPART * MS_PER_HOUR)
    return part
