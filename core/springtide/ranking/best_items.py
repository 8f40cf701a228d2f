"""The best items for one query, found without scoring those that cannot be among them; the answer is exact.

The score of an unseen item is its value at the moment, the same for all users, plus at most ``reach``: the factor of
cosines, times the user's length and that of the longest item's vector. So the items are looked at in the order of their
values, until value and reach are less than the last score of the answer: no later item can be in it, not even by its
id. A moment's values are fixed, and so is their order; when the background computes them again, both are replaced as
one.

What is scored otherwise, which are the user's own items, is scored first. If the order comes to its end, the rest is
scanned by rows, leaving out what the values rule out. Scores are the same to the last bit whichever way they were
found.
"""

import functools
import heapq

import numpy as np
import numpy.typing as npt

from springtide.ranking import kernels
from springtide.ranking.binding import BoundQuery
from springtide.ranking.dislikes import NOTHING_DISLIKED, log_weights
from springtide.ranking.indexed_items import Found, LeftOut, Scan
from springtide.ranking.scoring import LoweredItems, Scorer, SeenItems
from springtide.ranking.users import LiveUser
from springtide.ranking.weights import ItemOrder

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
NO_ROWS: Rows = np.empty(0, np.int32)
NO_SCORES: Array = np.empty(0, np.float32)
_MAX_LISTED = 4_096  # Items: to score so few takes no longer than to look for them among all, in their order.
_NO_ORDER = ItemOrder(NO_ROWS, -np.inf)
_NOT_LOWERED = LoweredItems(NOTHING_DISLIKED, NO_SCORES)
_NOTHING_SEEN = SeenItems(NO_ROWS, {}, NO_SCORES)


class BestItems:
    """The best items for a query, and what their scores are made of.

    Attributes:
        user: The user.
        at_moment: The item weights of the moment.
        seen: The items that the user has seen; none if the query leaves all of them out.
        lowered: The items that the user dislikes.
        rows: int32 ``[n]``, the best first.
        ids: Their ids.
        scores: float32 ``[n]``.
        cosines: float32 ``[n]``.
        num_scanned: How many vectors were looked at.
    """

    __slots__ = ("at_moment", "cosines", "ids", "lowered", "num_scanned", "rows", "scores", "seen", "user")

    def __init__(self, scorer: Scorer, query: BoundQuery) -> None:
        """Find them.

        Args:
            scorer: Over a model or the fallback; a baseline ranks by itself.
            query: The query, bound to the scorer's view.
        """
        serving, num_items = scorer.serving, scorer.num_items
        self.user = serving.users.find(scorer.view, serving.table, query)
        self.at_moment = serving.moments.at(query.moment, num_items)
        self.seen, self.lowered = _NOTHING_SEEN, _NOT_LOWERED
        table, user, order = serving.table, self.user.vector, self.at_moment.order()
        apart, of_apart = self._scored_apart(scorer, query)
        if query.allowed is not None and np.count_nonzero(query.allowed) <= _MAX_LISTED:
            apart, of_apart = self._with_listed(scorer, np.flatnonzero(query.allowed).astype(np.int32), apart, of_apart)
            order = _NO_ORDER
        user, factor = None if table is None else user, serving.exponents.unseen.cosine
        values, excluded, allowed = self.at_moment.unseen_total, query.excluded_rows, query.allowed
        found = None
        if serving.index is not None and user is not None and order is not _NO_ORDER:
            search = functools.partial(_search, scorer, query, user, factor, values, excluded, allowed)
            found = self._by_index(search, scorer, query, user, order, apart, of_apart)
        if found is None:
            found = _search(scorer, query, user, factor, values, excluded, allowed, order, apart, of_apart)
        self.rows, self.ids, self.scores, self.cosines, self.num_scanned = found

    def _by_index(
        self,
        search: Scan,
        scorer: Scorer,
        query: BoundQuery,
        user: Array,
        order: ItemOrder,
        apart: Rows,
        of_apart: Array,
    ) -> Found | None:
        """Return what the index finds; None if it is not to be relied on for this query."""
        serving = scorer.serving
        assert serving.index is not None, "looked at by the caller"
        unranked = scorer.unranked_rows(scorer.num_items, with_lifeless=False)
        left_out = LeftOut(query.allowed, (query.excluded_rows, unranked, apart))
        factor, values = serving.exponents.unseen.cosine, self.at_moment.unseen_total
        return serving.index.best(
            search, query.count, user, factor, values, order, serving.longest, apart, of_apart, left_out
        )

    def _with_listed(self, scorer: Scorer, listed: Rows, apart: Rows, of_apart: Array) -> tuple[Rows, Array]:
        """Return the listed items and their scores, given those of the items that are not scored as unseen ones are."""
        scores = self._unseen_scores(scorer, listed)
        rows = np.union1d(listed, apart)
        of_rows = np.full(len(rows), -np.inf, np.float32)
        of_rows[np.searchsorted(rows, listed)] = scores
        of_rows[np.searchsorted(rows, apart)] = of_apart
        return rows, of_rows

    def _unseen_scores(self, scorer: Scorer, rows: Rows) -> Array:
        """Return the scores of rows as if the user had never had their items, float32 ``[m]``."""
        scores = _cosines(scorer, self.user, rows) * np.float32(scorer.serving.exponents.unseen.cosine)
        scores += self.at_moment.unseen_total[rows]
        return scores

    def _scored_apart(self, scorer: Scorer, query: BoundQuery) -> tuple[Rows, Array]:
        """Return the rows that are not scored as unseen items are, ascending, and their scores."""
        user, exponents = self.user, scorer.serving.exponents
        if not len(user.history.item_rows) and not len(user.dislikes.item_rows):
            return NO_ROWS, NO_SCORES
        disliked = scorer.disliked(user, query)
        if query.leaves_out_seen and not len(disliked):
            self.seen = scorer.nothing_seen
            return NO_ROWS, NO_SCORES  # They are among the query's excluded rows.
        self.seen = seen = scorer.seen(scorer.history_at(user.history, query), query)
        scores = _cosines(scorer, user, seen.rows) * np.float32(exponents.seen.cosine)
        scores += self.at_moment.seen_total[seen.rows]
        scores += seen.total
        if not len(disliked):
            return seen.rows, scores
        unseen = self._unseen_scores(scorer, disliked.rows)
        rows = np.union1d(seen.rows, disliked.rows)
        of_rows = np.empty(len(rows), np.float32)
        at = np.searchsorted(rows, disliked.rows)
        of_rows[at] = unseen
        of_rows[np.searchsorted(rows, seen.rows)] = scores
        logs = log_weights(disliked, of_rows[at] - unseen, exponents.dislikes.item)
        of_rows[at] += logs
        self.lowered = LoweredItems(disliked, logs)
        return rows, of_rows


def similar_items(scorer: Scorer, row: int, query: BoundQuery) -> list[tuple[str, float]]:
    """Return the items nearest to one item, each with its cosine.

    Args:
        scorer: Over a model.
        row: The item's row in the table, of an item that has a vector.
        query: How many items are wanted, and which ones pass.
    """
    table = scorer.serving.table
    assert table is not None, "wanted a model"
    allowed = table.has_vector if query.allowed is None else table.has_vector & query.allowed
    itself = np.array([row], np.int32)
    excluded = np.union1d(query.excluded_rows, itself) if len(query.excluded_rows) else itself
    vector, every = table.vectors[row], ItemOrder(NO_ROWS, np.inf)
    _, ids, scores, _, _ = _search(scorer, query, vector, 1.0, None, excluded, allowed, every, NO_ROWS, NO_SCORES)
    return list(zip(ids, scores.tolist(), strict=True))


def _search(
    scorer: Scorer,
    query: BoundQuery,
    user: Array | None,
    factor: float,
    values: Array | None,
    excluded: Rows,
    allowed: npt.NDArray[np.bool_] | None,
    order: ItemOrder,
    apart: Rows,
    of_apart: Array,
    longest: float | None = None,
) -> Found:
    """Return rows, ids, scores and cosines of the best items, and how many were looked at; see ``kernels.best_rows``.

    Without ``longest`` it is that of the table.

    Items of equal scores are in the order of their ids, so that two servers that read the same events in another order
    give the same answer. An item that is forgotten at this moment is left out.
    """
    serving, num_items = scorer.serving, scorer.num_items
    masked = scorer.unranked_rows(num_items, with_lifeless=not query.has_list)
    vectors = None if user is None or serving.table is None else serving.table.vectors
    coarse = serving.coarse
    while True:
        rows, scores, cosines, has_equal, num_scanned = kernels.best_rows(
            query.count,
            num_items,
            user,
            factor,
            vectors,
            serving.longest if longest is None else longest,
            values,
            order.rows,
            order.highest,
            allowed,
            masked,
            excluded,
            apart,
            of_apart,
            None if coarse is None else coarse.made,
        )
        ids = scorer.items.ids.ids(rows)
        if all(ids):
            break
        # Some were forgotten meanwhile, which is rare: the search is repeated without them.
        gone = rows[[not name for name in ids]]
        masked = np.union1d(masked, gone).astype(np.int32)
    if coarse is not None:
        coarse.note(num_scanned)
    if has_equal:
        by_score = scores.tolist()
        chosen = heapq.nsmallest(query.count, range(len(ids)), key=lambda index: (-by_score[index], ids[index]))
        rows, scores, cosines, ids = rows[chosen], scores[chosen], cosines[chosen], [ids[each] for each in chosen]
    return rows, ids, scores, cosines, num_scanned


def _cosines(scorer: Scorer, user: LiveUser, rows: Rows) -> Array:
    table = scorer.serving.table
    if table is None or user.vector is None or not len(rows):
        return np.zeros(len(rows), np.float32)
    return kernels.cosines_of(user.vector, table.vectors, rows)
