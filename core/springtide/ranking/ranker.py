"""From queries to ranked items: the cosine of user and item times what the context weights say, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from springtide.config import RankingSettings
from springtide.errors import InvalidRequestError, ModelError
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.plugins.contracts import History, Moment
from springtide.ranking.explain import Explanation, factor_terms, habit_of, sentence_of
from springtide.ranking.filters import allowed_items, check_query
from springtide.ranking.item_table import ItemTable
from springtide.ranking.moments import MomentCache
from springtide.ranking.order import best_of, places_of
from springtide.ranking.query import Query, RankedItem, Ranking
from springtide.ranking.serving_baseline import BaselineTable, Served, ServingBaseline
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.users import LiveUser, Users
from springtide.ranking.weights import (
    FALLBACK_EXPONENTS,
    NO_EXPONENTS,
    Exponents,
    ItemWeights,
    history_weights,
    item_groups,
)
from springtide.state import LiveState

Array = npt.NDArray[np.float32]
FAMILIARITY = "familiarity"
_RANKS_AT_ONCE = 128  # Queries; at 100,000 items, 50 MB of scores.
_NOW = Moment(0)  # Of a query that does not depend on the moment.
_PAST_MS = 86_400_000  # A moment a day behind the newest event asks about the past: what came after is not looked at.


@dataclass(frozen=True, slots=True)
class _Serving:
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
        if self.baseline is not None:
            return self.baseline.baseline.version
        return "" if self.table is None else self.table.model.version

    @property
    def has_id(self) -> npt.NDArray[np.bool_] | None:
        """Which items are there, bool ``[num_items]``; None if nothing is served that was made for certain items."""
        table = self.baseline or self.table
        return None if table is None else table.has_id


@dataclass(frozen=True, slots=True)
class _Own:
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
class _Asked:
    """What some queries found: for each its user, the weights of its moment and its own items, and all scores.

    Attributes:
        scores: float32 ``[num_queries, num_items]``, ``-inf`` for what the query leaves out.
    """

    users: Sequence[LiveUser]
    moments: Sequence[ItemWeights]
    owns: Sequence[_Own]
    scores: Array


class Ranker:
    """Ranks all items for users, over the live state.

    Args:
        state: The graph and the context weights; another thread writes them.
        settings: How far histories reach.
    """

    def __init__(self, state: LiveState, settings: RankingSettings) -> None:
        self._state = state
        self._settings = settings
        self._item_type = state.rules.item_type
        self._groups_mark: object = None
        self._forgotten = ("", np.empty(0, np.int64))  # The lineage of ids, and the rows that have none.
        self._regroup(state.graph.view())
        self._serving = self._make_serving(None)

    @property
    def model_version(self) -> str:
        """The version that is served, of a model or a baseline; empty for the fallback."""
        return self._serving.version

    def swap(self, served: Served | None) -> None:
        """Serve a model or a baseline from the next request on; None for the fallback."""
        self._serving = self._make_serving(served)

    def refresh(self) -> None:
        """Take up new items, and keep the weights of the moments that are asked for fresh. For a background thread."""
        serving = self._serving
        view = self._state.graph.view()
        self._regroup(view)
        serving.moments.refresh(view.num_nodes(self._item_type))
        fresh = self._refreshed(serving, view)
        if self._serving is serving:  # Else a swap came between, and its table is newer.
            self._serving = fresh

    def recommend(self, queries: Sequence[Query]) -> list[Ranking]:
        """Rank all items for each query; all are scored by one product.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        serving = self._serving
        view = self._state.graph.view()
        if not queries:
            return []
        asked = self._ask(serving, view, queries)
        best = best_of(asked.scores, [query.count for query in queries], view.nodes(self._item_type).ids)
        rankings = []
        for user, at_moment, own, of_query, (rows, ids) in zip(
            asked.users, asked.moments, asked.owns, asked.scores, best, strict=True
        ):
            cosine = _cosine(serving.table, user, rows)
            items = self._items(serving.exponents, rows, ids, of_query[rows], cosine, at_moment, own)
            rankings.append(Ranking(items, user.personalization, serving.version))
        return rankings

    def ranks(self, queries: Sequence[Query], item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the place of one item in the whole answer to each query, int64 ``[n]``, 1 for the best.

        Scores are those of ``recommend``: filters leave out, and what the user had is ranked too. Equal scores share a
        place: 1, plus the number of items above, plus half the number of others beside it, rounded down.

        Args:
            queries: Their ``count`` does not matter here.
            item_ids: One item for each query; one that is unknown, new since the last ``refresh`` or left out by the
                query comes after all: its place is the number of item rows plus one.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        if len(queries) != len(item_ids):
            raise ValueError(f"wanted one item for each query, got {len(item_ids):,} for {len(queries):,}")
        serving = self._serving
        view = self._state.graph.view()
        forgotten = self._forgotten_rows(view)
        rows = view.nodes(self._item_type).ids.rows(item_ids)
        places = []
        for start in range(0, len(queries), _RANKS_AT_ONCE):
            part = slice(start, start + _RANKS_AT_ONCE)
            scores = self._ask(serving, view, queries[part], is_lasting=False).scores
            scores[:, forgotten[forgotten < scores.shape[1]]] = -np.inf
            places.append(places_of(scores, rows[part]))
        return np.concatenate([*places, np.empty(0, np.int64)])

    def scores(self, queries: Sequence[Query]) -> Array:
        """Return the score of every item for each query, float32 ``[num_queries, num_items]``, at least one query.

        They are the logits that ``recommend`` ranks by; ``-inf`` for what a query leaves out. ``item_ids`` names them.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        view = self._state.graph.view()
        scores = self._ask(self._serving, view, queries).scores
        forgotten = self._forgotten_rows(view)
        scores[:, forgotten[forgotten < scores.shape[1]]] = -np.inf
        return scores

    def item_ids(self, rows: npt.NDArray[np.integer[Any]]) -> list[str]:
        """Return the ids of items by their places in ``scores``."""
        return self._state.graph.view().nodes(self._item_type).ids.ids(rows)

    def similar(
        self, item_id: str, count: int, category_filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ) -> tuple[list[tuple[str, float]], str]:
        """Return the nearest items to one, each with its cosine, and the model's version.

        Raises:
            InvalidRequestError: If the item or an attribute is unknown.
            ModelError: If no model is served.
        """
        serving = self._serving
        table = serving.table
        if serving.baseline is not None:
            name = serving.baseline.baseline.name
            raise ModelError(f"the baseline {name!r} is served: similar items need a model, for its vectors")
        if table is None:
            raise ModelError("no model yet: similar items need one")
        view = self._state.graph.view()
        ids = view.nodes(self._item_type).ids
        row = ids.row(item_id)
        if not 0 <= row < len(table.has_id):
            raise InvalidRequestError("item", f"no item with the id {item_id!r}")
        query = Query(_NOW, count=count, category_filters=category_filters)
        check_query(query, view, self._state.rules)
        cosines = (table.vectors @ table.vectors[row]).numpy().copy()
        self._leave_out(cosines, query, view, table.has_id)
        cosines[row] = -np.inf
        [(best, names)] = best_of(cosines[None, :], [count], ids)
        return list(zip(names, cosines[best].tolist(), strict=True)), table.model.version

    def explain(self, query: Query, item_id: str) -> Explanation:
        """Return all that goes into the score of one item, and why, in words.

        Raises:
            InvalidRequestError: If the item, or something that the query names, is unknown.
        """
        serving, view = self._serving, self._state.graph.view()
        table, exponents = serving.table, serving.exponents
        num_items = self._num_items(serving, view)
        row = view.nodes(self._item_type).ids.row(item_id)
        if not 0 <= row < num_items:
            raise InvalidRequestError("item", f"no item with the id {item_id!r}")
        asked = self._ask(serving, view, [query])
        [scores], [user] = asked.scores, asked.users
        rank = 1 + int((scores > scores[row]).sum())
        if serving.baseline is not None:
            return Explanation(
                item_id=item_id,
                score=float(scores[row]),
                rank=rank,
                cosine=0.0,
                cosine_exponent=0.0,
                terms=(),
                sentence=f"ranked by the baseline {serving.baseline.baseline.name}",
                personalization=user.personalization,
                model_version=serving.version,
            )
        query = self._with_circumstances(query, view)
        history = _as_of(user.history, view, query)
        habit = habit_of(history, row, query.moment.timestamp_ms)
        of_terms = exponents.new if habit is None else exponents.own
        terms = factor_terms(self._state.context_weights, of_terms, history, query.moment, row, num_items)
        cosines = _cosine(table, user, np.arange(num_items))
        cosine = float(cosines[row])
        return Explanation(
            item_id=item_id,
            score=of_terms.cosine * cosine + sum(term.log_weight for term in terms),
            rank=rank,
            cosine=cosine,
            cosine_exponent=of_terms.cosine,
            terms=terms,
            sentence=sentence_of(terms, of_terms.cosine * (cosine - float(cosines.mean())), habit),
            personalization=user.personalization,
            model_version=serving.version,
        )

    def _refreshed(self, serving: _Serving, view: GraphView) -> _Serving:
        """Return what is served with the items as they are now; the same if nothing has changed."""
        table, baseline = serving.table, serving.baseline
        if serving.has_id is None:
            return serving
        is_new = view.num_nodes(self._item_type) > len(serving.has_id)
        lineage = view.nodes(self._item_type).ids_lineage
        if baseline is not None and (is_new or lineage != baseline.ids_lineage):
            return replace(serving, baseline=BaselineTable.build(baseline.baseline, view))
        if table is not None:
            is_changed = bool((table.model_rows < 0).any()) and view.num_edges != table.num_edges
            if is_new or is_changed or lineage != table.ids_lineage:
                fresh = ItemTable.build(table.model, view, self._state.rules)
                return replace(serving, table=fresh, users=self._make_users(table.model))
        return serving

    def _ask(self, serving: _Serving, view: GraphView, queries: Sequence[Query], *, is_lasting: bool = True) -> _Asked:
        """Score all items for each query, at least one; ``is_lasting`` says whether its moments will be asked again."""
        for query in queries:
            check_query(query, view, self._state.rules)
        num_items = self._num_items(serving, view)
        users = [self._find_user(serving, view, query) for query in queries]
        queries = [self._with_circumstances(query, view) for query in queries]
        moments = [serving.moments.at(query.moment, num_items, is_lasting=is_lasting) for query in queries]
        owns = [
            self._own(serving, view, query, user.history, num_items) for query, user in zip(queries, users, strict=True)
        ]
        if serving.baseline is None:
            scores = self._scores(serving, users, moments, owns, num_items)
        else:
            histories = [_as_of(user.history, view, query) for user, query in zip(users, queries, strict=True)]
            user_ids = [query.user_id for query in queries]
            times_ms = [query.moment.timestamp_ms for query in queries]
            scores = serving.baseline.scores(view, user_ids, histories, times_ms)
        for query, of_query in zip(queries, scores, strict=True):
            self._leave_out(of_query, query, view, serving.has_id)
        return _Asked(users, moments, owns, scores)

    def _num_items(self, serving: _Serving, view: GraphView) -> int:
        return view.num_nodes(self._item_type) if serving.has_id is None else len(serving.has_id)

    def _forgotten_rows(self, view: GraphView) -> npt.NDArray[np.int64]:
        """Return the rows of items that were forgotten, int64 ``[n]``."""
        nodes = view.nodes(self._item_type)
        lineage = nodes.ids_lineage  # Before the ids: what is forgotten between is looked at again.
        if self._forgotten[0] != lineage:
            is_forgotten = [not item_id for item_id in nodes.ids.all_ids()]
            self._forgotten = (lineage, np.flatnonzero(is_forgotten))
        return self._forgotten[1]

    def _make_serving(self, served: Served | None) -> _Serving:
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
        return _Serving(table, baseline, exponents, moments, self._make_users(model))

    def _make_users(self, model: ServingModel | None) -> Users:
        """Return users that keep nothing yet: what was kept came from the vectors of another table."""
        return Users(self._state.rules, self._settings.max_history, model)

    def _regroup(self, view: GraphView) -> None:
        """Tell the context weights what items belong to, if attributes or items have changed."""
        items, count = view.nodes(self._item_type), view.num_nodes(self._item_type)
        mark = (items.attributes_mark, count)
        if mark != self._groups_mark:
            groups = item_groups(items, count, self._settings.item_groups)
            for weight in self._state.context_weights.values():
                weight.regroup(groups)
            self._groups_mark = mark

    def _with_circumstances(self, query: Query, view: GraphView) -> Query:
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

    def _find_user(self, serving: _Serving, view: GraphView, query: Query) -> LiveUser:
        recent = view.nodes(self._item_type).ids.rows(query.recent_items)
        recent_rows = recent[(recent >= 0) & (recent < view.num_nodes(self._item_type))]
        return serving.users.find(view, serving.table, query.user_id, recent_rows, query.moment.timestamp_ms)

    def _own(self, serving: _Serving, view: GraphView, query: Query, history: History, num_items: int) -> _Own:
        history = _as_of(history, view, query)
        rows, _ = history.distinct()
        weights = history_weights(self._state.context_weights, serving.exponents, history, query.moment)
        is_ranked = rows < num_items
        if not is_ranked.all():
            rows = rows[is_ranked]
            weights = {name: logs[is_ranked] for name, logs in weights.items()}
        total = np.zeros(len(rows), np.float32)
        for logs in weights.values():
            total += logs
        return _Own(rows, weights, total)

    @staticmethod
    def _scores(
        serving: _Serving,
        users: Sequence[LiveUser],
        moments: Sequence[ItemWeights],
        owns: Sequence[_Own],
        num_items: int,
    ) -> Array:
        """Return float32 ``[num_queries, num_items]``.

        One product gives all scores of new items, the weights of the moment added on the way; then each user's own few
        items are put right. Cosines are not kept: they are made again for the items that are answered.
        """
        exponents, table = serving.exponents, serving.table
        totals = torch.from_numpy(np.stack([moments[0].new_total[:num_items]]))  # [1, num_items]
        if any(at_moment is not moments[0] for at_moment in moments):
            totals = torch.from_numpy(np.stack([at_moment.new_total[:num_items] for at_moment in moments]))
        if table is None:
            scores = totals.repeat(len(users) // len(totals), 1).numpy()
        else:
            vectors = np.zeros((len(users), table.vectors.shape[1]), np.float32)
            for position, user in enumerate(users):
                if user.vector is not None:
                    vectors[position] = user.vector
            vectors *= np.float32(exponents.new.cosine)
            scores = torch.addmm(totals, torch.from_numpy(vectors), table.vectors.T).numpy()
        for of_query, user, at_moment, own in zip(scores, users, moments, owns, strict=True):
            rows = own.rows
            of_own = _cosine(table, user, rows) * np.float32(exponents.own.cosine)
            of_query[rows] = of_own + at_moment.own_total[rows] + own.total
        return scores

    def _leave_out(self, scores: Array, query: Query, view: GraphView, has_id: npt.NDArray[np.bool_] | None) -> None:
        if has_id is not None and not has_id.all():
            scores[~has_id] = -np.inf
        allowed = allowed_items(query, view, self._state.rules, len(scores))
        if allowed is not None:
            scores[~allowed] = -np.inf

    @staticmethod
    def _items(
        exponents: Exponents,
        rows: npt.NDArray[np.int64],
        ids: Sequence[str],
        scores: Array,
        cosine: Array,
        at_moment: ItemWeights,
        own: _Own,
    ) -> tuple[RankedItem, ...]:
        """Return ranked items, given their rows, ids, scores and cosines, with all that went into the scores."""
        position = np.searchsorted(own.rows, rows)
        is_own = np.zeros(len(rows), bool)
        is_there = position < len(own.rows)
        is_own[is_there] = own.rows[position[is_there]] == rows[is_there]
        position = position[is_own]
        # Logs of each weight for these items, item side and history side added.
        logs = {
            name: np.where(is_own, at_moment.own[place, rows], at_moment.new[place, rows])
            for place, name in enumerate(at_moment.names)
        }
        for name, of_own in own.weights.items():
            logs.setdefault(name, np.zeros(len(rows), np.float32))[is_own] += of_own[position]
        if is_own.any() and exponents.own.cosine != exponents.new.cosine:
            logs[FAMILIARITY] = np.where(is_own, (exponents.own.cosine - exponents.new.cosine) * cosine, 0.0)
        names = list(logs)
        weights = np.exp(np.stack([logs[name] for name in names], 1)).tolist() if names else [[]] * len(rows)
        return tuple(
            RankedItem(item_id, score, own_cosine, dict(zip(names, of_item, strict=True)))
            for item_id, score, own_cosine, of_item in zip(ids, scores.tolist(), cosine.tolist(), weights, strict=True)
        )


def _as_of(history: History, view: GraphView, query: Query) -> History:
    """Return what a query may look at of a history: one that asks about the past sees nothing that came after."""
    now_ms = query.moment.timestamp_ms
    is_past = view.newest_ms is not None and now_ms < view.newest_ms - _PAST_MS
    return history.before(now_ms + 1) if is_past else history


def _cosine(table: ItemTable | None, user: LiveUser, rows: npt.NDArray[np.integer[Any]]) -> Array:
    """Return float32 ``[n]``, the cosines of a user with some items; 0 where either has no vector."""
    if table is None or user.vector is None:
        return np.zeros(len(rows), np.float32)
    cosine: Array = table.vectors.numpy()[rows] @ user.vector
    return cosine
