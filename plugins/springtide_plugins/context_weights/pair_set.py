"""How often each pair of user and item occurred before, for a bounded number of pairs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights.pair_kernels import add_pairs, remove_pairs
from springtide_plugins.context_weights.pair_state_kernels import restored, stored
from springtide_plugins.context_weights.pair_tables import PairTable

_YOUNG, _OLD = "young", "old"
_ARRAYS = ("about", "parts", "buckets", "large")
_SLACK = 8  # Pairs that are gone are dropped where they are 1/8 of a full generation.


class SeenPairs:
    """Says for each pair whether it occurred before, and counts it.

    There are two generations of pairs. When the younger one is full, it replaces the older one, whose pairs are
    forgotten. So a pair is remembered until about ``max_pairs`` other pairs have come; pairs that were taken back or
    forgotten are not among these. A pair takes 6 to 9 bytes, and up to twice as much where
    others are gone, or users and items are many and pairs are few; while there are few, up to 13.

    Args:
        max_pairs: Number of pairs in a generation.
    """

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._young, self._old = PairTable(max_pairs), PairTable(max_pairs)

    @property
    def num_bytes(self) -> int:
        """Bytes of the tables."""
        return self._young.nbytes + self._old.nbytes

    def add(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return whether each pair occurred before, in this call or earlier, bool ``[n]``, and count all pairs."""
        occurred = np.empty(len(user_rows), np.bool_)
        done = 0
        while done < len(user_rows):
            room = max(1, self._max_pairs - self._young.num_keys)
            done = add_pairs(self._young, self._old, user_rows, item_rows, done, room, occurred)
            if self._young.num_keys >= self._max_pairs:
                self._turn()
        return occurred

    def remove(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return for each pair whether it is left, after it was taken back once, bool ``[n]``.

        A pair that is not remembered counts as one that is left: it would have been forgotten all the same.
        """
        is_left = np.ones(len(user_rows), np.bool_)
        remove_pairs(self._young, self._old, user_rows, item_rows, is_left)
        return is_left

    def forget(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all pairs of some users and of some items, int32 ``[m]`` and ``[n]``."""
        is_user_gone, is_item_gone = _marked(user_rows), _marked(item_rows)
        for table in (self._young, self._old):
            table.forget(is_user_gone, is_item_gone)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the pairs of both generations, and how often each occurred: the tables as they stand."""
        tables = {_YOUNG: self._young, _OLD: self._old}
        return {f"{key}/{name}": array for key, table in tables.items() for name, array in stored(table).items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned, or from what earlier releases wrote.

        Raises:
            ValueError: If the arrays do not fit each other.
        """
        self._young, self._old = (self._restored(state, key) for key in (_YOUNG, _OLD))

    def _restored(self, state: Mapping[str, npt.NDArray[Any]], key: str) -> PairTable:
        table = PairTable(self._max_pairs)
        if key in state:  # Of an earlier release, which stored keys and counts; the earliest had no counts.
            keys = np.ascontiguousarray(state[key], np.uint64)
            table.fill(keys, np.ascontiguousarray(state.get(f"{key}_counts", np.ones(len(keys))), np.uint32))
            return table
        found = restored(self._max_pairs, *(state[f"{key}/{name}"] for name in _ARRAYS))
        if found.num_parts == table.num_parts:
            return found
        table.fill(*found.pairs())  # Another number of pairs was remembered then.
        return table

    def _turn(self) -> None:
        """Let the younger generation, which is full, replace the older one, unless many of its pairs are gone."""
        num_living = self._young.num_living
        is_full = num_living * _SLACK >= self._max_pairs * (_SLACK - 1)
        if num_living < self._young.num_keys:
            self._young.drop_taken_back()
        if is_full:
            self._young, self._old = PairTable(self._max_pairs), self._young


def _marked(rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return which rows are among some, bool, up to the greatest of these."""
    marked = np.zeros(int(rows.max(initial=-1)) + 1, np.bool_)
    marked[rows] = True
    return marked
