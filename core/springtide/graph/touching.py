"""Memory for the edges to come, taken from the system before the thread that writes them needs it.

A page that is written to for the first time must be cleared by the system, and perhaps found first (record 0017).
"""

import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph import kernels
from springtide.graph.columns import has_own_pages
from springtide.graph.edges import EdgeColumns

_AHEAD = 2**15  # Edges, of .8 MB: at 3 million a second, the other thread has 10 ms.


class Toucher:
    """Lets another thread touch the room of one edge type that the next edges are written to."""

    __slots__ = ("_source", "_touched")

    def __init__(self) -> None:
        self._source: npt.NDArray[np.int32] | None = None
        self._touched = 0

    def note(self, columns: EdgeColumns, length: int) -> None:
        """Have room touched for the edges after ``length``, unless that is done; the thread that writes goes on."""
        if columns.source is not self._source:
            self._source, self._touched = columns.source, length
        stop = min(length + 2 * _AHEAD, len(columns.source))
        if length + _AHEAD <= self._touched or self._touched >= stop or not has_own_pages(columns.source):
            return
        start, self._touched = max(length, self._touched), stop
        with contextlib.suppress(RuntimeError):  # Python ends.
            _thread().submit(_touch, columns, start, stop)


def _touch(columns: EdgeColumns, start: int, stop: int) -> None:
    sides = (columns.by_source.prev, columns.by_target.prev)
    every: tuple[npt.NDArray[Any] | None, ...] = (
        *(columns.source, columns.target, columns.timestamps_ms, *sides),
        *(columns.weights, columns.features, columns.dead_since),
    )
    for column in every:
        if column is not None and len(column) >= stop:
            kernels.touch(column, start, stop)


@functools.cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "edges-ahead")
