"""Scores of all items for queries: the cosine of user and item, and what the context weights say of the moment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import History
from springtide.model.exponents import FALLBACK_EXPONENTS, NO_EXPONENTS, Exponents
from springtide.ranking.filters import allowed_items, check_query
from springtide.ranking.item_table import ItemTable
from springtide.ranking.moments import MomentCache
from springtide.ranking.query import Query
from springtide.ranking.serving_baseline import BaselineTable, Served, ServingBaseline
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.users import LiveUser, Users
from springtide.ranking.weights import ItemWeights, history_weights
from springtide.settings.model import RankingSettings
from springtide.state import LiveState

Array = npt.NDArray[np.float32]
_PAST_MS = 86_400_000  # A moment a day behind the newest event asks about the past: what came after is not looked at.


@dataclass(frozen=True, slots=True)
class Serving:
    """All that a request takes from what is served at once: swapped by one reference.

    A model gives a table of vectors, a baseline one of its own; neither is there for the fallback.
    """

    table: ItemTable | None
    baseline: BaselineTable | None
    exponents: Exponents
    moments: MomentCache
    users: Users

    @property
    def version(self) -> str:
        """Of the model or the baseline; empty for the fallback."""
        if self.baseline is not None:
            return self.baseline.baseline.version
        return "" if self.table is None else self.table.model.version

    @property
    def has_id(self) -> npt.NDArray[np.bool_] | None:
        """Which items are there, bool ``[num_items]``; None if nothing is served that was made for certain items."""
        table = self.baseline or self.table
        return None if table is None else table.has_id


@dataclass(frozen=True, slots=True)
class SeenItems:
    """The items that a user had, as far as they are ranked.

    Attributes:
        rows: int32 ``[m]``, ascending.
        weights: For each weight with a history side, its log, float32 ``[m]``.
        total: float32 ``[m]``, their sum.
    """

    rows: npt.NDArray[np.int32]
    weights: dict[str, Array]
    total: Array


@dataclass(frozen=True, slots=True)
class ScoredQueries:
    """What some queries found: for each its user, the weights of its moment and its own items, and all scores.

    Attributes:
        scores: float32 ``[num_queries, num_items]``, ``-inf`` for what the query leaves out.
    """

    users: Sequence[LiveUser]
    moments: Sequence[ItemWeights]
    seen_items: Sequence[SeenItems]
    scores: Array


class Scorer:
    """Scores all items for queries, over the live state.

    Args:
        state: The graph and the context weights; another thread writes them.
        settings: How far histories reach.
    """

    def __init__(self, state: LiveState, settings: RankingSettings) -> None:
        self._state = state
        self._settings = settings
        self._item_type = state.rules.item_type

    def make_serving(self, served: Served | None) -> Serving:
        """Return what is needed to serve a model or a baseline; None for the fallback."""
        view = self._state.graph.view()
        table = baseline = model = None
        exponents = FALLBACK_EXPONENTS
        if isinstance(served, ServingBaseline):
            baseline = BaselineTable.build(served, view)
            exponents = NO_EXPONENTS
        elif served is not None:
            model = served
            table = ItemTable.build(model, view, self._state.rules)
            exponents = model.exponents
        moments = MomentCache(self._state.context_weights, exponents)
        return Serving(table, baseline, exponents, moments, self._make_users(model))

    def _make_users(self, model: ServingModel | None) -> Users:
        """Return users that keep nothing yet: what was kept came from the vectors of another table."""
        return Users(self._state.rules, self._settings.max_history, model)

    def refreshed(self, serving: Serving, view: GraphView) -> Serving:
        """Return what is served with the items as they are now; the same if nothing has changed."""
        table, baseline = serving.table, serving.baseline
        if baseline is not None and baseline.is_outdated(view):
            return replace(serving, baseline=BaselineTable.build(baseline.baseline, view))
        if table is not None and table.is_outdated(view):
            fresh = ItemTable.build(table.model, view, self._state.rules)
            return replace(serving, table=fresh, users=self._make_users(table.model))
        return serving

    def score(
        self, serving: Serving, view: GraphView, queries: Sequence[Query], *, keep_in_cache: bool = True
    ) -> ScoredQueries:
        """Score all items for each query, at least one; ``keep_in_cache``: whether others will ask for its moments."""
        for query in queries:
            check_query(query, view, self._state.rules)
        num_items = self.num_items(serving, view)
        users = [self._find_user(serving, view, query) for query in queries]
        queries = [self.with_circumstances(query, view) for query in queries]
        moments = [serving.moments.at(query.moment, num_items, keep_in_cache=keep_in_cache) for query in queries]
        seen_items = [
            self._own(serving, view, query, user.history, num_items) for query, user in zip(queries, users, strict=True)
        ]
        if serving.baseline is None:
            scores = self._scores(serving, users, moments, seen_items, num_items)
        else:
            histories = [as_of(user.history, view, query) for user, query in zip(users, queries, strict=True)]
            user_ids = [query.user_id for query in queries]
            times_ms = [query.moment.timestamp_ms for query in queries]
            scores = serving.baseline.scores(view, user_ids, histories, times_ms)
        for query, of_query in zip(queries, scores, strict=True):
            self.leave_out(of_query, query, view, serving.has_id)
        return ScoredQueries(users, moments, seen_items, scores)

    def num_items(self, serving: Serving, view: GraphView) -> int:
        """Return how many items have a score."""
        return view.num_nodes(self._item_type) if serving.has_id is None else len(serving.has_id)

    def leave_out(self, scores: Array, query: Query, view: GraphView, has_id: npt.NDArray[np.bool_] | None) -> None:
        """Set what a query leaves out, and items that are not there, to ``-inf``, in place."""
        if has_id is not None and not has_id.all():
            scores[~has_id] = -np.inf
        allowed = allowed_items(query, view, self._state.rules, len(scores))
        if allowed is not None:
            scores[~allowed] = -np.inf

    def with_circumstances(self, query: Query, view: GraphView) -> Query:
        """Return the query with the user's attributes for circumstances that it says nothing of."""
        unknown = [key for key in self._state.circumstances.keys if not query.moment.circumstance(key)]
        row = view.nodes(USER).ids.row(query.user_id) if unknown and query.user_id else -1
        if row < 0:
            return query
        of_user = dict(reversed(view.nodes(USER).category_values(row)))  # Of several values, the first.
        known = {key: of_user[key] for key in unknown if key in of_user}
        if not known:
            return query
        return replace(query, moment=replace(query.moment, attributes={**query.moment.attributes, **known}))

    def _find_user(self, serving: Serving, view: GraphView, query: Query) -> LiveUser:
        recent = view.nodes(self._item_type).ids.rows(query.recent_items)
        recent_rows = recent[(recent >= 0) & (recent < view.num_nodes(self._item_type))]
        return serving.users.find(view, serving.table, query.user_id, recent_rows, query.moment.timestamp_ms)

    def _own(self, serving: Serving, view: GraphView, query: Query, history: History, num_items: int) -> SeenItems:
        history = as_of(history, view, query)
        rows, _ = history.distinct()
        weights = history_weights(self._state.context_weights, serving.exponents, history, query.moment)
        is_ranked = rows < num_items
        if not is_ranked.all():
            rows = rows[is_ranked]
            weights = {name: logs[is_ranked] for name, logs in weights.items()}
        total = np.zeros(len(rows), np.float32)
        for logs in weights.values():
            total += logs
        return SeenItems(rows, weights, total)

    @staticmethod
    def _scores(
        serving: Serving,
        users: Sequence[LiveUser],
        moments: Sequence[ItemWeights],
        seen_items: Sequence[SeenItems],
        num_items: int,
    ) -> Array:
        """Return float32 ``[num_queries, num_items]``.

        One product gives all scores of new items, the weights of the moment added on the way; then each user's own few
        items are put right. Cosines are not kept: they are made again for the items that are answered.
        """
        exponents, table = serving.exponents, serving.table
        totals = torch.from_numpy(np.stack([moments[0].unseen_total[:num_items]]))  # [1, num_items]
        if any(at_moment is not moments[0] for at_moment in moments):
            totals = torch.from_numpy(np.stack([at_moment.unseen_total[:num_items] for at_moment in moments]))
        if table is None:
            scores = totals.repeat(len(users) // len(totals), 1).numpy()
        else:
            vectors = np.zeros((len(users), table.vectors.shape[1]), np.float32)
            for position, user in enumerate(users):
                if user.vector is not None:
                    vectors[position] = user.vector
            vectors *= np.float32(exponents.unseen.cosine)
            scores = torch.addmm(totals, torch.from_numpy(vectors), table.vectors.T).numpy()
        for of_query, user, at_moment, own in zip(scores, users, moments, seen_items, strict=True):
            rows = own.rows
            of_own = cosine_of(table, user, rows) * np.float32(exponents.seen.cosine)
            of_query[rows] = of_own + at_moment.seen_total[rows] + own.total
        return scores


def as_of(history: History, view: GraphView, query: Query) -> History:
    """Return what a query may look at of a history: one that asks about the past sees nothing that came after."""
    now_ms = query.moment.timestamp_ms
    is_past = view.newest_ms is not None and now_ms < view.newest_ms - _PAST_MS
    return history.before(now_ms + 1) if is_past else history


def cosine_of(table: ItemTable | None, user: LiveUser, rows: npt.NDArray[np.integer[Any]]) -> Array:
    """Return float32 ``[n]``, the cosines of a user with some items; 0 where either has no vector."""
    if table is None or user.vector is None:
        return np.zeros(len(rows), np.float32)
    cosine: Array = table.vectors.numpy()[rows] @ user.vector
    return cosine
