"""Taking back the rows of nodes that no longer live, so that memory is bounded by what lives, not by what ever was.

A row is taken back in two steps, since other threads read without locks. First its node is forgotten: by a deletion;
because it lost its last edge by eviction and has no attributes; or as one of the least recently active, if there are
more than ``max_nodes``. Then the row rests, until every request that may have seen the old node is over and every cache
has noticed. What learned by row forgets it. After another rest it is released, and the next new node gets it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import structlog

from springtide.graph.categories import CategoryColumn
from springtide.graph.compacting import living_rows
from springtide.graph.edges import END_OF_TIME_MS
from springtide.graph.live import LiveGraph

logger = structlog.stdlib.get_logger(__name__)

REST_S = 60.0  # Longer than any request; caches of users and items are refreshed each second.
FADE_S = 30.0  # Twice as long as cached weights of a moment may be served: what learned by row has forgotten it then.
_NODE_SLACK = 64  # The bound may be exceeded by 1/64, so that finding the least active costs O(1) per node.
_RELEASE_SLACK = 32  # Rows are released when they are 1/32 of their type: what learned by row is then looked through.

ForgetRows = Callable[[str, npt.NDArray[np.int32]], None]
"""Called with a node type and rows before these are given to other nodes."""


class Reclaimer:
    """Forgets nodes beyond the bounds, and releases the rows of forgotten ones. The graph's writer calls it.

    Args:
        graph: The graph.
        max_nodes: Most nodes of all types to keep; beyond it those go first whose latest event is oldest, with their
            edges and attributes. None for no bound.
        forget_rows: Makes everything that learned by row forget rows; None if something cannot: then no row is
            released.

    Attributes:
        has_dropped_nodes: Whether nodes were dropped since there were more than ``max_nodes``.
    """

    def __init__(self, graph: LiveGraph, max_nodes: int | None, forget_rows: ForgetRows | None) -> None:
        self.max_nodes = max_nodes
        self.has_dropped_nodes = False
        self._graph = graph
        self._forget_rows = forget_rows
        self._num_evictions = graph.num_evictions
        # By node type, lots of rows with the time since when: of forgotten nodes, and of those that nothing knows now.
        self._resting: dict[str, list[tuple[float, list[int]]]] = {}
        self._fading: dict[str, list[tuple[float, list[int]]]] = {}
        self._values: list[tuple[float, CategoryColumn, list[int]]] = []  # Codes of forgotten values, in the same way.

    def run(self, now_s: float) -> None:
        """Forget nodes beyond the bounds, and release rows that have rested; costs nothing if there are none.

        Args:
            now_s: Monotonic time, in seconds.
        """
        graph = self._graph
        if graph.num_evictions != self._num_evictions:
            self._num_evictions = graph.num_evictions
            self._forget_evicted()
        if self.max_nodes is not None:
            num_nodes = sum(graph.nodes(node_type).num_living for node_type in graph.node_types)
            if num_nodes > self.max_nodes + self.max_nodes // _NODE_SLACK:
                self._forget_least_active(num_nodes - self.max_nodes)
        for node_type in graph.node_types:
            self._values += [(now_s, *each) for each in graph.nodes(node_type).take_forgotten_values()]
        while self._values and now_s - self._values[0][0] >= REST_S:
            _, column, codes = self._values.pop(0)
            column.release(codes)
        if self._forget_rows is None:
            return
        for node_type in graph.node_types:
            if rows := graph.nodes(node_type).take_forgotten():
                self._resting.setdefault(node_type, []).append((now_s, rows))
            if node_type in self._resting:
                self._forget_rested(node_type, now_s)
            if rested := _taken(self._fading.get(node_type, []), now_s - FADE_S):
                graph.nodes(node_type).ids.release(reversed(rested))

    def release_all(self) -> None:
        """Release the rows of all forgotten nodes at once, while nobody reads: after a checkpoint was restored."""
        if self._forget_rows is None:
            return
        for node_type in self._graph.node_types:
            table = self._graph.nodes(node_type)
            table.take_forgotten()
            rows = table.ids.forgotten_rows(len(table))
            self._forget_rows(node_type, rows.astype(np.int32))
            table.ids.release(reversed(rows.tolist()))
        self._resting.clear()
        self._fading.clear()

    def _forget_evicted(self) -> None:
        """Forget nodes without edges and attributes that were last heard of before what was evicted."""
        graph = self._graph
        view = graph.view()
        with graph.one_change():
            for node_type in graph.node_types:
                table = graph.nodes(node_type)
                is_gone = ~living_rows(view, node_type)
                is_gone &= table.lifetimes.all_newest_ms(len(is_gone)) <= graph.evicted_until_ms
                is_gone[table.ids.forgotten_rows(len(is_gone))] = False
                if is_gone.any():
                    table.forget(np.flatnonzero(is_gone).tolist())

    def _forget_least_active(self, num_excess: int) -> None:
        self.has_dropped_nodes = True
        graph = self._graph
        newest_ms = {}
        for node_type in graph.node_types:
            table = graph.nodes(node_type)
            of_type = table.lifetimes.all_newest_ms(len(table))
            of_type[table.ids.forgotten_rows(len(table))] = END_OF_TIME_MS
            newest_ms[node_type] = of_type
        every = np.concatenate(list(newest_ms.values()))
        until_ms = int(np.partition(every, num_excess - 1)[num_excess - 1])  # Of the last one to go.
        num_at_end = num_excess - int(np.count_nonzero(every < until_ms))  # Of those with this very time.
        with graph.one_change():
            for node_type, of_type in newest_ms.items():
                at_end = np.flatnonzero(of_type == until_ms)[:num_at_end]
                num_at_end -= len(at_end)
                rows = np.concatenate([np.flatnonzero(of_type < until_ms), at_end]).tolist()
                if rows:
                    graph.nodes(node_type).forget(rows)
                    graph.drop_until(node_type, dict.fromkeys(rows, END_OF_TIME_MS))
        logger.info("least_active_dropped", num_nodes=num_excess, max_nodes=self.max_nodes)

    def _forget_rested(self, node_type: str, now_s: float) -> None:
        """Make rows that have rested unknown to what learned by row, once there are many."""
        assert self._forget_rows is not None, "else no row is kept for this"
        lots, until_s = self._resting[node_type], now_s - REST_S
        num_rested = sum(len(rows) for since_s, rows in lots if since_s <= until_s)
        if num_rested and num_rested * _RELEASE_SLACK >= len(self._graph.nodes(node_type)):
            rows = _taken(lots, until_s)
            self._forget_rows(node_type, np.array(rows, np.int32))
            self._fading.setdefault(node_type, []).append((now_s, rows))


def _taken(lots: list[tuple[float, list[int]]], until_s: float) -> list[int]:
    """Take the lots that are there since ``until_s`` or longer, and return their rows; the oldest lots come first."""
    rows: list[int] = []
    while lots and lots[0][0] <= until_s:
        rows += lots.pop(0)[1]
    return rows
