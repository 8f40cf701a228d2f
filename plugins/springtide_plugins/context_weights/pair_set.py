"""How often each pair of user and item occurred before, for a bounded number of pairs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights.pair_kernels import add_pairs, remove_pairs
from springtide_plugins.context_weights.pair_tables import PairTable

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
        """Return the pairs of both generations, and how often each occurred."""
        state: dict[str, npt.NDArray[Any]] = {}
        for name, table in (("young", self._young), ("old", self._old)):
            keys, counts = table.pairs()
            state |= {name: keys, f"{name}_counts": counts}
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned; pairs without a count, as older states have them, occurred once."""
        tables = []
        for name in ("young", "old"):
            keys = np.ascontiguousarray(state[name], np.uint64)
            counts = np.ascontiguousarray(state.get(f"{name}_counts", np.ones(len(keys), np.uint32)), np.uint32)
            tables.append(PairTable(self._max_pairs))
            tables[-1].fill(keys, counts)
        self._young, self._old = tables

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
