"""Popularity of items: in users, in a recent window, or with decay."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat
from scipy import sparse

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Baseline, History, Observed
from springtide_plugins.baselines.histories import SeenMatrices, scaled_below_one

_PIECES = ("data", "indices", "indptr", "shape")  # Arrays that make up a sparse matrix.
_SEEN = SeenMatrices()


class Popularity(Baseline):
    """Number of distinct users of an item.

    Attributes:
        learned: Names of the attributes with the fitted state, arrays and sparse matrices.
        by_user: Those of them that have a row for each user.
        num_users_of: float32 ``[num_items]``, number of users of each item; all other baselines fall back on it.
    """

    learned: ClassVar[tuple[str, ...]] = ("num_users_of",)
    by_user: ClassVar[tuple[str, ...]] = ()
    num_users_of: npt.NDArray[np.float32]
    _scaled: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None  # These, and scaled below 1.

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Count the users of each item."""
        self.count_users(interactions, num_users, num_items)

    def count_users(self, interactions: Observed, num_users: int, num_items: int) -> sparse.csr_array:
        """Count the users of each item, and return what each user has seen (``histories.seen_matrix``), to be read."""
        seen = _SEEN.of(interactions, num_users, num_items)
        self.num_users_of = np.bincount(seen.indices, minlength=num_items).astype(np.float32)
        return seen

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the same scores for all users."""
        return np.tile(self.popularity_at(now_ms), (len(user_rows), 1))

    def popularity_at(self, now_ms: int) -> npt.NDArray[np.float32]:
        """Return how popular each item is at a moment, float32 ``[num_items]``."""
        return self.num_users_of

    def with_popularity(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Replace scores of 0 by the numbers of users, scaled below 0, in place; float32 ``[n, num_items]``."""
        scores += (scores == 0.0) * (self.scaled() - np.float32(1.0))  # A seventh of the time that a masked copy takes.
        return scores

    def scaled(self) -> npt.NDArray[np.float32]:
        """Return the numbers of users scaled to at least 0 and below 1, float32 ``[num_items]``; not to be changed."""
        scaled = self._scaled  # Read once: other threads may replace it.
        if scaled is None or scaled[0] is not self.num_users_of:
            self._scaled = scaled = self.num_users_of, scaled_below_one(self.num_users_of)
        return scaled[1]

    @property
    def num_items(self) -> int:
        """Number of items that the fit knows."""
        return len(self.num_users_of)

    def forget_users(self, user_rows: npt.NDArray[np.int64]) -> None:
        """Empty the rows of some users."""
        for name in self.by_user:
            setattr(self, name, _emptied(getattr(self, name), user_rows))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies; a sparse matrix is stored as four arrays."""
        found: dict[str, npt.NDArray[Any]] = {}
        for name in self.learned:
            value = getattr(self, name)
            if isinstance(value, sparse.csr_array):
                found.update({f"{name}.{piece}": np.array(getattr(value, piece)) for piece in _PIECES})
            else:
                found[name] = value.copy()
        return found

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore copies."""
        for name in self.learned:
            if name in state:
                setattr(self, name, np.array(state[name]))
            else:
                data, indices, indptr, shape = (np.array(state[f"{name}.{piece}"]) for piece in _PIECES)
                setattr(self, name, sparse.csr_array((data, indices, indptr), shape=tuple(shape.tolist())))


def _emptied(
    by_user: sparse.csr_array | npt.NDArray[np.float32], user_rows: npt.NDArray[np.int64]
) -> sparse.csr_array | npt.NDArray[np.float32]:
    """Return a copy with nothing in some rows; those beyond its end are passed over."""
    is_kept = np.ones(by_user.shape[0], np.bool_)
    is_kept[user_rows[user_rows < len(is_kept)]] = False
    if not isinstance(by_user, sparse.csr_array):
        return np.where(is_kept[:, None], by_user, np.float32(0.0))
    lengths = np.diff(by_user.indptr)
    is_entry_kept = np.repeat(is_kept, lengths)
    indptr = np.concatenate([[0], np.cumsum(lengths * is_kept)]).astype(by_user.indptr.dtype)
    return sparse.csr_array((by_user.data[is_entry_kept], by_user.indices[is_entry_kept], indptr), shape=by_user.shape)


class RecentPopularity(Popularity):
    """Number of interactions of an item in the last days before now; other items follow by their number of users.

    Args:
        days: Length of the window.
    """

    learned = ("num_users_of", "recent_item_rows", "recent_timestamps_ms")
    recent_item_rows: npt.NDArray[np.int32]
    recent_timestamps_ms: npt.NDArray[np.int64]

    def __init__(self, days: PositiveFloat = 28.0) -> None:
        self.window_ms = round(days * MS_PER_DAY)
        self._counted: tuple[npt.NDArray[np.int32], int, npt.NDArray[np.int64]] | None = None

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Keep the interactions of the window before the newest."""
        super().fit(interactions, num_users, num_items)
        times = interactions.timestamps_ms
        first = int(np.searchsorted(times, times[-1] - self.window_ms, side="right"))
        self.recent_item_rows = interactions.item_rows[first:].astype(np.int32)
        self.recent_timestamps_ms = times[first:].copy()

    def popularity_at(self, now_ms: int) -> npt.NDArray[np.float32]:
        """Return interactions in the window, and less than 1 for items without any, float32 ``[num_items]``."""
        counts = self._counts_at(now_ms).astype(np.float32)
        counts += (counts == 0.0) * self.scaled()
        return counts

    def _counts_at(self, now_ms: int) -> npt.NDArray[np.int64]:
        """Return counts in the window, int64 ``[num_items]``: the last counts without the events that have left it."""
        items = self.recent_item_rows
        first = int(np.searchsorted(self.recent_timestamps_ms, now_ms - self.window_ms, side="right"))
        counted = self._counted  # Read once: other threads may replace it.
        if counted is None or counted[0] is not items or counted[1] > first:
            counted = (items, 0, np.bincount(items, minlength=self.num_items))
        _, before, counts = counted
        if before < first:
            counts = counts - np.bincount(items[before:first], minlength=self.num_items)
        self._counted = (items, first, counts)
        return counts


WeekPopularity = functools.partial(RecentPopularity, days=7.0)


class DecayedPopularity(Popularity):
    """Number of interactions of an item, each halved with every half-life of its age.

    The ranking does not change between fits, since all counts decay at the same rate.

    Args:
        half_life_days: Half-life in days.
    """

    learned = ("num_users_of", "decayed_counts")
    decayed_counts: npt.NDArray[np.float32]

    def __init__(self, half_life_days: PositiveFloat = 28.0) -> None:
        self.half_life_days = half_life_days

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Count as of the newest interaction."""
        super().fit(interactions, num_users, num_items)
        ages_days = (interactions.timestamps_ms[-1] - interactions.timestamps_ms) / MS_PER_DAY
        weights = np.exp2(-ages_days / self.half_life_days)
        self.decayed_counts = np.bincount(interactions.item_rows, weights, num_items).astype(np.float32)

    def popularity_at(self, now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts as of the newest interaction of the fit."""
        return self.decayed_counts
