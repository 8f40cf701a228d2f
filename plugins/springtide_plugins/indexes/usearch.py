"""A navigable small-world graph of the items, with the optional package `usearch`."""

import importlib.util
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt

from springtide.errors import SettingsError
from springtide.plugins.contracts import Index

_ADDED_AT_ONCE = 512  # Vectors; a twentieth of a second on one core.
_MIN_SORTED = 16_384  # Vectors; the graph of fewer lies in the caches, whatever the order.
_FIRST_SHARE = 16  # One vector of so many is added first, drawn from all.
_LANDMARKS = 256
_COMPARED_AT_ONCE = 4_096  # Vectors; 4 MB of cosines.


class USearch(Index):
    """Hierarchical navigable small world graph (Malkov and Yashunin 2018): each vector is linked to some near ones.

    Args:
        connectivity: Links of a vector. More find more, and take more memory and time.
        expansion_add: Vectors that are looked at for the links of each. More make better links, and take longer.
        expansion_search: Vectors that a search keeps in view, at least. More find more, and take longer.
        precision: How the graph keeps its copy of the vectors: ``f32``, ``bf16`` or ``i8``, with 4, 2 or 1 bytes a
            number. What is found is scored by the vectors themselves.
        num_threads: Threads that build it.

    Raises:
        SettingsError: If the package is not installed.
    """

    def __init__(
        self,
        connectivity: Annotated[int, Field(ge=2, le=256)] = 16,
        expansion_add: PositiveInt = 64,
        expansion_search: PositiveInt = 64,
        precision: Literal["f32", "bf16", "i8"] = "i8",
        num_threads: PositiveInt = 1,
    ) -> None:
        if importlib.util.find_spec("usearch") is None:
            raise SettingsError("usearch is not installed: pip install 'springtide[index]'")
        self._options = {
            "connectivity": connectivity,
            "expansion_add": expansion_add,
            "expansion_search": expansion_search,
            "dtype": precision,
        }
        self._num_threads = num_threads
        self._index: Any = None

    def build(
        self, vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int32], is_wanted: Callable[[], bool]
    ) -> None:
        """Add the vectors some at a time; usearch gives the interpreter's lock away while it does."""
        from usearch.index import Index as Graph  # Here, so that the parts can be listed without it.

        self._index = Graph(ndim=vectors.shape[1], metric="cos", **self._options)
        rows = _near_together(vectors, rows, is_wanted)
        for start in range(0, len(rows), _ADDED_AT_ONCE):
            if not is_wanted():
                return
            added = rows[start : start + _ADDED_AT_ONCE]
            self._index.add(added.astype(np.uint64), vectors[added], threads=self._num_threads)

    def search(self, vector: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.integer[Any]]:
        """Return the rows that the graph leads to, the nearest first."""
        keys: npt.NDArray[np.uint64] = self._index.search(vector, count, threads=1).keys
        return keys.astype(np.int64)

    @property
    def num_bytes(self) -> int:
        """Memory of the graph, its copy of the vectors included, in bytes."""
        return 0 if self._index is None else int(self._index.memory_usage)


def _near_together(
    vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int32], is_wanted: Callable[[], bool]
) -> npt.NDArray[np.int32]:
    """Return the rows in an order that builds the graph in less time: near vectors follow each other.

    To add a vector, usearch walks the graph around it, which is in the caches if the one before was near. A sixteenth
    of all comes first, in random order, so that the graph has its long links before it grows in one place at a time.
    At 100,000 vectors it takes 50 µs of CPU to add one in place of 70, and as much is found.
    """
    if len(rows) < _MIN_SORTED:
        return rows
    drawn = np.random.default_rng(0).permutation(len(rows))[: len(rows) // _FIRST_SHARE]
    landmarks = vectors[rows[drawn[:_LANDMARKS]]].T.copy()  # [d, num_landmarks]
    nearest = np.empty(len(rows), np.int16)
    for start in range(0, len(rows), _COMPARED_AT_ONCE):
        if not is_wanted():
            break
        some = slice(start, start + _COMPARED_AT_ONCE)
        nearest[some] = np.argmax(vectors[rows[some]] @ landmarks, axis=1)
    nearest[drawn] = -1
    by_landmark = np.argsort(nearest, kind="stable")
    by_landmark[: len(drawn)] = drawn
    return rows[by_landmark]
