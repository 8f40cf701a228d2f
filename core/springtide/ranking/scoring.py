"""Scores of all items for queries: the cosine of user and item, and what the context weights say of the moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import History
from springtide.ranking.availability import hidden_rows
from springtide.ranking.binding import BoundQuery, bind
from springtide.ranking.boosts import Boosts, boost_ranked, joined
from springtide.ranking.dislikes import NOTHING_DISLIKED, Disliked, disliked_at, log_weights, lower_ranked
from springtide.ranking.filters import SeenRows
from springtide.ranking.item_table import ItemTable
from springtide.ranking.lifeless import LifelessItems
from springtide.ranking.never_met import has_any, seen_without, untouched
from springtide.ranking.paging import at_page
from springtide.ranking.query import Query
from springtide.ranking.related import NOTHING_RELATED, RelatedScores, related_scores
from springtide.ranking.relevance import are_near, wants_near
from springtide.ranking.rotation import DEFAULT_TIME_MS, ROTATION, rotation
from springtide.ranking.serving import Serving
from springtide.ranking.steered import Steered
from springtide.ranking.together import TOGETHER, log_lifts
from springtide.ranking.users import LiveUser
from springtide.ranking.weights import ItemWeights, history_weights
from springtide.state import LiveState

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
_NO_ROWS: Rows = np.empty(0, np.int32)
_NO_LOGS: Array = np.empty(0, np.float32)
_NOT_STEERED = Steered()
_MATRIX_ROWS = 8  # Fewer vectors times a matrix, one by one, take less than OpenBLAS's product: two take a quarter.
_PAST_MS = 86_400_000  # A moment a day before the newest event is in the past: later interactions do not count then.


@dataclass(frozen=True, slots=True)
class SeenItems:
    """The items that a user has seen, as far as they are ranked.

    Attributes:
        rows: int32 ``[m]``, ascending.
        weights: For each context weight with a history side, its log, float32 ``[m]``.
        total: float32 ``[m]``, their sum.
        related: What the history says of items as if the user had never had them.
    """

    rows: npt.NDArray[np.int32]
    weights: dict[str, Array]
    total: Array
    related: RelatedScores = NOTHING_RELATED


@dataclass(frozen=True, slots=True)
class LoweredItems:
    """The items that a user dislikes, as far as they are ranked.

    Attributes:
        disliked: The items, and how much the user dislikes each.
        logs: float32 ``[m]``, what that adds to the score of each, 0 or less; all 0 if a baseline ranks.
    """

    disliked: Disliked
    logs: Array


@dataclass(frozen=True, slots=True)
class ScoredQueries:
    """Some queries with their scores, and what the scores were made of; all sequences are in the queries' order.

    Attributes:
        queries: The queries.
        users: The user of each query.
        moments: The item weights of each query's moment.
        seen_items: The items that each query's user has seen.
        lowered_items: The items that each query's user dislikes.
        scores: float32 ``[num_queries, num_items]``, ``-inf`` for forgotten items and those that the query leaves out.
    """

    queries: Sequence[BoundQuery]
    users: Sequence[LiveUser]
    moments: Sequence[ItemWeights]
    seen_items: Sequence[SeenItems]
    lowered_items: Sequence[LoweredItems]
    scores: Array


@dataclass(frozen=True, slots=True)
class Scorer:
    """What one request, or several that belong together, score with: what is served, and the graph, both of one time.

    Attributes:
        state: The graph's rules and the context weights, which go on learning.
        serving: What is served.
        view: The graph.
        lifeless: Items that are not recommended unless they are asked for; None for none.
        steered: The rules and scenarios that hold.
        items: Ids and attributes of the items.
        num_items: Number of items that have a score, forgotten ones included.
        nothing_seen: What ``seen`` returns for a user who has seen nothing that counts.
    """

    state: LiveState
    serving: Serving
    view: GraphView
    lifeless: LifelessItems | None = None
    steered: Steered = _NOT_STEERED
    items: NodeTable = field(init=False)
    num_items: int = field(init=False)
    nothing_seen: SeenItems = field(init=False)

    def __post_init__(self) -> None:
        item_type = self.state.rules.item_type
        object.__setattr__(self, "items", self.view.nodes(item_type))
        object.__setattr__(self, "num_items", self.serving.num_items(self.view, item_type))
        weights = {name: _NO_LOGS for name, _, _ in self.serving.history_terms}
        object.__setattr__(self, "nothing_seen", SeenItems(_NO_ROWS, weights, _NO_LOGS))

    @property
    def version(self) -> str:
        """Registry version of the model or the baseline that scores; empty for the fallback."""
        return self.serving.version

    def has_row(self, row: int) -> bool:
        """Return whether an item has a score: not -1, nor newer than what is served."""
        num_items = self.num_items
        return 0 <= row < num_items and row not in self.items.ids.reused_since(
            self.serving.num_reuses(self.items), num_items
        )

    def item_ids(self, rows: npt.NDArray[np.integer[Any]]) -> list[str]:
        """Return the ids of items, given their columns in the scores."""
        return self.items.ids.ids(rows)

    def bind(self, query: Query, removed: Rows | None = None) -> BoundQuery:
        """Look up all that a query names, and apply the rules, its scenario and what else steers it.

        Args:
            query: The query.
            removed: int32 ``[n]``, items that the user is taken never to have met: they are not seen, touched or shown,
                by events of any type. None for none.

        Raises:
            InvalidRequestError: If the query names something unknown.
        """
        steered, view, num_items = self.steered, self.view, self.num_items
        if query.steering is not None:
            query = at_page(query)
        keys = self.state.circumstances.keys
        seen_rows: SeenRows = self.serving.users.seen_rows
        if removed is not None:
            query, seen_rows = untouched(query, self.item_ids(removed)), seen_without(removed, seen_rows)
        hidden = hidden_rows(self.items, query.moment.timestamp_ms, num_items)
        if query.steering is None and steered.is_idle and not len(hidden):
            bound = bind(query, view, self.state.rules, keys, num_items, seen_rows)
            return self._together(bound, query.goes_together) if query.goes_together else bound
        query = steered.merged(query)
        bound = bind(query, view, self.state.rules, keys, num_items, seen_rows)
        bound = self._rotated(steered.applied(query, bound, view, self.items, num_items, hidden), removed)
        return self._together(bound, query.goes_together) if query.goes_together else bound

    def bind_without(self, query: Query, bound: BoundQuery, removed: Rows) -> BoundQuery:
        """Return a bound query as if its user had never met some items.

        Args:
            query: The query.
            bound: The same, bound to this view. Its ``count`` is kept; it is returned itself where nothing changes.
            removed: int32 ``[n]``, the items. All events of the user with them are gone, of any type.
        """
        steering = bound.steering
        is_rotated = steering is not None and bool(steering.rotation_rate)
        if (
            not is_rotated
            and not has_any(bound.excluded_rows, removed)
            and not np.isin(removed, bound.recent_rows).any()
        ):
            return bound
        return replace(self.bind(query, removed), count=bound.count)

    def _together(self, query: BoundQuery, exponent: float) -> BoundQuery:
        """Return a bound query with what goes with its recent items."""
        before_ms = query.moment.timestamp_ms + 1
        rows, logs = log_lifts(self.view, self.state.rules, query.recent_rows, before_ms, self.num_items)
        if not len(rows):
            return query
        boosts = Boosts(rows, {TOGETHER: np.float32(exponent) * logs}, is_kept=False)
        return replace(query, boosts=joined(query.boosts, boosts, self.num_items))

    def _rotated(self, query: BoundQuery, removed: Rows | None) -> BoundQuery:
        """Return a bound query with what was shown to its user and ignored, but for removed items."""
        steering = query.steering
        if steering is None or not steering.rotation_rate:
            return query
        time_ms = steering.rotation_time_ms or DEFAULT_TIME_MS
        now_ms, rate, rules = query.moment.timestamp_ms, steering.rotation_rate, self.state.rules
        rotated = rotation(self.view, rules, query.user_row, now_ms, rate, time_ms, self.num_items, removed)
        if not len(rotated.rows):
            return query
        return replace(query, rotated=Boosts(rotated.rows, {ROTATION: rotated.logs}, is_kept=False))

    def unranked_rows(self, num_items: int, *, with_lifeless: bool) -> npt.NDArray[np.int32]:
        """Return the items below ``num_items`` that no answer may have, int32 ``[n]``, ascending.

        Forgotten ones that were forgotten just now may be missing: they have no id any more.

        Args:
            num_items: Number of items.
            with_lifeless: Whether items without edges and attributes are among them.
        """
        unknown = self.serving.unranked.rows(self.items, self.serving.num_reuses(self.items), num_items)
        if not with_lifeless or self.lifeless is None:
            return unknown
        lifeless = self.lifeless.rows(self.view, num_items)
        if not len(lifeless):
            return unknown
        return np.union1d(unknown, lifeless).astype(np.int32) if len(unknown) else lifeless.astype(np.int32)

    def mask_unknown(self, scores: Array) -> None:
        """Set the scores of items that are not what is served to ``-inf``, in place.

        These are forgotten items, and those that have the row of one now: what is served at that row is not theirs.

        Args:
            scores: float32 ``[..., num_items]``.
        """
        ids, num_items = self.items.ids, scores.shape[-1]
        num_reuses = self.serving.num_reuses(self.items)
        for rows in (ids.reused_since(num_reuses, num_items), ids.forgotten_rows(num_items)):
            if len(rows):
                scores[..., rows] = -np.inf

    def mask_lifeless(self, scores: Array) -> None:
        """Set the scores of items without edges and attributes to ``-inf``, in place; float32 ``[num_items]``."""
        if self.lifeless is not None:
            rows = self.lifeless.rows(self.view, len(scores))
            if len(rows):
                scores[rows] = -np.inf

    def score(self, queries: Sequence[Query], *, keep_in_cache: bool = True, leaves_out: bool = True) -> ScoredQueries:
        """Score all items for each query. Scores are logits.

        Args:
            queries: At least one.
            keep_in_cache: Whether the item weights of their moments are likely to be asked for again.
            leaves_out: Whether what a query leaves out has no score.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        serving, view, num_items = self.serving, self.view, self.num_items
        bound = [self.bind(query) for query in queries]
        users = [serving.users.find(view, serving.table, query) for query in bound]
        moments = [serving.moments.at(query.moment, num_items, keep_in_cache=keep_in_cache) for query in bound]
        histories = [self.history_at(user.history, query) for user, query in zip(users, bound, strict=True)]
        seen_items = [self.seen(history, query) for history, query in zip(histories, bound, strict=True)]
        disliked = [self.disliked(user, query) for user, query in zip(users, bound, strict=True)]
        if serving.baseline is not None:
            scores = serving.baseline.scores(bound, histories, view)
            lowered_items = [LoweredItems(each, np.zeros(len(each), np.float32)) for each in disliked]
        else:
            scores, lowered_items = self._scores(users, moments, seen_items, disliked)
        self.mask_unknown(scores)
        for query, bound_query, user, of_query in zip(queries, bound, users, scores, strict=True):
            self._steer(of_query, bound_query, user, leaves_out=leaves_out)
            if not query.allow_items:
                self.mask_lifeless(of_query)
        if serving.baseline is not None:
            for of_query, each in zip(scores, disliked, strict=True):
                lower_ranked(of_query, each)
        return ScoredQueries(bound, users, moments, seen_items, lowered_items, scores)

    def score_as(self, user: LiveUser, query: BoundQuery) -> Array:
        """Return the scores of all items for a query as if its user were another; float32 ``[num_items]``.

        What the query leaves out is ``-inf``; items without edges and attributes are not.

        Args:
            user: The other user.
            query: The query.
        """
        history, disliked = self.history_at(user.history, query), self.disliked(user, query)
        if self.serving.baseline is not None:
            scores: Array = self.serving.baseline.scores([query], [history], self.view)[0]
        else:
            moment = self.serving.moments.at(query.moment, self.num_items)
            scores = self._scores([user], [moment], [self.seen(history, query)], [disliked])[0][0]
        self.mask_unknown(scores)
        self._steer(scores, query, user, leaves_out=True)
        if self.serving.baseline is not None:
            lower_ranked(scores, disliked)
        return scores

    def _steer(self, scores: Array, query: BoundQuery, user: LiveUser, *, leaves_out: bool) -> None:
        """Add what steers a query to its scores, float32 ``[num_items]``, in place; what it leaves out is ``-inf``."""
        add = boost_ranked if self.serving.baseline is not None else Boosts.add_to
        for boosts in query.added:
            add(boosts, scores)
        if leaves_out:
            query.mask(scores)
            if wants_near(self.serving.table, user, query):
                every = np.arange(self.num_items, dtype=np.int32)
                scores[~are_near(self.serving.table, user, query, every)] = -np.inf

    def history_at(self, history: History, query: BoundQuery) -> History:
        """Return the interactions that a query may look at: if it asks about the past, none that came later."""
        now_ms = query.moment.timestamp_ms
        is_past = self.view.newest_ms is not None and now_ms < self.view.newest_ms - _PAST_MS
        return history.before(now_ms + 1) if is_past else history

    def disliked(self, user: LiveUser, query: BoundQuery) -> Disliked:
        """Return the ranked items that a user dislikes at the moment of a query."""
        if not len(user.dislikes.item_rows):
            return NOTHING_DISLIKED
        dislikes = self.history_at(user.dislikes, query)
        return disliked_at(dislikes, query.moment.timestamp_ms).below(self.num_items)

    def seen(self, history: History, query: BoundQuery) -> SeenItems:
        """Return the ranked items of a history, and what their weights are at the moment of a query."""
        rows, _ = history.distinct()
        weights = history_weights(self.serving.history_terms, history, query.moment)
        related = NOTHING_RELATED
        if self.serving.related_terms:
            terms, num_items = self.serving.related_terms, self.num_items
            related, of_seen = related_scores(terms, history, query.moment, rows, num_items)
            weights |= {name: weights[name] + logs if name in weights else logs for name, logs in of_seen.items()}
        is_ranked = rows < self.num_items
        if not is_ranked.all():
            rows = rows[is_ranked]
            weights = {name: logs[is_ranked] for name, logs in weights.items()}
        first, *others = weights.values() if weights else (np.zeros(len(rows), np.float32),)
        total = first.copy() if others else first
        for logs in others:
            total += logs
        return SeenItems(rows, weights, total, related)

    def only_related(self, history: History, query: BoundQuery) -> SeenItems:
        """Return what ``seen`` does for a query that leaves out all that its user has seen."""
        related, _ = related_scores(self.serving.related_terms, history, query.moment, _NO_ROWS, self.num_items)
        return replace(self.nothing_seen, related=related)

    def _scores(
        self,
        users: Sequence[LiveUser],
        moments: Sequence[ItemWeights],
        seen_items: Sequence[SeenItems],
        disliked_items: Sequence[Disliked],
    ) -> tuple[Array, list[LoweredItems]]:
        """Return float32 ``[num_queries, num_items]``, and what dislikes add to them.

        A matrix product gives the scores of all items as if they were unseen, and the weights of the moment are added.
        So is what each user's history says of items. Then the scores of each user's few seen items are replaced, and
        those of disliked ones lowered. Cosines are not
        kept: they are computed again for the items of the answer.
        """
        exponents, table, num_items = self.serving.exponents, self.serving.table, self.num_items
        if table is None:
            scores = np.empty((len(users), num_items), np.float32)
            for of_query, at_moment in zip(scores, moments, strict=True):
                of_query[:] = at_moment.unseen_total[:num_items]
        else:
            vectors = np.zeros((len(users), table.vectors.shape[1]), np.float32)
            for position, user in enumerate(users):
                if user.vector is not None:
                    vectors[position] = user.vector
            vectors *= np.float32(exponents.unseen.cosine)
            scores = _products(vectors, table.vectors)
            for of_query, at_moment in zip(scores, moments, strict=True):
                of_query += at_moment.unseen_total[:num_items]
        lowered = []
        for of_query, user, at_moment, seen, disliked in zip(
            scores, users, moments, seen_items, disliked_items, strict=True
        ):
            of_query[seen.related.rows] += seen.related.total
            of_disliked = of_query[disliked.rows] if len(disliked) else _NO_LOGS  # As if the user had never had them.
            cosines = cosine_of(table, user, seen.rows)
            of_seen = cosines * np.float32(exponents.seen.cosine)
            of_query[seen.rows] = of_seen + at_moment.seen_total[seen.rows] + seen.total
            logs = _NO_LOGS
            if len(disliked):
                logs = log_weights(disliked, of_query[disliked.rows] - of_disliked, exponents.dislikes.item)
                of_query[disliked.rows] += logs
            lowered.append(LoweredItems(disliked, logs))
        return scores, lowered


def _products(users: Array, items: Array) -> Array:
    """Return ``users @ items.T``, float32 ``[num_users, num_items]``, in the way that is fastest for their number."""
    if len(users) >= _MATRIX_ROWS:
        return users @ items.T
    products = np.empty((len(users), len(items)), np.float32)
    for of_user, user in zip(products, users, strict=True):
        np.dot(items, user, out=of_user)
    return products


def cosine_of(table: ItemTable | None, user: LiveUser, rows: npt.NDArray[np.integer[Any]]) -> Array:
    """Return float32 ``[n]``, the cosines of a user with some items; 0 where either has no vector.

    The vector of a user with dislikes may be shorter than 1 (``dislikes.moved_away``): then the cosines are smaller.
    """
    if table is None or user.vector is None:
        return np.zeros(len(rows), np.float32)
    cosine: Array = table.vectors[rows] @ user.vector
    return cosine
