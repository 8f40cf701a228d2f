"""Nearest neighbours: items similar to the user's items, and items of similar users."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse

from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import HistoryEvents, known_items
from springtide_plugins.baselines.history_kernels import mean_baskets, newest_first
from springtide_plugins.baselines.kernels import add_weighted_rows, nearest_items
from springtide_plugins.baselines.popularity import Popularity

_ITEMS_AT_ONCE = 4_096  # What is found for them is in memory at once: with 200 neighbours, 7 MB.
_ITEMS_TOGETHER, _NUM_BARS = 32, 64  # As in ``kernels``.


@dataclass(frozen=True, slots=True)
class _Rows:
    """A sparse matrix by rows, as compiled loops take it.

    Attributes:
        starts: int64 ``[num_rows]``, where the entries of each row begin.
        stops: int64 ``[num_rows]``, where they end.
        indices: int32 ``[num_entries]``, their columns.
        values: float32 ``[num_entries]``.
    """

    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    @classmethod
    def of(cls, matrix: sparse.csr_array) -> "_Rows":
        bounds = matrix.indptr.astype(np.int64)
        indices, values = matrix.indices.astype(np.int32, copy=False), matrix.data.astype(np.float32, copy=False)
        return cls(bounds[:-1], bounds[1:], indices, values)

    def add(self, rows: npt.NDArray[np.int64], weights: npt.NDArray[np.float32], sums: npt.NDArray[np.float32]) -> None:
        """Add some rows, int64 ``[m]``, times their weights, float32 ``[m]``, to sums, float32 ``[num_columns]``."""
        add_weighted_rows(rows, weights, self.starts, self.stops, self.indices, self.values, sums)

    def as_matrix(self, rows: npt.NDArray[np.int64], num_columns: int) -> sparse.csr_array:
        """Return some rows, int64 ``[m]``, float32 ``[m, num_columns]``."""
        lengths = (self.stops - self.starts)[rows]
        bounds = np.append(0, np.cumsum(lengths))
        entries = np.arange(bounds[-1]) + np.repeat(self.starts[rows] - bounds[:-1], lengths)
        return sparse.csr_array((self.values[entries], self.indices[entries], bounds), shape=(len(rows), num_columns))


def _longer(array: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    longer = np.zeros((length, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


class _NearestItems:
    """The nearest items of each item, found when they are first asked for.

    Finding those of all items takes by far the most of a fit. Who asks about a few users, as the promotion gate does,
    needs those of their items alone.

    Args:
        seen: float32 ``[num_users, num_items]``, 1 for seen items.
        num_users_of: float32 ``[num_items]``.
        count: How many to find of each item, itself included.
    """

    def __init__(self, seen: sparse.csr_array, num_users_of: npt.NDArray[np.float32], count: int) -> None:
        self.num_items = seen.shape[1]
        self._count = min(count, self.num_items)
        self._at_place = np.argsort(-num_users_of, kind="stable").astype(
            np.int32
        )  # Items, those with most users first.
        self._place_of = np.argsort(self._at_place).astype(np.int64)
        self._lengths = np.sqrt(num_users_of[self._at_place])
        places = self._place_of[seen.indices].astype(np.int32)
        users_by_place = sparse.csr_array((seen.data, places, seen.indptr), shape=seen.shape).T.tocsr()
        places_by_user = users_by_place.T.tocsr()  # A transposition sorts.
        self._users_by_place, self._places_by_user = _Rows.of(users_by_place), _Rows.of(places_by_user)
        self._bars = np.zeros(_NUM_BARS, np.float32)
        # What was found, a row for each item that was asked for; -1 for items without one.
        self._slot_of = np.full(self.num_items, -1, np.int64)
        self._num_found = 0
        self._lengths_found = np.zeros(0, np.int64)
        self._nearest = np.zeros((0, self._count), np.int32)
        self._cosines = np.zeros((0, self._count), np.float32)

    def rows(self, items: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], "_Rows"]:
        """Return the row of each item, int64 ``[n]``, and the rows: the cosines of items with their nearest.

        Of equal cosines, those with the items of most users are kept.
        """
        missing = np.unique(items[self._slot_of[items] < 0])
        for start in range(0, len(missing), _ITEMS_AT_ONCE):
            self._find(missing[start : start + _ITEMS_AT_ONCE])
        starts = np.arange(len(self._lengths_found)) * self._count
        found = _Rows(starts, starts + self._lengths_found, self._nearest.reshape(-1), self._cosines.reshape(-1))
        return self._slot_of[items], found

    def _find(self, items: npt.NDArray[np.int64]) -> None:
        first, stop = self._num_found, self._num_found + len(items)
        if stop > len(self._nearest):  # By a half at least, so that it is seldom.
            room = min(max(stop, 3 * len(self._nearest) // 2), self.num_items)
            self._nearest = _longer(self._nearest, room)
            self._cosines = _longer(self._cosines, room)
            self._lengths_found = _longer(self._lengths_found, room)
        num_found = np.empty(len(items), np.int32)
        num_items = self.num_items
        num_common, counts = np.zeros(num_items, np.int32), np.zeros(num_items + _ITEMS_TOGETHER, np.int16)
        nearest_items(
            np.append(self._users_by_place.starts, self._users_by_place.stops[-1:]),
            self._users_by_place.indices,
            np.append(self._places_by_user.starts, self._places_by_user.stops[-1:]),
            self._places_by_user.indices,
            self._lengths,
            self._place_of[items],
            num_common,
            counts,
            np.empty(num_items + 1, np.int32),
            np.empty(num_items, np.uint64),
            self._bars,
            num_found,
            self._nearest[first:stop],
            self._cosines[first:stop],
        )
        is_found = np.arange(self._count) < num_found[:, None]
        nearest = self._nearest[first:stop]
        nearest[is_found] = self._at_place[nearest[is_found]]
        self._lengths_found[first:stop] = num_found
        self._slot_of[items] = np.arange(first, stop)
        self._num_found = stop


class ItemKNN(Popularity):
    """Items similar to the user's items, by the cosine between their sets of users; then popular items.

    Args:
        neighbours: Number of nearest items kept for each item.
        half_life_days: Half-life of the items of a history in days; None for no decay.
    """

    learned = ("num_users_of", "similarity")

    def __init__(self, neighbours: PositiveInt = 200, half_life_days: PositiveFloat | None = None) -> None:
        self.neighbours = neighbours
        self.half_life_days = half_life_days
        self._nearest: _NearestItems | None = None
        self._similarity: sparse.csr_array | None = None

    @property
    def similarity(self) -> sparse.csr_array:
        """Cosines of each item with its nearest, itself included, float32 ``[num_items, num_items]``."""
        if self._similarity is None:
            assert self._nearest is not None, "it was fitted or restored"
            every = np.arange(self._nearest.num_items)
            rows, found = self._nearest.rows(every)
            self._similarity = found.as_matrix(rows, len(every))
        return self._similarity

    @similarity.setter
    def similarity(self, similarity: sparse.csr_array) -> None:
        self._similarity, self._nearest = similarity, None

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Sort users by items, and items by users; the nearest items are found when they are needed."""
        seen = self.count_users(interactions, num_users, num_items)
        self._similarity, self._nearest = None, _NearestItems(seen, self.num_users_of, self.neighbours)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return sums of cosines with the user's items, and popularity below 0 where the sum is 0."""
        seen = HistoryEvents.of(histories, self.num_items).seen(now_ms, self.half_life_days)
        items = seen.indices.astype(np.int64)
        if self._similarity is None and self._nearest is not None:
            items, similarity = self._nearest.rows(items)
        else:
            similarity = _Rows.of(self.similarity)
        sums = np.zeros(seen.shape, np.float32)
        for of_user, start, stop in zip(sums, seen.indptr[:-1].tolist(), seen.indptr[1:].tolist(), strict=True):
            similarity.add(items[start:stop], seen.data[start:stop], of_user)
        return self.with_popularity(sums)


class UserKNN(Popularity):
    """Items of the most similar users, by the cosine between their sets of items; then popular items.

    The current history of a user is compared with the items of the other users at the fit.

    Args:
        neighbours: Number of similar users.
    """

    learned = ("num_users_of", "had")
    by_user = ("had",)
    had: sparse.csr_array  # float32 [num_users, num_items], 1 for seen items.

    def __init__(self, neighbours: PositiveInt = 200) -> None:
        self.neighbours = neighbours

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Store the items of each user."""
        self.had = self.count_users(interactions, num_users, num_items)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return sums of the cosines of similar users with an item, and popularity below 0 for other items."""
        now = HistoryEvents.of(histories, self.num_items).seen(now_ms)
        in_common = (now @ self.had.T).toarray()  # [n, num_users]
        sizes = np.sqrt(np.outer(np.diff(now.indptr), np.diff(self.had.indptr)))
        cosines = in_common / np.maximum(sizes, 1.0).astype(np.float32)
        _exclude_self(cosines, user_rows, 0.0)
        return self.with_popularity((_largest(cosines, self.neighbours) @ self.had).toarray())


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The users whose baskets are mixed into those of others.

    Attributes:
        baskets: What the fit has learned, of all users.
        user_rows: int64 ``[n]``, users with a basket.
        mean_baskets: ``[n, num_items]``, theirs.
        by_item: ``[num_items, n]``, the same.
        squares: float32 ``[n]``, squared lengths of these.
    """

    baskets: sparse.csr_array
    user_rows: npt.NDArray[np.int64]
    mean_baskets: _Rows
    by_item: _Rows
    squares: npt.NDArray[np.float32]


class TIFUKNN(Popularity):
    """Decayed frequency of an item in the user's baskets and in those of the nearest users; then popular items.

    Hu et al. 2020, Modeling Personalized Item Frequency Information for Next-basket Recommendation, with a half-life in
    days instead of a decay by basket. A basket holds the items that a user chose at one time; the distance between
    users is the Euclidean distance between their mean baskets.

    Args:
        neighbours: Number of nearest users.
        own_share: Weight of the user's own baskets; those of the neighbours share the rest.
        half_life_days: Half-life of a basket in days.
    """

    learned = ("num_users_of", "baskets")
    by_user = ("baskets",)
    baskets: sparse.csr_array  # float32 [num_users, num_items], the mean basket of each user.

    def __init__(
        self,
        neighbours: PositiveInt = 300,
        own_share: Annotated[float, Field(ge=0, le=1)] = 0.7,
        half_life_days: PositiveFloat = 60.0,
    ) -> None:
        self.neighbours = neighbours
        self.own_share = own_share
        self.half_life_days = half_life_days
        self._kept: _Candidates | None = None

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Compute the mean basket of each user."""
        super().fit(interactions, num_users, num_items)
        bounds, starts = np.empty(num_users + 1, np.int64), np.empty(num_users + 1, np.int64)
        order = newest_first(np.ascontiguousarray(interactions.user_rows, np.int32), num_users, bounds)
        items, times = interactions.item_rows[order].astype(np.int32, copy=False), interactions.timestamps_ms[order]
        indices, values = np.empty(len(items), np.int32), np.empty(len(items), np.float32)
        num = mean_baskets(bounds, items, times, self.half_life_days, num_items, starts, indices, values)
        pieces = values[:num].copy(), indices[:num].copy(), starts
        self.baskets = sparse.csr_array(pieces, shape=(num_users, num_items))

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the mean basket of the user and the neighbours, and popularity below 0 for other items."""
        own = [self._mean_basket(history) for history in histories]
        kept = self._candidates()
        present, candidates, squares = kept.user_rows, kept.mean_baskets, kept.squares
        nearness = np.zeros((len(histories), len(present)), np.float32)
        for of_user, (items, shares) in zip(nearness, own, strict=True):
            kept.by_item.add(items.astype(np.int64), shares, of_user)
        # Minus the squared distance, without the user's own square: that is the same for all candidates.
        nearness *= np.float32(2.0)
        nearness -= squares
        column_of = np.full(self.baskets.shape[0] + 1, -1)
        column_of[present] = np.arange(len(present))
        is_known = (user_rows >= 0) & (user_rows < self.baskets.shape[0])
        columns = column_of[np.where(is_known, user_rows, -1)]
        _exclude_self(nearness, columns, -np.inf)
        num_nearest = min(self.neighbours, len(present) - 1)
        scores = np.zeros((len(histories), self.num_items), np.float32)
        if num_nearest > 0:
            nearest = np.argpartition(-nearness, num_nearest - 1, axis=1)[:, :num_nearest]
            share = np.full(num_nearest, (1.0 - self.own_share) / num_nearest, np.float32)
            for of_user, chosen in zip(scores, nearest, strict=True):
                candidates.add(chosen, share, of_user)
        for of_user, (items, shares) in zip(scores, own, strict=True):
            if not len(items):
                of_user[:] = 0.0  # An empty history has no nearest users.
            of_user[items] += shares * np.float32(self.own_share)
        return self.with_popularity(scores)

    def _candidates(self) -> "_Candidates":
        """Return the users with a basket, kept until the next fit: a query would take most of its time for them."""
        if self._kept is None or self._kept.baskets is not self.baskets:
            present = np.flatnonzero(np.diff(self.baskets.indptr))
            candidates = self.baskets[present]
            squares = np.asarray(candidates.power(2).sum(axis=1), np.float32)
            rows, by_item = _Rows.of(candidates), _Rows.of(candidates.T.tocsr())
            self._kept = _Candidates(self.baskets, present.astype(np.int64), rows, by_item, squares)
        return self._kept

    def _mean_basket(self, history: History) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the items of a history, int32 ``[m]``, ascending, and how much of the mean basket each is, float32."""
        items, item_of, times_ms = known_items(history, self.num_items)
        shares, indices = np.empty(len(times_ms), np.float32), np.empty(len(times_ms), np.int32)
        bounds, starts = np.array([0, len(times_ms)]), np.empty(2, np.int64)
        positions, times_ms = item_of.astype(np.int32), np.ascontiguousarray(times_ms)
        mean_baskets(bounds, positions, times_ms, self.half_life_days, len(items), starts, indices, shares)
        return items, shares[: len(items)]


def _exclude_self(nearness: npt.NDArray[Any], columns: npt.NDArray[np.int64], lowest: float) -> None:
    """Set the value of each row at its own column, int64 ``[n]`` with -1 for none, to the lowest, in place."""
    rows = np.flatnonzero((columns >= 0) & (columns < nearness.shape[1]))
    nearness[rows, columns[rows]] = lowest


def _largest(scores: npt.NDArray[np.float32], count: int) -> sparse.csr_array:
    """Return the ``count`` largest scores of each row, float32 ``[n, num_columns]``."""
    count = min(count, scores.shape[1])
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    kept = np.take_along_axis(scores, chosen, 1)
    indptr = np.arange(0, chosen.size + 1, count)
    return sparse.csr_array((kept.ravel(), chosen.ravel(), indptr), shape=scores.shape)
