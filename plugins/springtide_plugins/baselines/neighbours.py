"""Nearest neighbours: items similar to the user's items, and items of similar users."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import HistoryEvents, scaled_below_one, seen_matrix
from springtide_plugins.baselines.popularity import Popularity

_ITEMS_AT_ONCE = 256  # Their pairs are in memory at once: at 100,000 items and all pairs, 200 MB.


class ItemKNN(Popularity):
    """Items similar to the user's items, by the cosine between their sets of users; then popular items.

    Args:
        neighbours: Number of nearest items kept for each item.
        half_life_days: Half-life of the items of a history in days; None for no decay.
    """

    learned = ("num_users_of", "similarity")
    similarity: sparse.csr_array  # float32 [num_items, num_items], cosines with the nearest items, itself included.

    def __init__(self, neighbours: PositiveInt = 200, half_life_days: PositiveFloat | None = None) -> None:
        self.neighbours = neighbours
        self.half_life_days = half_life_days

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Compute the similarity of all pairs of items with a common user."""
        super().fit(interactions, num_users, num_items)
        seen = seen_matrix(interactions, num_users, num_items)
        seen.sort_indices()
        by_item = seen.T.tocsr()
        lengths = np.sqrt(self.num_users_of)
        count = min(self.neighbours, num_items)
        rows: list[tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.float32]]] = []
        for start in range(0, num_items, _ITEMS_AT_ONCE):
            in_common = (by_item[start : start + _ITEMS_AT_ONCE] @ seen).tocsr()  # [<= _ITEMS_AT_ONCE, num_items]
            for item in range(in_common.shape[0]):
                of_item = slice(in_common.indptr[item], in_common.indptr[item + 1])
                others = in_common.indices[of_item]
                found = in_common.data[of_item] / (lengths[others] * lengths[start + item])
                if len(others) > count:
                    chosen = np.argpartition(-found, count - 1)[:count]
                    others, found = others[chosen], found[chosen]
                rows.append((others, found))
        indptr = np.cumsum([0, *(len(others) for others, _ in rows)])
        nearest = np.concatenate([others for others, _ in rows]) if rows else np.zeros(0, np.int32)
        cosines = np.concatenate([found for _, found in rows]) if rows else np.zeros(0, np.float32)
        self.similarity = sparse.csr_array((cosines, nearest, indptr), shape=(num_items, num_items))

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return sums of cosines with the user's items, and popularity below 0 where the sum is 0."""
        seen = HistoryEvents.of(histories, self.num_items).seen(now_ms, self.half_life_days)
        return _with_popularity((seen @ self.similarity).toarray(), self.num_users_of)


class UserKNN(Popularity):
    """Items of the most similar users, by the cosine between their sets of items; then popular items.

    The current history of a user is compared with the items of the other users at the fit.

    Args:
        neighbours: Number of similar users.
    """

    learned = ("num_users_of", "had")
    had: sparse.csr_array  # float32 [num_users, num_items], 1 for seen items.

    def __init__(self, neighbours: PositiveInt = 200) -> None:
        self.neighbours = neighbours

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Store the items of each user."""
        super().fit(interactions, num_users, num_items)
        self.had = seen_matrix(interactions, num_users, num_items)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return sums of the cosines of similar users with an item, and popularity below 0 for other items."""
        now = HistoryEvents.of(histories, self.num_items).seen(now_ms)
        in_common = (now @ self.had.T).toarray()  # [n, num_users]
        sizes = np.sqrt(np.outer(np.diff(now.indptr), np.diff(self.had.indptr)))
        cosines = in_common / np.maximum(sizes, 1.0).astype(np.float32)
        _exclude_self(cosines, user_rows, 0.0)
        return _with_popularity((_largest(cosines, self.neighbours) @ self.had).toarray(), self.num_users_of)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The users whose baskets are mixed into those of others.

    Attributes:
        baskets: What the fit has learned, of all users.
        user_rows: int64 ``[n]``, users with a basket.
        mean_baskets: float32 ``[n, num_items]``, theirs.
        squares: float32 ``[n]``, squared lengths of these.
    """

    baskets: sparse.csr_array
    user_rows: npt.NDArray[np.int64]
    mean_baskets: sparse.csr_array
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
        newest_first = np.lexsort((-interactions.timestamps_ms, interactions.user_rows))
        self.baskets = self._mean_baskets(
            HistoryEvents(
                interactions.user_rows[newest_first].astype(np.int64),
                interactions.item_rows[newest_first].astype(np.int64),
                interactions.timestamps_ms[newest_first],
                (num_users, num_items),
            )
        )

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the mean basket of the user and the neighbours, and popularity below 0 for other items."""
        own = self._mean_baskets(HistoryEvents.of(histories, self.num_items))
        kept = self._candidates()
        present, candidates, squares = kept.user_rows, kept.mean_baskets, kept.squares
        # Minus the squared distance, without the user's own square: that is the same for all candidates.
        nearness = 2.0 * (own @ candidates.T).toarray() - squares
        column_of = np.full(self.baskets.shape[0] + 1, -1)
        column_of[present] = np.arange(len(present))
        is_known = (user_rows >= 0) & (user_rows < self.baskets.shape[0])
        columns = column_of[np.where(is_known, user_rows, -1)]
        _exclude_self(nearness, columns, -np.inf)
        num_nearest = min(self.neighbours, len(present) - 1)
        mixed = own * np.float32(self.own_share)
        if num_nearest > 0:
            nearest = np.argpartition(-nearness, num_nearest - 1, axis=1)[:, :num_nearest]
            share = np.full(nearest.size, (1.0 - self.own_share) / num_nearest, np.float32)
            indptr = np.arange(0, nearest.size + 1, num_nearest)
            mixed = mixed + sparse.csr_array((share, nearest.ravel(), indptr), shape=nearness.shape) @ candidates
        scores = mixed.toarray()
        scores[np.diff(own.indptr) == 0] = 0.0  # An empty history has no nearest users.
        return _with_popularity(scores, self.num_users_of)

    def _candidates(self) -> "_Candidates":
        """Return the users with a basket, kept until the next fit: a query would take most of its time for them."""
        if self._kept is None or self._kept.baskets is not self.baskets:
            present = np.flatnonzero(np.diff(self.baskets.indptr))
            candidates = self.baskets[present]
            squares = np.asarray(candidates.power(2).sum(axis=1), np.float32)
            self._kept = _Candidates(self.baskets, present.astype(np.int64), candidates, squares)
        return self._kept

    def _mean_baskets(self, events: HistoryEvents) -> sparse.csr_array:
        """Return the mean basket of each user, float32 ``[n, num_items]``, with ages from the user's newest basket."""
        ages_days = (events.newest_ms()[events.users] - events.timestamps_ms) / MS_PER_DAY
        # An item counts once in a basket.
        order = np.lexsort((events.item_rows, -events.timestamps_ms, events.users))
        keys = np.stack([events.users, events.timestamps_ms, events.item_rows])[:, order]
        is_new_basket = np.append(True, (keys[:2, 1:] != keys[:2, :-1]).any(axis=0))[: keys.shape[1]]
        is_first = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))[: keys.shape[1]]
        users, _, items = keys
        weights = np.exp2(-ages_days[order] / self.half_life_days)
        totals = np.bincount(users[is_new_basket], weights[is_new_basket], events.shape[0])
        shares = weights[is_first] / totals[users[is_first]]
        mean = sparse.csr_array((shares, (users[is_first], items[is_first])), shape=events.shape)
        return mean.astype(np.float32)


def _with_popularity(scores: npt.NDArray[np.float32], num_users_of: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Replace scores of 0 by popularity below 0, in place."""
    users, items = np.nonzero(scores == 0.0)
    scores[users, items] = (scaled_below_one(num_users_of) - 1.0)[items]
    return scores


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
