"""What is popular: with everybody, lately, or the more so the later."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat
from scipy import sparse

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Baseline, History, Observed
from springtide_plugins.baselines.taken import below_one, had_by

_PIECES = ("data", "indices", "indptr", "shape")  # Of a sparse matrix, as arrays.


class Popularity(Baseline):
    """How many distinct users an item has.

    Attributes:
        learned: Names of the attributes that hold what was learned, arrays and sparse matrices.
        num_users_of: float32 ``[num_items]``; every other baseline falls back on it.
    """

    learned: ClassVar[tuple[str, ...]] = ("num_users_of",)
    num_users_of: npt.NDArray[np.float32]

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Count the users of each item."""
        had = had_by(interactions, num_users, num_items)
        self.num_users_of = np.bincount(had.indices, minlength=num_items).astype(np.float32)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the same for everybody."""
        return np.tile(self.popularity_at(now_ms), (len(user_rows), 1))

    def popularity_at(self, now_ms: int) -> npt.NDArray[np.float32]:
        """Return how popular each item is at a moment, float32 ``[num_items]``."""
        return self.num_users_of

    @property
    def num_items(self) -> int:
        """Number of items that the fit knew."""
        return len(self.num_users_of)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies; a sparse matrix is four of them."""
        found: dict[str, npt.NDArray[Any]] = {}
        for name in self.learned:
            value = getattr(self, name)
            if isinstance(value, sparse.csr_array):
                found.update({f"{name}.{piece}": np.array(getattr(value, piece)) for piece in _PIECES})
            else:
                found[name] = value.copy()
        return found

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up copies."""
        for name in self.learned:
            if name in state:
                setattr(self, name, np.array(state[name]))
            else:
                data, indices, indptr, shape = (np.array(state[f"{name}.{piece}"]) for piece in _PIECES)
                setattr(self, name, sparse.csr_array((data, indices, indptr), shape=tuple(shape.tolist())))


class RecentPopularity(Popularity):
    """How many interactions an item had in the last days before now; the rest by how many users it ever had.

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
        """Return how many interactions of the window each item had, and less than one for those that had none."""
        counts = self._counts_at(now_ms)
        return np.where(counts > 0, counts, below_one(self.num_users_of)).astype(np.float32)

    def _counts_at(self, now_ms: int) -> npt.NDArray[np.int64]:
        """Count on from where the window began when it was asked last: as now moves, a few leave it."""
        items = self.recent_item_rows
        first = int(np.searchsorted(self.recent_timestamps_ms, now_ms - self.window_ms, side="right"))
        counted = self._counted  # One reference: other threads may ask at other moments.
        if counted is None or counted[0] is not items or counted[1] > first:
            counted = (items, 0, np.bincount(items, minlength=self.num_items))
        _, before, counts = counted
        if before < first:
            counts = counts - np.bincount(items[before:first], minlength=self.num_items)
        self._counted = (items, first, counts)
        return counts


class DecayedPopularity(Popularity):
    """How many interactions an item had, each counting half as much with every half-life that it is older.

    Their order stays as time goes on: all of them fade alike.

    Args:
        half_life_days: Days.
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
