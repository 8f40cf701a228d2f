"""Columns and masks that are the same for all requests, kept until the attributes change; within a bound."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy.typing as npt

from springtide.graph.nodes import NodeTable

MAX_BYTES = 64 * 2**20
"""How much the kept arrays of one table of nodes may take: some 600 masks of 100,000 items, or 6 of 10 million."""

T = TypeVar("T")
Arrays = tuple[npt.NDArray[Any], ...]


class ColumnCache:
    """Arrays by key, of one table. Any thread may use it; what was not asked for the longest goes first.

    Args:
        max_bytes: How much the arrays may take.

    Attributes:
        num_bytes: How much they take.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[object, Arrays, int]] = OrderedDict()
        self.num_bytes = 0

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._entries)

    def arrays(self, key: str, version: object, make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a key, made anew if they are of another version; they are read-only.

        Args:
            key: What they are.
            version: Of what they were made of. It was read before that, so that what is kept is never older.
            make: Makes them; two threads may do it at once.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry[0] == version:
                self._entries.move_to_end(key)
                return entry[1]
        arrays = make()
        for array in arrays:
            array.setflags(write=False)
        num_bytes = len(key) + sum(array.nbytes for array in arrays)
        with self._lock:
            self._drop(key)
            if num_bytes <= self._max_bytes:
                self._entries[key] = version, arrays, num_bytes
                self.num_bytes += num_bytes
                while self.num_bytes > self._max_bytes:
                    self._drop(next(iter(self._entries)))
        return arrays

    def array(self, key: str, version: object, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return one array, as ``arrays`` does."""
        return self.arrays(key, version, lambda: (make(),))[0]

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        self.num_bytes -= 0 if entry is None else entry[2]


_caches: weakref.WeakKeyDictionary[NodeTable, ColumnCache] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def cache_of(table: NodeTable) -> ColumnCache:
    """Return the cache of a table, which lives as long as the table."""
    with _lock:
        cache = _caches.get(table)
        if cache is None:
            cache = _caches[table] = ColumnCache()
        return cache
