"""How often each pair of user and item occurred before, for a bounded number of pairs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights import pair_kernels

Uint64s = npt.NDArray[np.uint64]
Uint32s = npt.NDArray[np.uint32]
Uint16s = npt.NDArray[np.uint16]
_FIRST_SLOTS = 1_024
_GROUP = 8  # Slots; see ``pair_kernels``.
_LOAD = 0.85  # Most slots of a table that are in use: searches begin at groups, so they still end in the next one.
_MOST = 2**16 - 1  # A count in a table that stands for one in ``_Table.large``.
_FEW = 2**19  # Pairs up to which a table doubles, at most 13 MB: most of what is copied is copied on the way there.
_SLACK = 8  # Pairs that are gone are dropped where they are 1/8 of a full generation, or leave 7/8 of a table empty.
_SHIFT = np.uint64(32)


class SeenPairs:
    """Says for each pair whether it occurred before, and counts it.

    There are two generations of pairs. When the younger one is full, it replaces the older one, whose pairs are
    forgotten. So a pair is remembered until about ``max_pairs`` other pairs have come; pairs that were taken back or
    forgotten are not among these. A pair takes 12 to 15 bytes, and up to 30 where
    others are gone; while there are fewer than half a million, up to 24, so that they are copied seldom.

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
            if self._young.num_free < 1:
                self._young = self._young.rebuilt(self._max_pairs)
            young, old = self._young, self._old
            room = max(1, min(young.num_free, self._max_pairs - young.num_keys))
            done, num_added = pair_kernels.add_pairs(
                *(young.keys, young.counts, old.keys, old.counts, user_rows, item_rows, done, room, occurred)
            )
            young.num_keys += num_added
            if num_added < room and done < len(user_rows):  # A count that is large.
                key = _key(user_rows[done], item_rows[done])
                count = young.count_of(key)
                count = old.count_of(key) if count is None else count
                young.put(key, (count or 0) + 1)
                occurred[done] = True
                done += 1
            if young.num_keys >= self._max_pairs:
                self._turn()
        return occurred

    def remove(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return for each pair whether it is left, after it was taken back once, bool ``[n]``.

        A pair that is not remembered counts as one that is left: it would have been forgotten all the same.
        """
        is_left = np.ones(len(user_rows), np.bool_)
        young, old, done = self._young, self._old, 0
        while True:
            done = pair_kernels.remove_pairs(
                *(young.keys, young.counts, old.keys, old.counts, user_rows, item_rows, done, is_left)
            )
            if done == len(user_rows):
                return is_left
            key = _key(user_rows[done], item_rows[done])  # Its count is large, so it is left.
            for table in (young, old):
                count = table.count_of(key)
                if count is not None:
                    table.put(key, count - 1 if table is young or young.count_of(key) is None else 0)
            done += 1

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
            keys, counts = table.pairs()
            state |= {name: keys, f"{name}_counts": counts}
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned; pairs without a count, as older states have them, occurred once."""
        for name in ("young", "old"):
            keys = np.ascontiguousarray(state[name], np.uint64)
            counts = np.asarray(state.get(f"{name}_counts", np.ones(len(keys))), np.uint32)
            setattr(self, f"_{name}", _Table.of(keys, counts, len(keys) // 16 + 1))

    def _turn(self) -> None:
        """Let the younger generation, which is full, replace the older one, unless many of its pairs are gone."""
        young = self._young
        num_living = young.num_living
        is_full = num_living * _SLACK >= self._max_pairs * (_SLACK - 1)
        if num_living < young.num_keys:
            young = young.rebuilt(num_living if is_full else self._max_pairs)  # An older one does not grow.
        self._young, self._old = (_Table(), young) if is_full else (young, self._old)


class _Table:
    """A hash table of pairs with open addressing; a pair with count 0 was taken back.

    Attributes:
        keys: uint64 ``[num_slots]``, 0 where a slot is empty.
        counts: uint16 ``[num_slots]``, 65,535 for a count in ``large``.
        num_keys: Number of slots in use, those of pairs with count 0 included.
        large: Counts of 65,535 and more, by key.
    """

    __slots__ = ("counts", "keys", "large", "num_keys")

    def __init__(self, num_slots: int = _FIRST_SLOTS) -> None:
        self.keys: Uint64s = np.zeros(num_slots, np.uint64)
        self.counts: Uint16s = np.zeros(num_slots, np.uint16)
        self.large: dict[int, int] = {}
        self.num_keys = 0

    @classmethod
    def of(cls, keys: Uint64s, counts: Uint32s, num_more: int = 1) -> "_Table":
        """Return a table of pairs with their counts, with room for ``num_more`` others."""
        table = cls(_num_slots(len(keys) + num_more))
        pair_kernels.fill_pairs(table.keys, table.counts, keys, np.minimum(counts, _MOST).astype(np.uint16))
        for number in np.flatnonzero(counts >= _MOST).tolist():
            table.large[int(keys[number])] = int(counts[number])
        table.num_keys = len(keys)
        return table

    @property
    def num_free(self) -> int:
        """Number of pairs that there is room for."""
        return int(len(self.keys) * _LOAD) - self.num_keys

    def pairs(self) -> tuple[Uint64s, Uint32s]:
        """Return the pairs that were not taken back, uint64 ``[n]`` in the order of slots, and their counts."""
        slots = np.flatnonzero(self.counts)
        keys, counts = self.keys[slots], self.counts[slots].astype(np.uint32)
        for number in np.flatnonzero(counts == _MOST).tolist():
            counts[number] = min(self.large[int(keys[number])], 2**32 - 1)
        return keys, counts

    def count_of(self, key: int) -> int | None:
        """Return how often a pair occurred; None if the table does not have it."""
        slot = pair_kernels.slot_of(self.keys, key)
        if not self.keys[slot]:
            return None
        return self.large[key] if self.counts[slot] == _MOST else int(self.counts[slot])

    def put(self, key: int, count: int) -> None:
        """Set how often a pair occurred; there is room for it."""
        slot = pair_kernels.slot_of(self.keys, key)
        self.num_keys += not self.keys[slot]
        self.keys[slot], self.counts[slot] = key, min(count, _MOST)
        if count >= _MOST:
            self.large[key] = count
        else:
            self.large.pop(key, None)

    @property
    def num_living(self) -> int:
        """Number of pairs that were not taken back."""
        return int(np.count_nonzero(self.counts))

    def rebuilt(self, max_pairs: int) -> "_Table":
        """Return a copy without pairs that were taken back.

        It has room for as many more while they are few, then for a quarter as many; in all for ``max_pairs`` at most.
        """
        num_living = self.num_living
        num_more = min(num_living, max(_FEW - num_living, num_living // 4), max_pairs - num_living)
        rebuilt = _Table(_num_slots(num_living + max(num_more, 1)))
        rebuilt.num_keys = pair_kernels.move_pairs(self.keys, self.counts, rebuilt.keys, rebuilt.counts)
        if self.large:
            rebuilt.large = {key: count for key, count in self.large.items() if rebuilt.has_large(key)}
        return rebuilt

    def has_large(self, key: int) -> bool:
        """Return whether the count of a pair is in ``large``."""
        slot = pair_kernels.slot_of(self.keys, key)
        return bool(self.keys[slot]) and bool(self.counts[slot] == _MOST)

    def shrunk(self) -> "_Table":
        """Return a smaller copy if few pairs are left, else the table itself."""
        num_slots, num_living = len(self.keys), self.num_living
        return self.rebuilt(2 * num_living) if num_slots > _FIRST_SLOTS and num_living * _SLACK < num_slots else self


def _num_slots(num_pairs: int) -> int:
    """Return how many slots a table has that has room for some pairs."""
    num_slots = max(_FIRST_SLOTS, int((num_pairs + 1) / _LOAD))
    return -(-num_slots // _GROUP) * _GROUP


def _key(user_row: np.int32, item_row: np.int32) -> int:
    return (int(user_row) << 32) + int(item_row) + 1


def _is_among(rows: Uint64s, wanted: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return which rows are among the wanted ones, bool ``[n]``."""
    if not len(wanted) or not len(rows):
        return np.zeros(len(rows), np.bool_)
    is_wanted = np.zeros(max(int(rows.max()), int(wanted.max())) + 1, np.bool_)
    is_wanted[wanted] = True
    is_among: npt.NDArray[np.bool_] = is_wanted[rows]
    return is_among
