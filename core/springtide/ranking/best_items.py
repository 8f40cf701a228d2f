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
from springtide.ranking.indexed_items import Found, LeftOut, Scan
from springtide.ranking.query_scores import NO_ROWS, NO_SCORES, QueryScores
from springtide.ranking.related import RelatedScores
from springtide.ranking.relevance import are_near, wants_near
from springtide.ranking.scoring import Scorer
from springtide.ranking.weights import ItemOrder

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
_MAX_LISTED = 4_096  # Items: to score so few takes no longer than to look for them among all, in their order.
_NEAR_FACTOR = 2  # Of so many best items for each that is wanted, enough are near enough, as a rule.
_NO_ORDER = ItemOrder(NO_ROWS, -np.inf)


class BestItems(QueryScores):
    """The best items for a query, and what their scores are made of.

    Attributes:
        rows: int32 ``[n]``, the best first.
        ids: Their ids.
        scores: float32 ``[n]``.
        cosines: float32 ``[n]``.
        num_scanned: How many vectors were looked at.
    """

    __slots__ = ("cosines", "ids", "num_scanned", "rows", "scores")

    def __init__(self, scorer: Scorer, query: BoundQuery, count: int | None = None) -> None:
        """Find them.

        Args:
            scorer: Over a model or the fallback; a baseline ranks by itself.
            query: The query, bound to the scorer's view.
            count: How many; None for as many as the query wants.
        """
        super().__init__(scorer, query)
        count = query.count if count is None else count
        if query.steering is not None and wants_near(scorer.serving.table, self.user, query):
            found = self._near(query, count)
        else:
            found = self._found(query, count, query.allowed)
        self.rows, self.ids, self.scores, self.cosines, self.num_scanned = found

    def _near(self, query: BoundQuery, count: int) -> Found:
        """Return the best of the items that are near enough: mostly they are among the best of all."""
        table, num_items = self.scorer.serving.table, self.scorer.num_items
        more = _NEAR_FACTOR * count
        rows, ids, scores, cosines, num_scanned = self._found(query, more, query.allowed)
        near = are_near(table, self.user, query, rows).nonzero()[0][:count]
        if len(near) == count or len(rows) < more:
            return rows[near], [ids[at] for at in near.tolist()], scores[near], cosines[near], num_scanned
        allowed = are_near(table, self.user, query, np.arange(num_items, dtype=np.int32))
        if query.allowed is not None:
            allowed &= query.allowed[:num_items]
        return self._found(query, count, allowed)

    def _found(self, query: BoundQuery, count: int, allowed: npt.NDArray[np.bool_] | None) -> Found:
        """Return the best of the items that are allowed, bool ``[num_items]``."""
        scorer, serving = self.scorer, self.scorer.serving
        table, user = serving.table, self.user.vector
        order = self.at_moment.order() if self._totals is None else self._totals.order()
        if allowed is not None and _num_allowed(query, allowed) <= _MAX_LISTED:
            self.add_apart(np.flatnonzero(allowed).astype(np.int32))
            order = _NO_ORDER
        with_index = serving.index is not None and user is not None and order is not _NO_ORDER
        if with_index:
            self.add_related()
        apart, of_apart = self.apart, self.of_apart
        # With few items all are apart, and with an index they are; else most are ruled out before they are scored.
        related = None if with_index or order is _NO_ORDER else self.seen.related
        user, factor = None if table is None else user, serving.exponents.unseen.cosine
        values, excluded = self.values, query.excluded_rows
        found = None
        if with_index:
            assert user is not None, "looked at above"
            search = functools.partial(_search, scorer, query, count, user, factor, values, excluded, allowed)
            found = self._by_index(search, scorer, query, count, user, order, apart, of_apart, allowed)
        if found is None:
            found = _search(
                scorer,
                query,
                count,
                user,
                factor,
                values,
                excluded,
                allowed,
                order,
                apart,
                of_apart,
                related=related,
            )
        return found

    def _by_index(
        self,
        search: Scan,
        scorer: Scorer,
        query: BoundQuery,
        count: int,
        user: Array,
        order: ItemOrder,
        apart: Rows,
        of_apart: Array,
        allowed: npt.NDArray[np.bool_] | None,
    ) -> Found | None:
        """Return what the index finds; None if it is not to be relied on for this query."""
        serving = scorer.serving
        assert serving.index is not None, "looked at by the caller"
        unranked = scorer.unranked_rows(scorer.num_items, with_lifeless=False)
        left_out = LeftOut(allowed, (query.excluded_rows, unranked, apart))
        factor, values = serving.exponents.unseen.cosine, self.values
        return serving.index.best(
            search, count, user, factor, values, order, serving.longest, apart, of_apart, left_out
        )


def _num_allowed(query: BoundQuery, allowed: npt.NDArray[np.bool_]) -> int:
    if query.num_allowed is None or allowed is not query.allowed:
        return int(np.count_nonzero(allowed))
    return query.num_allowed


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
    _, ids, scores, _, _ = _search(
        scorer, query, query.count, vector, 1.0, None, excluded, allowed, every, NO_ROWS, NO_SCORES
    )
    return list(zip(ids, scores.tolist(), strict=True))


def _search(
    scorer: Scorer,
    query: BoundQuery,
    count: int,
    user: Array | None,
    factor: float,
    values: Array | None,
    excluded: Rows,
    allowed: npt.NDArray[np.bool_] | None,
    order: ItemOrder,
    apart: Rows,
    of_apart: Array,
    longest: float | None = None,
    related: RelatedScores | None = None,
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
            count,
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
            *((related.rows, related.total) if related is not None and len(related.rows) else ()),
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
        chosen = heapq.nsmallest(count, range(len(ids)), key=lambda index: (-by_score[index], ids[index]))
        rows, scores, cosines, ids = rows[chosen], scores[chosen], cosines[chosen], [ids[each] for each in chosen]
    return rows, ids, scores, cosines, num_scanned
