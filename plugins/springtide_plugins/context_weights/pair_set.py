"""How often each pair of user and item occurred before, for a bounded number of pairs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights import pair_kernels

Uint64s = npt.NDArray[np.uint64]
Uint32s = npt.NDArray[np.uint32]
_FIRST_SLOTS = 1_024
_SLACK = 8  # Pairs that are gone are dropped where they are 1/8 of a full generation, or leave 7/8 of a table empty.
_SHIFT = np.uint64(32)


class SeenPairs:
    """Says for each pair whether it occurred before, and counts it.

    There are two generations of pairs. When the younger one is full, it replaces the older one, whose pairs are
    forgotten. So a pair is remembered until about ``max_pairs`` other pairs have come; pairs that were taken back or
    forgotten are not among these. A pair takes 24 to 48 bytes, and up to 72 where others are gone.

    Args:
        max_pairs: Number of pairs in a generation.
    """

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._young = _Table()
        self._old = _Table()

    @property
    def num_bytes(self) -> int:
        """Bytes of the hash tables."""
        return sum(table.keys.nbytes + table.counts.nbytes for table in (self._young, self._old))

    def add(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return whether each pair occurred before, in this call or earlier, bool ``[n]``, and count all pairs."""
        occurred = np.empty(len(user_rows), np.bool_)
        done = 0
        while done < len(user_rows):
            if 2 * self._young.num_keys >= len(self._young.keys):
                self._young = self._young.rebuilt()
            young, old = self._young, self._old
            room = min(len(young.keys) // 2, self._max_pairs) - young.num_keys
            stop = min(len(user_rows), done + max(room, 1))
            young.num_keys += pair_kernels.add_pairs(
                *(young.keys, young.counts, old.keys, old.counts, user_rows, item_rows, done, stop, occurred)
            )
            done = stop
            if young.num_keys >= self._max_pairs:
                self._turn()
        return occurred

    def remove(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return for each pair whether it is left, after it was taken back once, bool ``[n]``.

        A pair that is not remembered counts as one that is left: it would have been forgotten all the same.
        """
        is_left = np.ones(len(user_rows), np.bool_)
        pair_kernels.remove_pairs(
            *(self._young.keys, self._young.counts, self._old.keys, self._old.counts),
            *(user_rows, item_rows, is_left),
        )
        return is_left

    def forget(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all pairs of some users and of some items, int32 ``[m]`` and ``[n]``."""
        for table in (self._young, self._old):
            slots = np.flatnonzero(table.counts)
            pairs = table.keys[slots] - np.uint64(1)
            is_gone = _is_among(pairs >> _SHIFT, user_rows) | _is_among(pairs & np.uint64(0xFFFFFFFF), item_rows)
            table.counts[slots[is_gone]] = 0
        self._young, self._old = (table.shrunk() for table in (self._young, self._old))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the pairs of both generations, and how often each occurred."""
        state: dict[str, npt.NDArray[Any]] = {}
        for name, table in (("young", self._young), ("old", self._old)):
            is_used = table.counts > 0
            state |= {name: table.keys[is_used], f"{name}_counts": table.counts[is_used]}
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned; pairs without a count, as older states have them, occurred once."""
        self._young, self._old = (
            _Table.of(
                np.asarray(state[name], np.uint64),
                np.asarray(state.get(f"{name}_counts", np.ones(len(state[name]))), np.uint32),
            )
            for name in ("young", "old")
        )

    def _turn(self) -> None:
        """Let the younger generation, which is full, replace the older one, unless many of its pairs are gone."""
        young = self._young
        num_living = young.num_living
        if num_living < young.num_keys:
            young = young.rebuilt()
        is_full = num_living * _SLACK >= self._max_pairs * (_SLACK - 1)
        self._young, self._old = (_Table(), young) if is_full else (young, self._old)


class _Table:
    """A hash table of pairs with open addressing; a pair with count 0 was taken back.

    Attributes:
        keys: uint64 ``[num_slots]``, 0 where a slot is empty.
        counts: uint32 ``[num_slots]``.
        num_keys: Number of slots in use, those of pairs with count 0 included.
    """

    __slots__ = ("counts", "keys", "num_keys")

    def __init__(self, num_slots: int = _FIRST_SLOTS) -> None:
        self.keys: Uint64s = np.zeros(num_slots, np.uint64)
        self.counts: Uint32s = np.zeros(num_slots, np.uint32)
        self.num_keys = 0

    @classmethod
    def of(cls, keys: Uint64s, counts: Uint32s, num_more: int = 1) -> "_Table":
        """Return a table of pairs with their counts, with room for ``num_more`` others."""
        num_slots = _FIRST_SLOTS
        while num_slots < 2 * (len(keys) + num_more):
            num_slots *= 2
        table = cls(num_slots)
        pair_kernels.fill_pairs(table.keys, table.counts, keys, counts)
        table.num_keys = len(keys)
        return table

    @property
    def num_living(self) -> int:
        """Number of pairs that were not taken back."""
        return int(np.count_nonzero(self.counts))

    def rebuilt(self) -> "_Table":
        """Return a copy without pairs that were taken back, with room for half as many more at least."""
        is_used = self.counts > 0
        keys = self.keys[is_used]
        return _Table.of(keys, self.counts[is_used], len(keys) // 2)

    def shrunk(self) -> "_Table":
        """Return a smaller copy if few pairs are left, else the table itself."""
        num_slots = len(self.keys)
        return self.rebuilt() if num_slots > _FIRST_SLOTS and self.num_living * _SLACK < num_slots else self


def _is_among(rows: Uint64s, wanted: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return which rows are among the wanted ones, bool ``[n]``."""
    if not len(wanted) or not len(rows):
        return np.zeros(len(rows), np.bool_)
    is_wanted = np.zeros(max(int(rows.max()), int(wanted.max())) + 1, np.bool_)
    is_wanted[wanted] = True
    is_among: npt.NDArray[np.bool_] = is_wanted[rows]
    return is_among
