"""What the scores of a query are made of, and those of the items that are not scored as unseen ones are."""

import numpy as np
import numpy.typing as npt

from springtide.ranking import kernels
from springtide.ranking.binding import BoundQuery
from springtide.ranking.boosts import BoostedTotals, boosted
from springtide.ranking.dislikes import NOTHING_DISLIKED, log_weights
from springtide.ranking.scoring import LoweredItems, Scorer, SeenItems
from springtide.ranking.users import LiveUser

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
NO_ROWS: Rows = np.empty(0, np.int32)
NO_SCORES: Array = np.empty(0, np.float32)
_NOT_LOWERED = LoweredItems(NOTHING_DISLIKED, NO_SCORES)
_NOTHING_SEEN = SeenItems(NO_ROWS, {}, NO_SCORES)


class QueryScores:
    """What the scores of a query are made of, by a model or the fallback.

    An item that the user neither had nor dislikes, and of which their history says nothing, scores its value at the
    moment, the same for all users, plus its cosine times a factor. The others are scored here.

    Args:
        scorer: Over a model or the fallback; a baseline ranks by itself.
        query: The query, bound to the scorer's view.
        keep_in_cache: Whether the item weights of its moment are likely to be asked for again.

    Attributes:
        user: The user.
        at_moment: The item weights of the moment.
        values: float32 ``[n]``, what unseen items score beside their cosine, at least as many as are ranked; without
            the boosts of few items, which are apart.
        seen: The items that the user has seen; none if the query leaves all of them out.
        lowered: The items that the user dislikes.
        apart: int32 ``[m]``, ascending: the rows that are not scored as unseen items are; without those of which the
            history says something, until ``add_related``.
        of_apart: float32 ``[m]``, their scores.
    """

    __slots__ = ("_boosts", "_totals", "apart", "at_moment", "lowered", "of_apart", "scorer", "seen", "user", "values")

    def __init__(self, scorer: Scorer, query: BoundQuery, *, keep_in_cache: bool = True) -> None:
        serving = scorer.serving
        self.scorer = scorer
        self.user = serving.users.find(scorer.view, serving.table, query)
        self.at_moment = serving.moments.at(query.moment, scorer.num_items, keep_in_cache=keep_in_cache)
        self.seen, self.lowered = _NOTHING_SEEN, _NOT_LOWERED
        self._boosts = boosts = query.boosts
        self._totals: BoostedTotals | None = None
        if boosts is not None and not boosts.are_few:
            self._totals = boosted(self.at_moment, boosts)
        self.values = self.at_moment.unseen_total if self._totals is None else self._totals.totals
        self.apart, self.of_apart = self._scored_apart(query)
        if boosts is not None and boosts.are_few:
            assert boosts.rows is not None, "they are few"
            self.add_apart(boosts.rows)
        if (rotated := query.rotated) is not None and rotated.rows is not None:
            self.add_apart(rotated.rows)
            self.of_apart[self.apart.searchsorted(rotated.rows)] += rotated.logs

    def of_unseen(self, rows: Rows) -> Array:
        """Return the scores of rows as if the user had never had their items, float32 ``[m]``."""
        scores = _cosines(self.scorer, self.user, rows) * np.float32(self.scorer.serving.exponents.unseen.cosine)
        scores += self.values[rows]
        if len(self.seen.related.rows):
            scores += self.seen.related.of(rows)
        if self._boosts is not None and self._totals is None:
            scores += self._boosts.of(rows)
        return scores

    def of_rows(self, rows: Rows) -> Array:
        """Return the scores of rows, float32 ``[m]``."""
        scores = self.of_unseen(rows)
        if len(self.apart):
            at = self.apart.searchsorted(rows)
            is_apart = self.apart.take(at, mode="clip") == rows
            scores[is_apart] = self.of_apart[at[is_apart]]
        return scores

    def add_related(self) -> None:
        """Score the rows by themselves of which the user's history says something: whoever reads ``apart`` needs it."""
        if len(rows := self.seen.related.rows):
            self.add_apart(rows)

    def add_apart(self, rows: Rows) -> None:
        """Score rows by themselves that are not yet; int32 ``[n]``, ascending, each once."""
        self.apart, self.of_apart = _merged(rows, self.of_unseen(rows), self.apart, self.of_apart)

    def _scored_apart(self, query: BoundQuery) -> tuple[Rows, Array]:
        """Return the rows that are not scored as unseen items are, ascending, and their scores."""
        scorer, user, exponents = self.scorer, self.user, self.scorer.serving.exponents
        if not len(user.history.item_rows) and not len(user.dislikes.item_rows):
            return NO_ROWS, NO_SCORES
        disliked = scorer.disliked(user, query)
        if query.leaves_out_seen and not len(disliked):
            self.seen = scorer.nothing_seen
            if scorer.serving.related_terms:
                self.seen = scorer.only_related(scorer.history_at(user.history, query), query)
            return NO_ROWS, NO_SCORES  # They are among the query's excluded rows.
        self.seen = seen = scorer.seen(scorer.history_at(user.history, query), query)
        scores = _cosines(scorer, user, seen.rows) * np.float32(exponents.seen.cosine)
        scores += self.at_moment.seen_total[seen.rows]
        scores += seen.total
        if self._boosts is not None:
            scores += self._boosts.of(seen.rows)
        if not len(disliked):
            return seen.rows, scores
        unseen = self.of_unseen(disliked.rows)
        rows = np.union1d(seen.rows, disliked.rows)
        of_rows = np.empty(len(rows), np.float32)
        at = np.searchsorted(rows, disliked.rows)
        of_rows[at] = unseen
        of_rows[np.searchsorted(rows, seen.rows)] = scores
        logs = log_weights(disliked, of_rows[at] - unseen, exponents.dislikes.item)
        of_rows[at] += logs
        self.lowered = LoweredItems(disliked, logs)
        return rows, of_rows


def _cosines(scorer: Scorer, user: LiveUser, rows: Rows) -> Array:
    table = scorer.serving.table
    if table is None or user.vector is None or not len(rows):
        return np.zeros(len(rows), np.float32)
    return kernels.cosines_of(user.vector, table.vectors, rows)


def _merged(rows: Rows, scores: Array, others: Rows, of_others: Array) -> tuple[Rows, Array]:
    """Return rows and others, all ascending, and their scores; those of the others where both have a row.

    There are more rows than others, as a rule: to sort them all anew would take longer.
    """
    if not len(others):
        return rows, scores
    at = rows.searchsorted(others)
    is_among = rows.take(at, mode="clip") == others if len(rows) else np.zeros(len(others), bool)
    scores[at[is_among]] = of_others[is_among]
    if is_among.all():
        return rows, scores
    at, others, of_others = at[~is_among], others[~is_among], of_others[~is_among]
    return np.insert(rows, at, others), np.insert(scores, at, of_others)
