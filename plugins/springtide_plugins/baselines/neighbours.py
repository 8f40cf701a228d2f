"""What goes with what one had, and what those had who are most alike."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.popularity import Popularity
from springtide_plugins.baselines.taken import Taken, below_one, had_by


class ItemKNN(Popularity):
    """Items that go with what the user had, by the cosine of the sets of their users; then by popularity.

    Args:
        neighbours: How many of the nearest each item keeps.
        half_life_days: After how many days an item of the user's history counts half; none for never.
    """

    learned = ("num_users_of", "similarity")
    similarity: sparse.csr_array  # float32 [num_items, num_items], to the row's nearest items, itself among them.

    def __init__(self, neighbours: PositiveInt = 200, half_life_days: PositiveFloat | None = None) -> None:
        self.neighbours = neighbours
        self.half_life_days = half_life_days

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Compare all pairs of items that have a user in common."""
        super().fit(interactions, num_users, num_items)
        had = had_by(interactions, num_users, num_items)
        had.sort_indices()
        by_item = had.T.tocsr()
        lengths = np.sqrt(self.num_users_of)
        count = min(self.neighbours, num_items)
        nearest, cosines, counts = _nearest_items(
            by_item.indptr, by_item.indices, had.indptr, had.indices, lengths, count
        )
        is_there = np.arange(count) < counts[:, None]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        self.similarity = sparse.csr_array((cosines[is_there], nearest[is_there], indptr), shape=(num_items, num_items))

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the sum of cosines with what the user had, and popularity below zero where there is none."""
        had = had_in(Taken.of(histories, self.num_items), now_ms, self.half_life_days)
        return then_popular((had @ self.similarity).toarray(), self.num_users_of)


class UserKNN(Popularity):
    """What those users had who are most alike by the cosine of the sets of their items; then by popularity.

    A user is compared by its history as it is now, with the others as they were at the fit.

    Args:
        neighbours: How many users are looked at.
    """

    learned = ("num_users_of", "had")
    had: sparse.csr_array  # float32 [num_users, num_items], 1 for what a user had.

    def __init__(self, neighbours: PositiveInt = 200) -> None:
        self.neighbours = neighbours

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Keep who had what."""
        super().fit(interactions, num_users, num_items)
        self.had = had_by(interactions, num_users, num_items)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the sum of the cosines of the neighbours who had an item, and popularity below zero for the rest."""
        now = had_in(Taken.of(histories, self.num_items), now_ms)
        in_common = (now @ self.had.T).toarray()  # [n, num_users]
        sizes = np.sqrt(np.outer(np.diff(now.indptr), np.diff(self.had.indptr)))
        cosines = in_common / np.maximum(sizes, 1.0).astype(np.float32)
        leave_out_oneself(cosines, user_rows, 0.0)
        return then_popular((largest(cosines, self.neighbours) @ self.had).toarray(), self.num_users_of)


class TIFUKNN(Popularity):
    """How often an item is in the user's baskets, the later ones counting more, and in those of the nearest users.

    Hu et al. 2020, Modeling Personalized Item Frequency Information for Next-basket Recommendation, with a half-life in
    days in place of decays by the basket. A basket is what a user took at one time; users are near by Euclid. What is
    in neither comes last, by popularity.

    Args:
        neighbours: How many users are looked at.
        own_share: How much the user's own baskets count; the neighbours' count the rest.
        half_life_days: After how many days a basket counts half.
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

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Average the baskets of each user."""
        super().fit(interactions, num_users, num_items)
        newest_first = np.lexsort((-interactions.timestamps_ms, interactions.user_rows))
        self.baskets = self._mean_baskets(
            Taken(
                interactions.user_rows[newest_first].astype(np.int64),
                interactions.item_rows[newest_first].astype(np.int64),
                interactions.timestamps_ms[newest_first],
                (num_users, num_items),
            )
        )

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the user's mean basket mixed with its neighbours', and popularity below zero for the rest."""
        own = self._mean_baskets(Taken.of(histories, self.num_items))
        present = np.flatnonzero(np.diff(self.baskets.indptr))
        others = self.baskets[present]
        squares = others.power(2).sum(axis=1)
        # The user's own square is left out: it is the same for all others. Distances are between -1 and 1.
        nearness = 2.0 * (own @ others.T).toarray() - squares
        column_of = np.full(self.baskets.shape[0] + 1, -1)
        column_of[present] = np.arange(len(present))
        is_known = (user_rows >= 0) & (user_rows < self.baskets.shape[0])
        columns = column_of[np.where(is_known, user_rows, -1)]
        leave_out_oneself(nearness, columns, -np.inf)
        others_count = min(self.neighbours, len(present) - 1)
        scores = own * np.float32(self.own_share)
        if others_count > 0:
            nearest = np.argpartition(-nearness, others_count - 1, axis=1)[:, :others_count]
            share = np.full(nearest.size, (1.0 - self.own_share) / others_count, np.float32)
            indptr = np.arange(0, nearest.size + 1, others_count)
            scores = scores + sparse.csr_array((share, nearest.ravel(), indptr), shape=nearness.shape) @ others
        found = scores.toarray()
        found[np.diff(own.indptr) == 0] = 0.0  # To whom nothing is known, all are equally near.
        return then_popular(found, self.num_users_of)

    def _mean_baskets(self, taken: Taken) -> sparse.csr_array:
        """Return the mean basket of each user, float32 ``[n, num_items]``; decays are as of its newest."""
        ages_days = (taken.newest_ms()[taken.owners] - taken.timestamps_ms) / MS_PER_DAY
        # Of several pieces in one basket one counts.
        order = np.lexsort((taken.item_rows, -taken.timestamps_ms, taken.owners))
        keys = np.stack([taken.owners, taken.timestamps_ms, taken.item_rows])[:, order]
        is_new_basket = np.append(True, (keys[:2, 1:] != keys[:2, :-1]).any(axis=0))[: keys.shape[1]]
        is_first = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))[: keys.shape[1]]
        owners, _, items = keys
        weights = np.exp2(-ages_days[order] / self.half_life_days)
        totals = np.bincount(owners[is_new_basket], weights[is_new_basket], taken.shape[0])
        shares = weights[is_first] / totals[owners[is_first]]
        mean = sparse.csr_array((shares, (owners[is_first], items[is_first])), shape=taken.shape)
        return mean.astype(np.float32)


def had_in(taken: Taken, now_ms: int, half_life_days: float | None = None) -> sparse.csr_array:
    """Return 1 for what a user had, or less the longer ago it was, float32 ``[n, num_items]``."""
    had = taken.sums()
    had.data[:] = 1.0
    if half_life_days is not None and len(taken.owners):
        newest = np.zeros(taken.shape, np.float32)
        ages_days = np.maximum(now_ms - taken.timestamps_ms, 0) / MS_PER_DAY
        np.maximum.at(newest, (taken.owners, taken.item_rows), np.exp2(-ages_days / half_life_days))
        users = np.repeat(np.arange(taken.shape[0]), np.diff(had.indptr))
        had.data = newest[users, had.indices]
    return had


def then_popular(scores: npt.NDArray[np.float32], num_users_of: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rank what has score 0 by popularity, below zero; in place."""
    users, items = np.nonzero(scores == 0.0)
    scores[users, items] = (below_one(num_users_of) - 1.0)[items]
    return scores


def leave_out_oneself(nearness: npt.NDArray[Any], columns: npt.NDArray[np.int64], lowest: float) -> None:
    """Set what each row has at its own column, if there is one; in place."""
    rows = np.flatnonzero((columns >= 0) & (columns < nearness.shape[1]))
    nearness[rows, columns[rows]] = lowest


def largest(scores: npt.NDArray[np.float32], count: int) -> sparse.csr_array:
    """Return the largest scores of each row, float32 ``[n, num_columns]``."""
    count = min(count, scores.shape[1])
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    kept = np.take_along_axis(scores, chosen, 1)
    indptr = np.arange(0, chosen.size + 1, count)
    return sparse.csr_array((kept.ravel(), chosen.ravel(), indptr), shape=scores.shape)


@njit(cache=True, nogil=True)
def _nearest_items(
    item_indptr: npt.NDArray[np.int32],
    item_users: npt.NDArray[np.int32],
    user_indptr: npt.NDArray[np.int32],
    user_items: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.float32],
    count: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return each item's nearest items by cosine, their cosines, and how many there are.

    A sparse product would hold all pairs at once; here one row is held.
    """
    num_items = len(lengths)
    nearest = np.zeros((num_items, count), np.int32)
    cosines = np.zeros((num_items, count), np.float32)
    counts = np.zeros(num_items, np.int64)
    in_common = np.zeros(num_items, np.float32)
    touched = np.empty(num_items, np.int32)
    for item in range(num_items):
        num_touched = 0
        for user in item_users[item_indptr[item] : item_indptr[item + 1]]:
            for other in user_items[user_indptr[user] : user_indptr[user + 1]]:
                if in_common[other] == 0.0:
                    touched[num_touched] = other
                    num_touched += 1
                in_common[other] += 1.0
        others = touched[:num_touched]
        found = in_common[others] / (lengths[others] * lengths[item])
        chosen = np.arange(num_touched)
        if num_touched > count:
            chosen = np.argpartition(-found, count - 1)[:count]
        counts[item] = len(chosen)
        nearest[item, : len(chosen)] = others[chosen]
        cosines[item, : len(chosen)] = found[chosen]
        in_common[others] = 0.0
    return nearest, cosines, counts
