"""The queries after a cut in time, one for each user of the test set, and the items that a model ranks for them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.metrics import K
from springtide.evaluation.protocols.costs import RankAfter
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions
from springtide.interactions import Moment
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.training.train import OnProgress, Progress

_QUERIES_AT_ONCE = 64

Int64s = npt.NDArray[np.int64]
RankItems = Callable[[Int64s, bool], Int64s]
"""From user codes, int64 ``[n]``, and whether to leave out seen items, to the top item codes, int64 ``[n, K]``.

The best item comes first; -1 where there are no more."""


@dataclass(frozen=True, slots=True)
class RankedLists:
    """The ranked items of each user who has relevant items.

    A pair of user and item is one number: user code × ``num_items`` + item code.

    Attributes:
        users: int64 ``[n]``, user codes, ascending.
        ranked: int64 ``[n, K]``, item codes, the best first; -1 where there are no more.
        relevant: int64 ``[num_relevant]``, pairs of user and relevant item, ascending.
        num_items: Number of items in the data set.
    """

    users: Int64s
    ranked: Int64s
    relevant: Int64s
    num_items: int

    def is_hit(self) -> npt.NDArray[np.bool_]:
        """Return whether the item at each rank is relevant, bool ``[n, K]``."""
        pairs = self.users[:, None] * self.num_items + self.ranked  # Meaningless where there is no item.
        return np.isin(pairs, self.relevant) & (self.ranked >= 0)


class UserQueries:
    """One query for each user of the test set, at the time of the newest interaction of the training set.

    Args:
        interactions: All interactions, in time order.
        split: Where they are cut.
        on_progress: Called with the progress of ranking.

    Attributes:
        moment: The moment of all queries.
        seen: int64, ascending: pairs of user and item in the training set; see ``RankedLists``.
        all: int64, ascending: pairs in the test set.
        unseen: int64, ascending: pairs of ``all`` that are not in ``seen``.
    """

    def __init__(self, interactions: Interactions, split: Split, on_progress: OnProgress) -> None:
        self._interactions = interactions
        self.moment = Moment(int(interactions.timestamps_ms[split.train[-1]]))
        self._on_progress = on_progress
        self._num_items = len(interactions.item_ids)
        self.seen = np.unique(self._pairs(split.train))
        self.all = np.unique(self._pairs(split.test))
        self.unseen = np.setdiff1d(self.all, self.seen, assume_unique=True)

    def ranked_by(self, rank_items: RankItems, *, is_unseen_only: bool) -> RankedLists:
        """Return the top items of every user who has relevant items.

        Args:
            rank_items: The model or baseline.
            is_unseen_only: Whether seen items are neither ranked nor relevant.
        """
        relevant = self.unseen if is_unseen_only else self.all
        users = np.unique(relevant // self._num_items)
        ranked = np.full((len(users), K), -1, np.int64)
        stage = "rank new items" if is_unseen_only else "rank all items"
        for first in range(0, len(users), _QUERIES_AT_ONCE):
            chunk = slice(first, first + _QUERIES_AT_ONCE)
            ranked[chunk] = rank_items(users[chunk], is_unseen_only)
            self._on_progress(Progress(stage, min(chunk.stop, len(users)), len(users)))
        return RankedLists(users, ranked, relevant, self._num_items)

    def rank_items_with(self, ranker: Ranker) -> RankItems:
        """Return a function that ranks items with a ranker over the training set."""
        interactions = self._interactions
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank_items(users: Int64s, is_unseen_only: bool) -> Int64s:
            query = Query(self.moment, count=K, exclude_seen=("*",) if is_unseen_only else ())
            queries = [replace(query, user_id=interactions.user_ids[user]) for user in users]
            ranked = np.full((len(users), K), -1, np.int64)
            for row, ranking in enumerate(ranker.recommend(queries)):
                codes = [code_of[item.item_id] for item in ranking.items]
                ranked[row, : len(codes)] = codes
            return ranked

        return rank_items

    def rank_after_with(self, ranker: Ranker) -> RankAfter:
        """Return a function that ranks all items for users who have just taken one, as ``RankAfter``."""
        interactions = self._interactions
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank_after(users: Int64s, items: Int64s | None) -> Int64s:
            taken = [()] * len(users) if items is None else [(interactions.item_ids[item],) for item in items]
            queries = [
                Query(self.moment, user_id=interactions.user_ids[user], recent_items=recent, count=K)
                for user, recent in zip(users, taken, strict=True)
            ]
            ranked = np.full((len(users), K), -1, np.int64)
            for row, ranking in enumerate(ranker.recommend(queries)):
                codes = [code_of[item.item_id] for item in ranking.items]
                ranked[row, : len(codes)] = codes
            return ranked

        return rank_after

    def _pairs(self, positions: Int64s) -> Int64s:
        """Return the pairs of some interactions, int64 ``[n]``."""
        pairs: Int64s = self._interactions.user_codes[positions].astype(np.int64) * self._num_items
        return pairs + self._interactions.item_codes[positions]
