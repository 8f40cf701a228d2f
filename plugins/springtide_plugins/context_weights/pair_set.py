"""A set of pairs of user and item that occurred before, of bounded size."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Uint64s = npt.NDArray[np.uint64]
_EMPTY = np.uint64(0)
_FIRST_SLOTS = 1_024
_SHIFT = np.uint64(32)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio (Knuth 1973, multiplicative hashing).


class SeenPairs:
    """Says for each pair whether it occurred before, and remembers it.

    There are two generations of pairs. When the younger one is full, it replaces the older one, whose pairs are
    forgotten. So a pair is remembered until about ``max_pairs`` other pairs have come. A pair takes 16 to 32 bytes.

    Args:
        max_pairs: Number of pairs in a generation.
    """

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._young: Uint64s = np.zeros(_FIRST_SLOTS, np.uint64)
        self._num_young = 0
        self._old: Uint64s = np.zeros(_FIRST_SLOTS, np.uint64)

    def add(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return whether each pair occurred before, in this call or earlier, bool ``[n]``, and remember all pairs."""
        keys = (user_rows.astype(np.uint64) << _SHIFT) + item_rows.astype(np.uint64) + np.uint64(1)
        occurred = np.zeros(len(keys), np.bool_)
        done = 0
        while done < len(keys):
            if 2 * self._num_young >= len(self._young):
                self._young = _grown(self._young)
            room = min(len(self._young) // 2, self._max_pairs) - self._num_young
            stop = min(len(keys), done + max(room, 1))
            self._num_young += _add(self._young, self._old, keys[done:stop], occurred[done:stop])
            done = stop
            if self._num_young >= self._max_pairs:
                self._old, self._young, self._num_young = self._young, np.zeros(_FIRST_SLOTS, np.uint64), 0
        return occurred

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the pairs of both generations."""
        return {name: table[table != _EMPTY] for name, table in (("young", self._young), ("old", self._old))}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned."""
        young, old = (np.asarray(state[name], np.uint64) for name in ("young", "old"))
        self._young, self._old = _table_of(young), _table_of(old)
        self._num_young = len(young)


def _table_of(keys: Uint64s) -> Uint64s:
    slots = _FIRST_SLOTS
    while slots < 2 * len(keys) + 2:
        slots *= 2
    table = np.zeros(slots, np.uint64)
    _add(table, np.zeros(1, np.uint64), keys, np.zeros(len(keys), np.bool_))
    return table


def _grown(table: Uint64s) -> Uint64s:
    larger = np.zeros(2 * len(table), np.uint64)
    keys = table[table != _EMPTY]
    _add(larger, np.zeros(1, np.uint64), keys, np.zeros(len(keys), np.bool_))
    return larger


@njit(cache=True, nogil=True)
def _slot(table: npt.NDArray[np.uint64], key: np.uint64) -> int:
    """Return the slot of a key, or the empty slot where it belongs; tables are never full."""
    mask = np.uint64(len(table) - 1)  # Their lengths are powers of two.
    slot = ((key * _MULTIPLIER) >> _SHIFT) & mask
    while table[slot] != _EMPTY and table[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return int(slot)


@njit(cache=True, nogil=True)
def _add(
    young: npt.NDArray[np.uint64],
    old: npt.NDArray[np.uint64],
    keys: npt.NDArray[np.uint64],
    occurred: npt.NDArray[np.bool_],
) -> int:
    """Add keys to the young table and mark those that either table had; return how many the young one did not have."""
    num_added = 0
    for number in range(len(keys)):
        slot = _slot(young, keys[number])
        if young[slot] == keys[number]:
            occurred[number] = True
        else:
            occurred[number] = len(old) > 1 and old[_slot(old, keys[number])] == keys[number]
            young[slot] = keys[number]
            num_added += 1
    return num_added
