"""The ranks of given items in the whole answers to queries, for measuring a ranking."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide.ranking.filters import seen_rows
from springtide.ranking.query import Query
from springtide.ranking.scoring import Scorer
from springtide.ranking.top_k import ranks_of

Int64s = npt.NDArray[np.int64]
_QUERIES_AT_ONCE = 128  # At 100,000 items, 50 MB of scores.


def item_ranks(scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str]) -> Int64s:
    """Return the rank of one item in the whole answer to each query, int64 ``[n]``, 1 for the best.

    Scores are those of ``Ranker.recommend``: seen items are ranked too, unless the query leaves them out. Items of
    equal scores share a rank: 1, plus the number of items above, plus half the number of other items with that score,
    rounded down.

    Args:
        scorer: Scores the items.
        queries: The queries; their ``count`` does not matter.
        item_ids: One item for each query. An item that is not ranked has the number of item rows plus one as its rank:
            it is unknown, newer than the last ``Ranker.refresh``, or left out by the query.

    Raises:
        InvalidRequestError: If a query names something unknown.
        ValueError: If there are more queries than items, or fewer.
    """
    return _ranks(scorer, queries, item_ids, among_unseen=False)[0]


def item_ranks_and_unseen(scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str]) -> tuple[Int64s, Int64s]:
    """Return the ranks that ``item_ranks`` returns, and the ranks among unseen items alone, int64 ``[n]`` each.

    The latter are the ranks of the same queries with ``exclude_seen=("*",)``; both together take one scoring.

    Args:
        scorer: As in ``item_ranks``.
        queries: As in ``item_ranks``.
        item_ids: As in ``item_ranks``.

    Raises:
        InvalidRequestError: If a query names something unknown.
        ValueError: If there are more queries than items, or fewer.
    """
    among_all, among_unseen = _ranks(scorer, queries, item_ids, among_unseen=True)
    return among_all, among_unseen


def _ranks(scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str], *, among_unseen: bool) -> list[Int64s]:
    """Return the ranks among all items and, if wanted, among unseen items, int64 ``[n]`` each."""
    if len(queries) != len(item_ids):
        raise ValueError(f"wanted one item for each query, got {len(item_ids):,} for {len(queries):,}")
    rules = scorer.state.rules
    rows = scorer.items.ids.rows(item_ids)
    ranks = [np.empty(len(queries), np.int64) for _ in range(1 + among_unseen)]
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        chunk = slice(start, start + _QUERIES_AT_ONCE)
        scored = scorer.score(queries[chunk], keep_in_cache=False)
        ranks[0][chunk] = ranks_of(scored.scores, rows[chunk])
        if among_unseen:
            for query, scores in zip(scored.queries, scored.scores, strict=True):
                seen = seen_rows(query.user_row, query.recent_rows, rules.relations, scorer.view, rules)
                scores[seen[seen < len(scores)]] = -np.inf
            ranks[1][chunk] = ranks_of(scored.scores, rows[chunk])
    return ranks
