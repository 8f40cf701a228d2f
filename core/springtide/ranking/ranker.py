"""From queries to ranked items: the cosine of user and item times what the context weights say, and why."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError, ModelError
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.model.exponents import Exponents
from springtide.ranking.explain import Explanation, factor_terms, habit_of, sentence_of
from springtide.ranking.filters import ANY, check_query
from springtide.ranking.query import Query, RankedItem, Ranking
from springtide.ranking.scoring import Scorer, SeenItems, as_of, cosine_of
from springtide.ranking.serving_baseline import Served
from springtide.ranking.top_k import best_of, ranks_of
from springtide.ranking.weights import ItemWeights, item_groups
from springtide.settings.model import RankingSettings
from springtide.state import LiveState

Array = npt.NDArray[np.float32]
FAMILIARITY = "familiarity"
_RANKS_AT_ONCE = 128  # Queries; at 100,000 items, 50 MB of scores.
_NOW = Moment(0)  # Of a query that does not depend on the moment.


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
        self._swap_lock = threading.Lock()  # For those that replace what is served; requests only read the reference.
        self._refresh_lock = threading.Lock()  # One refresh at a time.
        self._groups_mark: object = None
        self._forgotten = ("", np.empty(0, np.int64))  # The lineage of ids, and the rows that have none.
        self._regroup(state.graph.view())
        self._scorer = Scorer(state, settings)
        self._serving = self._scorer.make_serving(None)

    @property
    def model_version(self) -> str:
        """The version that is served, of a model or a baseline; empty for the fallback."""
        return self._serving.version

    def swap(self, served: Served | None) -> None:
        """Serve a model or a baseline from the next request on; None for the fallback."""
        serving = self._scorer.make_serving(served)
        with self._swap_lock:
            self._serving = serving

    def refresh(self) -> None:
        """Take up new items, and keep the weights of the moments that are asked for fresh. For a background thread."""
        with self._refresh_lock:
            serving = self._serving
            view = self._state.graph.view()
            self._regroup(view)
            serving.moments.refresh(view.num_nodes(self._item_type))
            serving.users.drop_forgotten(view)
            fresh = self._scorer.refreshed(serving, view)
            with self._swap_lock:
                if self._serving is serving:  # Else it was swapped meanwhile, and what is served now is newer.
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
        asked = self._scorer.score(serving, view, queries)
        best = best_of(asked.scores, [query.count for query in queries], view.nodes(self._item_type).ids)
        rankings = []
        for user, at_moment, own, of_query, (rows, ids) in zip(
            asked.users, asked.moments, asked.seen_items, asked.scores, best, strict=True
        ):
            cosine = cosine_of(serving.table, user, rows)
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
        return self._places(queries, item_ids, is_new_too=False)[0]

    def both_ranks(
        self, queries: Sequence[Query], item_ids: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the places that ``ranks`` returns, and those among items the user never had, int64 ``[n]`` each.

        The latter are the ranks of the same queries with ``exclude_seen`` set to all, for the price of one scoring.

        Args:
            queries: As in ``ranks``.
            item_ids: As in ``ranks``.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        among_all, among_new = self._places(queries, item_ids, is_new_too=True)
        return among_all, among_new

    def _places(
        self, queries: Sequence[Query], item_ids: Sequence[str], *, is_new_too: bool
    ) -> list[npt.NDArray[np.int64]]:
        """Return places among all items, and if wanted among new ones, int64 ``[n]`` each."""
        if len(queries) != len(item_ids):
            raise ValueError(f"wanted one item for each query, got {len(item_ids):,} for {len(queries):,}")
        serving = self._serving
        view = self._state.graph.view()
        forgotten = self._forgotten_rows(view)
        rows = view.nodes(self._item_type).ids.rows(item_ids)
        places = [np.empty(len(queries), np.int64) for _ in range(1 + is_new_too)]
        for start in range(0, len(queries), _RANKS_AT_ONCE):
            part = slice(start, start + _RANKS_AT_ONCE)
            scores = self._scorer.score(serving, view, queries[part], keep_in_cache=False).scores
            scores[:, forgotten[forgotten < scores.shape[1]]] = -np.inf
            places[0][part] = ranks_of(scores, rows[part])
            if is_new_too:
                for query, of_query in zip(queries[part], scores, strict=True):
                    self._scorer.leave_out(of_query, replace(query, exclude_seen=(ANY,)), view, None)
                places[1][part] = ranks_of(scores, rows[part])
        return places

    def scores(self, queries: Sequence[Query]) -> Array:
        """Return the score of every item for each query, float32 ``[num_queries, num_items]``, at least one query.

        They are the logits that ``recommend`` ranks by; ``-inf`` for what a query leaves out. ``item_ids`` names them.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        view = self._state.graph.view()
        scores = self._scorer.score(self._serving, view, queries).scores
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
        self._scorer.leave_out(cosines, query, view, table.has_id)
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
        num_items = self._scorer.num_items(serving, view)
        row = view.nodes(self._item_type).ids.row(item_id)
        if not 0 <= row < num_items:
            raise InvalidRequestError("item", f"no item with the id {item_id!r}")
        asked = self._scorer.score(serving, view, [query])
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
        query = self._scorer.with_circumstances(query, view)
        history = as_of(user.history, view, query)
        habit = habit_of(history, row, query.moment.timestamp_ms)
        of_terms = exponents.unseen if habit is None else exponents.seen
        terms = factor_terms(self._state.context_weights, of_terms, history, query.moment, row, num_items)
        cosines = cosine_of(table, user, np.arange(num_items))
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

    def _forgotten_rows(self, view: GraphView) -> npt.NDArray[np.int64]:
        """Return the rows of items that were forgotten, int64 ``[n]``."""
        nodes = view.nodes(self._item_type)
        lineage = nodes.ids_lineage  # Before the ids: what is forgotten between is looked at again.
        if self._forgotten[0] != lineage:
            is_forgotten = [not item_id for item_id in nodes.ids.all_ids()]
            self._forgotten = (lineage, np.flatnonzero(is_forgotten))
        return self._forgotten[1]

    def _regroup(self, view: GraphView) -> None:
        """Tell the context weights what items belong to, if attributes or items have changed."""
        items, count = view.nodes(self._item_type), view.num_nodes(self._item_type)
        mark = (items.attributes_version, count)
        if mark != self._groups_mark:
            groups = item_groups(items, count, self._settings.item_groups)
            for weight in self._state.context_weights.values():
                weight.regroup(groups)
            self._groups_mark = mark

    @staticmethod
    def _items(
        exponents: Exponents,
        rows: npt.NDArray[np.int64],
        ids: Sequence[str],
        scores: Array,
        cosine: Array,
        at_moment: ItemWeights,
        own: SeenItems,
    ) -> tuple[RankedItem, ...]:
        """Return ranked items, given their rows, ids, scores and cosines, with all that went into the scores."""
        position = np.searchsorted(own.rows, rows)
        is_seen = np.zeros(len(rows), bool)
        is_there = position < len(own.rows)
        is_seen[is_there] = own.rows[position[is_there]] == rows[is_there]
        position = position[is_seen]
        # Logs of each weight for these items, item side and history side added.
        logs = {
            name: np.where(is_seen, at_moment.seen[place, rows], at_moment.unseen[place, rows])
            for place, name in enumerate(at_moment.names)
        }
        for name, of_own in own.weights.items():
            logs.setdefault(name, np.zeros(len(rows), np.float32))[is_seen] += of_own[position]
        if is_seen.any() and exponents.seen.cosine != exponents.unseen.cosine:
            logs[FAMILIARITY] = np.where(is_seen, (exponents.seen.cosine - exponents.unseen.cosine) * cosine, 0.0)
        names = list(logs)
        weights = np.exp(np.stack([logs[name] for name in names], 1)).tolist() if names else [[]] * len(rows)
        return tuple(
            RankedItem(item_id, score, own_cosine, dict(zip(names, of_item, strict=True)))
            for item_id, score, own_cosine, of_item in zip(ids, scores.tolist(), cosine.tolist(), weights, strict=True)
        )
