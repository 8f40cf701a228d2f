"""Interactions and histories of users as columns and sparse matrices, and how scores fall back on popularity."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.history_kernels import add_up, newest_first

_MOST_KEPT = 8  # The promotion gate fits each of its baselines on the same five slices.
_MOST_ENTRIES = 2**22  # Of a matrix that is kept: 32 MiB.


@dataclass(frozen=True, slots=True)
class HistoryEvents:
    """The events of some users' histories as columns, without items that are newer than the fit.

    Attributes:
        users: int64 ``[num_events]``, position of the event's user among the given ones, ascending.
        item_rows: int64 ``[num_events]``.
        timestamps_ms: int64 ``[num_events]``, descending for each user.
        shape: Number of users, and of items.
    """

    users: npt.NDArray[np.int64]
    item_rows: npt.NDArray[np.int64]
    timestamps_ms: npt.NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, histories: Sequence[History], num_items: int) -> "HistoryEvents":
        """Return the events of histories.

        Args:
            histories: Histories of users.
            num_items: Number of items that the fit knows.
        """
        lengths = [len(history.item_rows) for history in histories]
        users = np.repeat(np.arange(len(histories)), lengths)
        nothing = np.zeros(0, np.int64)
        items = np.concatenate([nothing, *(history.item_rows for history in histories)])
        times = np.concatenate([nothing, *(history.timestamps_ms for history in histories)])
        is_known = items < num_items
        return cls(users[is_known], items[is_known], times[is_known], (len(histories), num_items))

    def sums(self, weights: npt.NDArray[np.float64] | None = None) -> sparse.csr_array:
        """Return the sum of the weights of the events of each user and item, float32 ``[num_users, num_items]``.

        All seen items are stored in the sparse matrix, even where the sum is 0.

        Args:
            weights: float64 ``[num_events]``; None for 1.
        """
        ones = np.ones(len(self.users)) if weights is None else weights
        summed = sparse.csr_array((ones, (self.users, self.item_rows)), shape=self.shape)
        return summed.astype(np.float32)

    def newest_ms(self) -> npt.NDArray[np.int64]:
        """Return the time of the newest event of each user, int64 ``[num_users]``; 0 for those without events."""
        newest = np.zeros(self.shape[0], np.int64)
        first = np.flatnonzero(np.diff(self.users, prepend=-1))
        newest[self.users[first]] = self.timestamps_ms[first]
        return newest

    def seen(self, now_ms: int, half_life_days: float | None = None) -> sparse.csr_array:
        """Return 1 for each seen item, or less the older its newest event is, float32 ``[num_users, num_items]``.

        Args:
            now_ms: Time that ages are counted from, milliseconds since the Unix epoch.
            half_life_days: After how many days an item counts half; None for no decay.
        """
        seen = self.sums()
        seen.data[:] = 1.0
        if half_life_days is not None and len(self.users):
            newest = np.zeros(self.shape, np.float32)
            ages_days = np.maximum(now_ms - self.timestamps_ms, 0) / MS_PER_DAY
            np.maximum.at(newest, (self.users, self.item_rows), np.exp2(-ages_days / half_life_days))
            users = np.repeat(np.arange(self.shape[0]), np.diff(seen.indptr))
            seen.data = newest[users, seen.indices]
        return seen


def seen_matrix(interactions: Observed, num_users: int, num_items: int) -> sparse.csr_array:
    """Return 1 for each item that a user has interacted with, float32 ``[num_users, num_items]``."""
    starts, bounds = np.empty(num_users + 1, np.int64), np.empty(num_users + 1, np.int64)
    order = newest_first(np.ascontiguousarray(interactions.user_rows, np.int32), num_users, bounds)
    items = interactions.item_rows[order].astype(np.int32, copy=False)
    indices = np.empty(len(items), np.int32)
    num = add_up(bounds, items, None, num_items, starts, indices, np.empty(len(items), np.float32))
    ones = np.ones(num, np.float32)  # Repeated interactions have added up.
    return sparse.csr_array((ones, indices[:num].copy(), starts), shape=(num_users, num_items))


def known_items(
    history: History, num_items: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return what of a history is older than a fit.

    Args:
        history: The history.
        num_items: Number of items that the fit knows.

    Returns:
        Its distinct items, int32 ``[m]``, ascending; and for each event with one of them, newest first, the item's
        position among these and the time, int64 ``[n]`` each.
    """
    items, item_of = history.distinct()
    if not len(items) or items[-1] < num_items:
        return items, item_of, history.timestamps_ms
    num_known = int(np.searchsorted(items, num_items))
    is_known = item_of < num_known
    return items[:num_known], item_of[is_known], history.timestamps_ms[is_known]


class SeenMatrices:
    """What users have seen, made once for all baselines that are fitted on the same interactions.

    It is kept as long as somebody has the interactions, for the latest few of them.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int, int, int], sparse.csr_array] = OrderedDict()
        self._lock = threading.RLock()  # A column may be freed, which drops what was made of it, at any allocation.

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def of(self, interactions: Observed, num_users: int, num_items: int) -> sparse.csr_array:
        """Return what ``seen_matrix`` returns, to be read only."""
        columns = interactions.user_rows, interactions.item_rows
        key = id(columns[0]), id(columns[1]), num_users, num_items
        with self._lock:
            seen = self._kept.get(key)
        if seen is None:
            seen = seen_matrix(interactions, num_users, num_items)
            if seen.nnz <= _MOST_ENTRIES:
                with self._lock:
                    if key not in self._kept:
                        for column in columns:  # Its id may be given to another one later.
                            weakref.finalize(column, self._drop, key).atexit = False
                    self._kept[key] = seen
                    while len(self._kept) > _MOST_KEPT:
                        self._kept.popitem(last=False)
        return seen

    def _drop(self, key: tuple[int, int, int, int]) -> None:
        with self._lock:
            self._kept.pop(key, None)


def scaled_below_one(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return counts scaled to at least 0 and below 1, float32, in the same order."""
    scaled: npt.NDArray[np.float32] = (counts / (counts.max(initial=0.0) + 1.0)).astype(np.float32)
    return scaled


def with_fallback(own: sparse.csr_array, fallback: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the stored scores of each user, and scores that all users share for the other items.

    Args:
        own: float32 ``[n, num_items]``; stored scores are at least 1.
        fallback: float32 ``[num_items]``, below 1.

    Returns:
        float32 ``[n, num_items]``.
    """
    scores = np.tile(fallback, (own.shape[0], 1))  # [n, num_items]
    users = np.repeat(np.arange(own.shape[0]), np.diff(own.indptr))
    scores[users, own.indices] = own.data
    return scores
