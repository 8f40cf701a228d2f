"""Which pairs of user and item came before: a set that the stream fills, and whose memory is bounded."""

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
    """Tells for each pair whether it came before, and remembers it.

    Pairs are kept in two generations. When the younger one is full it becomes the older one, and what that held is
    forgotten, so that a pair is remembered while nearly ``max_pairs`` others come, and memory does not grow. Each takes
    16 to 32 bytes.

    Args:
        max_pairs: Pairs of a generation.
    """

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._young: Uint64s = np.zeros(_FIRST_SLOTS, np.uint64)
        self._num_young = 0
        self._old: Uint64s = np.zeros(_FIRST_SLOTS, np.uint64)

    def add(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return bool ``[n]``: whether each pair came before it, here or earlier; and remember them all."""
        keys = (user_rows.astype(np.uint64) << _SHIFT) + item_rows.astype(np.uint64) + np.uint64(1)
        came = np.zeros(len(keys), np.bool_)
        done = 0
        while done < len(keys):
            if 2 * self._num_young >= len(self._young):
                self._young = _grown(self._young)
            room = min(len(self._young) // 2, self._max_pairs) - self._num_young
            stop = min(len(keys), done + max(room, 1))
            self._num_young += _add(self._young, self._old, keys[done:stop], came[done:stop])
            done = stop
            if self._num_young >= self._max_pairs:
                self._old, self._young, self._num_young = self._young, np.zeros(_FIRST_SLOTS, np.uint64), 0
        return came

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is needed to go on: the pairs of both generations."""
        return {name: table[table != _EMPTY] for name, table in (("young", self._young), ("old", self._old))}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``state`` gave."""
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
    """Return where a key is, or the empty slot where it belongs; tables are never full."""
    mask = np.uint64(len(table) - 1)  # Their lengths are powers of two.
    place = ((key * _MULTIPLIER) >> _SHIFT) & mask
    while table[place] != _EMPTY and table[place] != key:
        place = (place + np.uint64(1)) & mask
    return int(place)


@njit(cache=True, nogil=True)
def _add(
    young: npt.NDArray[np.uint64],
    old: npt.NDArray[np.uint64],
    keys: npt.NDArray[np.uint64],
    came: npt.NDArray[np.bool_],
) -> int:
    """Put keys into the young table, and mark those that were in either; return how many were not in the young one."""
    num_added = 0
    for number in range(len(keys)):
        slot = _slot(young, keys[number])
        if young[slot] == keys[number]:
            came[number] = True
        else:
            came[number] = len(old) > 1 and old[_slot(old, keys[number])] == keys[number]
            young[slot] = keys[number]
            num_added += 1
    return num_added
