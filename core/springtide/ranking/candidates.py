"""The best items of a query from which an answer is chosen, with their scores, and what else it may take in."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from springtide.ranking import kernels
from springtide.ranking.best_items import BestItems
from springtide.ranking.binding import BoundQuery
from springtide.ranking.relevance import are_near, wants_near
from springtide.ranking.scoring import ScoredQueries, Scorer, cosine_of
from springtide.ranking.top_k import best_of

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
ScoredRows = tuple[Rows, list[str], Array, Array]
"""Rows int32 ``[n]``, their ids, scores float32 ``[n]`` and cosines float32 ``[n]``."""


class CandidateSource(Protocol):
    """Scores items for one query."""

    def best(self, count: int) -> ScoredRows:
        """Return the best items that may be in the answer, at most so many."""
        ...

    def of_rows(self, rows: Rows) -> ScoredRows:
        """Return some items with their scores, in their order, without those that may not be in the answer."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Items from which an answer is chosen.

    Attributes:
        scorer: What they were scored by.
        query: The query.
        source: Scores more of them.
        rows: int32 ``[n]``: the best first, then those that were added.
        ids: Their ids.
        scores: float32 ``[n]``.
        cosines: float32 ``[n]``, of user and item; 0 without a model.
        num_ranked: How many are the best ones, in their order.
    """

    scorer: Scorer
    query: BoundQuery
    source: CandidateSource
    rows: Rows
    ids: list[str]
    scores: Array
    cosines: Array
    num_ranked: int

    @classmethod
    def best(cls, scorer: Scorer, query: BoundQuery, source: CandidateSource, count: int) -> "Candidates":
        """Return the best items, at most so many."""
        rows, ids, scores, cosines = source.best(count)
        return cls(scorer, query, source, rows, ids, scores, cosines, len(rows))

    def more(self, count: int) -> "Candidates":
        """Return the best items anew, at most so many, without those that were added."""
        return Candidates.best(self.scorer, self.query, self.source, count)

    def with_rows(self, rows: Rows) -> "Candidates":
        """Return these and more items, without those that may not be in the answer or are there already.

        Args:
            rows: int32 ``[m]``.
        """
        known = set(self.rows.tolist())
        others = [row for row in dict.fromkeys(rows.tolist()) if row not in known]
        if not others:
            return self
        added, ids, scores, cosines = self.source.of_rows(np.array(others, np.int32))
        if not len(added):
            return self
        return Candidates(  # By position: ``replace`` takes five times as long.
            self.scorer,
            self.query,
            self.source,
            np.concatenate([self.rows, added]),
            [*self.ids, *ids],
            np.concatenate([self.scores, scores]),
            np.concatenate([self.cosines, cosines]),
            self.num_ranked,
        )


class ByModel:
    """Items as a model, or the fallback, scores them.

    Args:
        scorer: Over a model or the fallback.
        query: The query.

    Attributes:
        found: What the scores are made of, and the best items that were asked for last.
    """

    def __init__(self, scorer: Scorer, query: BoundQuery, count: int) -> None:
        self._scorer, self._query = scorer, query
        self.found = BestItems(scorer, query, count)
        self._count = count

    def best(self, count: int) -> ScoredRows:
        """Return the best items that may be in the answer, at most so many."""
        if count != self._count:
            self.found, self._count = BestItems(self._scorer, self._query, count), count
        return self.found.rows, self.found.ids, self.found.scores, self.found.cosines

    def of_rows(self, rows: Rows) -> ScoredRows:
        """Return some items with their scores, in their order, without those that may not be in the answer."""
        scorer, query, found = self._scorer, self._query, self.found
        found.add_related()
        table, user = scorer.serving.table, found.user.vector
        if wants_near(table, found.user, query):
            rows = rows[(rows >= 0) & (rows < scorer.num_items)]
            rows = rows[are_near(table, found.user, query, rows)]
        unranked = scorer.unranked_rows(scorer.num_items, with_lifeless=not query.has_list)
        rows, scores, cosines = kernels.scored_rows(
            rows,
            scorer.num_items,
            None if table is None else user,
            scorer.serving.exponents.unseen.cosine,
            None if table is None else table.vectors,
            found.values,
            query.allowed,
            unranked,
            query.excluded_rows,
            found.apart,
            found.of_apart,
        )
        ids = scorer.items.ids.ids(rows)
        if not all(ids):  # Some were forgotten just now.
            is_there = [bool(name) for name in ids]
            rows, scores, cosines = rows[is_there], scores[is_there], cosines[is_there]
            ids = [name for name in ids if name]
        return rows, ids, scores, cosines


class ByBaseline:
    """Items as a baseline has scored them all.

    Args:
        scorer: Over a baseline.
        scored: The queries, scored.
        at: Which of them.
    """

    def __init__(self, scorer: Scorer, scored: ScoredQueries, at: int) -> None:
        self._scorer, self._scores, self._user = scorer, scored.scores[at], scored.users[at]

    def best(self, count: int) -> ScoredRows:
        """Return the best items that may be in the answer, at most so many."""
        [(rows, ids)] = best_of(self._scores[np.newaxis], [count], self._scorer.items.ids)
        return self._scored(rows.astype(np.int32), ids)

    def of_rows(self, rows: Rows) -> ScoredRows:
        """Return some items with their scores, in their order, without those that may not be in the answer."""
        rows = rows[(rows >= 0) & (rows < len(self._scores))]
        rows = rows[np.isfinite(self._scores[rows])]
        ids = self._scorer.items.ids.ids(rows)
        return self._scored(rows[[bool(name) for name in ids]], [name for name in ids if name])

    def _scored(self, rows: Rows, ids: list[str]) -> ScoredRows:
        return rows, ids, self._scores[rows], cosine_of(self._scorer.serving.table, self._user, rows)
