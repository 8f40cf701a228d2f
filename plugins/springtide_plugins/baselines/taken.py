"""What users took, as columns and as matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from springtide.plugins.contracts import History, Observed


@dataclass(frozen=True, slots=True)
class Taken:
    """What some users took, event by event; items that came after the fit are left out.

    Attributes:
        owners: int64 ``[num_events]``, position of the event's user among those asked for, ascending.
        item_rows: int64 ``[num_events]``.
        timestamps_ms: int64 ``[num_events]``, descending for each user.
        shape: Number of users, and of items.
    """

    owners: npt.NDArray[np.int64]
    item_rows: npt.NDArray[np.int64]
    timestamps_ms: npt.NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, histories: Sequence[History], num_items: int) -> "Taken":
        """Return what histories hold."""
        lengths = [len(history.item_rows) for history in histories]
        owners = np.repeat(np.arange(len(histories)), lengths)
        nothing = np.zeros(0, np.int64)
        items = np.concatenate([nothing, *(history.item_rows for history in histories)])
        times = np.concatenate([nothing, *(history.timestamps_ms for history in histories)])
        is_known = items < num_items
        return cls(owners[is_known], items[is_known], times[is_known], (len(histories), num_items))

    def sums(self, weights: npt.NDArray[np.float64] | None = None) -> sparse.csr_array:
        """Return for each user and item the sum of its events' weights; their number if there are no weights.

        Returns:
            float32 ``[num_users, num_items]``; stored for what was taken, even where it is 0.
        """
        ones = np.ones(len(self.owners)) if weights is None else weights
        summed = sparse.csr_array((ones, (self.owners, self.item_rows)), shape=self.shape)
        return summed.astype(np.float32)

    def newest_ms(self) -> npt.NDArray[np.int64]:
        """Return the time of the newest event of each user, int64 ``[num_users]``; 0 for those without events."""
        newest = np.zeros(self.shape[0], np.int64)
        users, first = np.unique(self.owners, return_index=True)
        newest[users] = self.timestamps_ms[first]
        return newest


def had_by(interactions: Observed, num_users: int, num_items: int) -> sparse.csr_array:
    """Return 1 for each item that a user had, float32 ``[num_users, num_items]``."""
    ones = np.ones(len(interactions), np.float32)
    had = sparse.csr_array((ones, (interactions.user_rows, interactions.item_rows)), shape=(num_users, num_items))
    had.data[:] = 1.0  # However often it was.
    return had


def below_one(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return counts in their order, scaled to at least 0 and below 1, float32."""
    scaled: npt.NDArray[np.float32] = (counts / (counts.max(initial=0.0) + 1.0)).astype(np.float32)
    return scaled


def first_then(first: sparse.csr_array, then: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a score of its own for whatever is stored, and one that all users share for the rest.

    Args:
        first: float32 ``[n, num_items]``, at least 1 wherever anything is stored.
        then: float32 ``[num_items]``, below 1.
    """
    scores = np.tile(then, (first.shape[0], 1))  # [n, num_items]
    users = np.repeat(np.arange(first.shape[0]), np.diff(first.indptr))
    scores[users, first.indices] = first.data
    return scores
