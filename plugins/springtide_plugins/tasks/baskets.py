"""Baskets: runs of one user's interactions without a long gap, and what kind of trip each was."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.plugins.contracts import Observed

Int64s = npt.NDArray[np.int64]
When = Literal["weekpart", "daypart"]

KINDS: dict[When, tuple[str, ...]] = {
    "weekpart": ("weekday", "weekend"),
    "daypart": ("night", "morning", "afternoon", "evening"),
}
_THURSDAY = 3  # The first day of 1970, counted from Monday.
_HOURS_PER_DAYPART = 6


@dataclass(frozen=True, slots=True)
class Graphs:
    """Sets of items, one after another.

    Attributes:
        item_rows: int64 ``[num_nodes]``, the items of all of them, each once in each.
        pointers: int64 ``[num_graphs + 1]``, where each begins and the last ends.
    """

    item_rows: Int64s
    pointers: Int64s

    def __len__(self) -> int:
        """Number of graphs."""
        return len(self.pointers) - 1

    @classmethod
    def of(cls, graph: Int64s, item_rows: Int64s, num_graphs: int, max_items: int) -> "Graphs":
        """Gather items into graphs, each item of a graph once, where it comes first.

        Args:
            graph: int64 ``[n]``, number of the graph, ascending.
            item_rows: int64 ``[n]``.
            num_graphs: How many there are.
            max_items: How many items of a graph are kept, the first ones.
        """
        keys = np.stack([graph, item_rows])
        _, first = np.unique(keys, axis=1, return_index=True)
        first.sort()
        graph, item_rows = graph[first], item_rows[first]
        begins = np.searchsorted(graph, np.arange(num_graphs))
        is_kept = np.arange(len(graph)) - begins[graph] < max_items
        pointers = np.searchsorted(graph[is_kept], np.arange(num_graphs + 1))
        return cls(item_rows[is_kept], pointers)

    def items_of(self, graphs: Int64s) -> tuple[Int64s, Int64s]:
        """Return the items of some graphs, one after another, and for each item which of them, int64 each."""
        counts = np.diff(self.pointers)[graphs]
        place = np.repeat(np.arange(len(graphs)), counts)
        within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.item_rows[self.pointers[graphs][place] + within], place


def baskets_of(interactions: Observed, gap_minutes: float, max_items: int) -> tuple[Graphs, Int64s]:
    """Cut each user's interactions where a gap is as long as that.

    Args:
        interactions: In any order.
        gap_minutes: From which gap on a new basket begins.
        max_items: How many items of a basket are kept, the first ones.

    Returns:
        The baskets, and int64 ``[num_baskets]``, when each began in milliseconds since the Unix epoch.
    """
    users, times = interactions.user_rows, interactions.timestamps_ms
    order = np.lexsort((times, users))
    users, times = users[order], times[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (np.diff(users) != 0) | (np.diff(times) >= gap_minutes * 60_000)
    basket = np.cumsum(begins) - 1
    items = interactions.item_rows[order].astype(np.int64)
    return Graphs.of(basket, items, int(begins.sum()), max_items), times[begins]


def kinds_of(times_ms: Int64s, when: When) -> Int64s:
    """Return the part of the week or of the day of each moment in UTC, int64, as positions in ``KINDS``."""
    if when == "weekpart":
        day = (times_ms // MS_PER_DAY + _THURSDAY) % 7
        return (day >= 5).astype(np.int64)
    part: Int64s = times_ms % MS_PER_DAY // (_HOURS_PER_DAYPART * MS_PER_HOUR)
    return part
