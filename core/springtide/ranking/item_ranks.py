"""The ranks of given items in the whole answers to queries, for measuring a ranking."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide.ranking.binding import BoundQuery
from springtide.ranking.filters import seen_rows
from springtide.ranking.query import Query
from springtide.ranking.query_scores import NO_ROWS, QueryScores
from springtide.ranking.rank_kernels import count_above
from springtide.ranking.relevance import are_near, wants_near
from springtide.ranking.scoring import Scorer
from springtide.ranking.top_k import ranks_of

Rows = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
_QUERIES_AT_ONCE = 128  # At 100,000 items, 50 MB of scores.


def item_ranks(
    scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str], *, depth: int | None = None
) -> Int64s:
    """Return the rank of one item in the whole answer to each query, int64 ``[n]``, 1 for the best.

    Scores are those of ``Ranker.recommend``: seen items are ranked too, unless the query leaves them out. Items of
    equal scores share a rank: 1, plus the number of items above, plus half the number of other items with that score,
    rounded down.

    Args:
        scorer: Scores the items.
        queries: The queries; their ``count`` does not matter.
        item_ids: One item for each query. An item that is not ranked has the number of item rows plus one as its rank:
            it is unknown, newer than the last ``Ranker.refresh``, or left out by the query.
        depth: Items beyond this rank may have the same rank as those that are not ranked, which takes less time; None
            for the true rank of all.

    Raises:
        InvalidRequestError: If a query names something unknown.
        ValueError: If there are more queries than items, or fewer.
    """
    return _ranks(scorer, queries, item_ids, depth, among_unseen=False)[0]


def item_ranks_and_unseen(
    scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str], *, depth: int | None = None
) -> tuple[Int64s, Int64s]:
    """Return the ranks that ``item_ranks`` returns, and the ranks among unseen items alone, int64 ``[n]`` each.

    The latter are the ranks of the same queries with ``exclude_seen=("*",)``; both together take one scoring.

    Args:
        scorer: As in ``item_ranks``.
        queries: As in ``item_ranks``.
        item_ids: As in ``item_ranks``.
        depth: As in ``item_ranks``.

    Raises:
        InvalidRequestError: If a query names something unknown.
        ValueError: If there are more queries than items, or fewer.
    """
    among_all, among_unseen = _ranks(scorer, queries, item_ids, depth, among_unseen=True)
    return among_all, among_unseen


def _ranks(
    scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str], depth: int | None, *, among_unseen: bool
) -> list[Int64s]:
    """Return the ranks among all items and, if wanted, among unseen items, int64 ``[n]`` each."""
    if len(queries) != len(item_ids):
        raise ValueError(f"wanted one item for each query, got {len(item_ids):,} for {len(queries):,}")
    rows = scorer.items.ids.rows(item_ids)
    ranks = [np.empty(len(queries), np.int64) for _ in range(1 + among_unseen)]
    if scorer.serving.baseline is None:
        for position, (query, row) in enumerate(zip(queries, rows.tolist(), strict=True)):
            of_query = _RanksByBound(scorer, scorer.bind(query), scorer.num_items if depth is None else depth)
            ranks[0][position] = of_query.rank(row)
            if among_unseen:
                ranks[1][position] = of_query.rank(row, _seen(scorer, of_query.query))
        return ranks
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        chunk = slice(start, start + _QUERIES_AT_ONCE)
        scored = scorer.score(queries[chunk], keep_in_cache=False)
        ranks[0][chunk] = ranks_of(scored.scores, rows[chunk])
        if among_unseen:
            for bound, scores in zip(scored.queries, scored.scores, strict=True):
                seen = _seen(scorer, bound)
                scores[seen[seen < len(scores)]] = -np.inf
            ranks[1][chunk] = ranks_of(scored.scores, rows[chunk])
    return ranks


def _seen(scorer: Scorer, query: BoundQuery) -> Rows:
    """Return the rows of all items that the user of a query has seen, int32 ``[n]``."""
    rules = scorer.state.rules
    return seen_rows(query.user_row, query.recent_rows, rules.relations, scorer.view, rules)


class _RanksByBound:
    """Ranks of items by a model or the fallback, scoring only items that may be above them (``best_items``)."""

    def __init__(self, scorer: Scorer, query: BoundQuery, depth: int) -> None:
        self.query = query
        self._scorer = scorer
        self._depth = depth
        self._scores = QueryScores(scorer, query, keep_in_cache=False)
        self._scores.add_related()
        self._num_items = num_items = scorer.num_items
        left_out = [scorer.unranked_rows(num_items, with_lifeless=not query.has_list), query.excluded_rows]
        if query.allowed is not None:
            left_out.append(np.flatnonzero(~query.allowed).astype(np.int32))
        table, user = scorer.serving.table, self._scores.user
        if wants_near(table, user, query):
            near = are_near(table, user, query, np.arange(num_items, dtype=np.int32))
            left_out.append(np.flatnonzero(~near).astype(np.int32))
        left_out = [rows for rows in left_out if len(rows)]
        self._left_out = NO_ROWS if not left_out else np.unique(np.concatenate(left_out))

    def rank(self, row: int, seen: Rows | None = None) -> int:
        """Return the rank of an item, or one past that of the last item.

        Args:
            row: The item's row; -1 for an unknown one.
            seen: int32 ``[m]``, items to leave out beside those that the query does.
        """
        scorer, scores, last = self._scorer, self._scores, self._num_items + 1
        left_out = self._left_out if seen is None else np.union1d(self._left_out, seen).astype(np.int32)
        if not 0 <= row < self._num_items or _is_among(left_out, row):
            return last
        is_apart = _is_among(scores.apart, row)
        if is_apart:
            score = scores.of_apart[np.searchsorted(scores.apart, row)]
        else:
            [score] = scores.of_unseen(np.array([row], np.int32))
        if not np.isfinite(score):
            return last
        is_ranked = ~np.isin(scores.apart, left_out, assume_unique=True)
        apart = scores.of_apart[is_ranked & (scores.apart < self._num_items) & np.isfinite(scores.of_apart)]
        num_above, num_equal = int(np.count_nonzero(apart > score)), int(np.count_nonzero(apart == score))
        if num_above >= self._depth:
            return last
        table, user = scorer.serving.table, scores.user.vector
        others_above, others_equal, _ = count_above(
            float(score),
            self._num_items,
            user if table is not None else None,
            scorer.serving.exponents.unseen.cosine,
            None if table is None or user is None else table.vectors,
            scorer.serving.longest,
            scores.values,
            np.union1d(left_out, scores.apart).astype(np.int32),
            self._depth - num_above,
        )
        num_above, num_equal = num_above + others_above, num_equal + others_equal
        rank = 1 + num_above + (num_equal - 1) // 2  # The item is among the equal ones, if all of them were counted.
        return rank if num_above < self._depth and rank <= self._depth else last


def _is_among(ascending: Rows, row: int) -> bool:
    at = int(np.searchsorted(ascending, row))
    return at < len(ascending) and int(ascending[at]) == row
