"""Ranking items for queries and for other items, over the live state and what is served at the time."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import BypassedError, InvalidRequestError, ModelError
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.model.exponents import Exponents
from springtide.plugins.contracts.indexes import Index
from springtide.ranking import kernels
from springtide.ranking.best_items import BestItems, similar_items
from springtide.ranking.dislikes import DISLIKE
from springtide.ranking.indexing import Indexing, IndexRules
from springtide.ranking.lifeless import LifelessItems
from springtide.ranking.query import Query, RankedItems, Ranking
from springtide.ranking.scoring import LoweredItems, Scorer, SeenItems, cosine_of
from springtide.ranking.serving import Serving, ServingMaker
from springtide.ranking.serving_baseline import Served
from springtide.ranking.top_k import best_of
from springtide.ranking.variants import Variants
from springtide.ranking.weights import ItemWeights, item_groups
from springtide.settings.model import RankingSettings
from springtide.state import LiveState
from springtide.steering.values import NO_STEERING, Steering

Array = npt.NDArray[np.float32]
FAMILIARITY = "familiarity"
# Scores of few items and many queries are made in parts of 128 KB: larger ones come from the operating system each
# time, page by page. Of many items, the product takes most of the time, and it is faster in one piece.
_SCORES_AT_ONCE = 2**15
_MIN_AT_ONCE = 8  # Queries.
_NOW = Moment(0)  # For a query whose answer does not depend on the moment.


class Ranker:
    """Ranks items over the live state. Any thread may call any method; none waits for a swap or a refresh.

    Args:
        state: The graph and the context weights; another thread writes them.
        settings: How far histories reach, which attributes group the items, and when an index is used.
        make_index: Makes the index that the settings name, empty; None for exact answers alone.
        clock_s: A monotonic clock, in seconds: the item weights of a moment are kept as long as it says.

    Attributes:
        indexing: Keeps the index; None without one.
        variants: What is served beside the current version, to the users of experiments.
        steering: The rules, scenarios and experiments that hold; replaced as one, by any thread.
    """

    def __init__(
        self,
        state: LiveState,
        settings: RankingSettings,
        make_index: Callable[[], Index] | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._item_group_names = settings.item_groups
        self._item_type = state.rules.item_type
        self._lifeless = LifelessItems(self._item_type)
        self._lifeless.refresh(state.graph.view())
        self._groups_version: object = None
        self._regroup(state.graph.view())
        self._maker = ServingMaker(state.context_weights, state.rules, settings.max_history, clock_s)
        self._serving = self._maker.make(None, state.graph.view())
        self._scorer: Scorer | None = None  # The latest one.
        self._fallback: Serving | None = None  # Once a baseline that others wrote has failed.
        self._swap_lock = threading.Lock()  # Taken to replace what is served; requests only read the reference.
        self._refresh_lock = threading.Lock()  # One refresh at a time.
        self.steering: Steering = NO_STEERING
        self.variants = Variants(self._maker)
        self.indexing: Indexing | None = None
        if make_index is not None and settings.index is not None:
            rules = IndexRules(settings.index.name, settings.index_min_items, settings.index_min_recall, make_index)
            self.indexing = Indexing(rules, self.scorer)

    @property
    def model_version(self) -> str:
        """The version that is served, of a model or a baseline; empty for the fallback."""
        return self._serving.version

    def swap(self, served: Served | None) -> None:
        """Serve a model or a baseline from the next request on; None for the fallback."""
        serving = self._maker.make(served, self._state.graph.view(), self._serving.moments.recent())
        with self._swap_lock:
            self._serving = serving

    def refresh(self, now_ms: int | None = None) -> None:
        """Bring what is served up to date with the graph. To be called every second or so by a background thread.

        It ranks new items, drops forgotten users from the cache, and computes the item weights of recent moments again.

        Args:
            now_ms: The time, if requests are about now: then its weights, and those of the next hour, are there before
                somebody asks.
        """
        with self._refresh_lock:
            self._scorer = None  # If nobody asks, it would hold arrays that the graph has outgrown.
            serving = self._serving
            view = self._state.graph.view()
            self._regroup(view)
            self._lifeless.refresh(view)
            serving.moments.refresh(view.num_nodes(self._item_type), now_ms)
            serving.users.drop_forgotten(view)
            fresh = self._maker.refreshed(serving, view)
            self.variants.refresh(view, self._item_type, now_ms)
            if (fallback := self._fallback) is not None:
                fallback.moments.refresh(view.num_nodes(self._item_type), now_ms)
            if self.indexing is not None:
                fresh = self.indexing.follow(fresh)
            with self._swap_lock:
                if self._serving is serving:  # Else it was swapped meanwhile, and what is served now is newer.
                    self._serving = fresh

    def close(self) -> None:
        """Give up what is being made in the background; answers are still given."""
        if self.indexing is not None:
            self.indexing.close()

    def scorer(self) -> Scorer:
        """Return what scores items from here on: what is served now, over the graph as it is now."""
        return self._scorer_of(self._serving)

    def recommend(self, queries: Sequence[Query]) -> list[Ranking]:
        """Rank all items for each query. A baseline scores all; otherwise only items that may be in an answer are.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        current = self._serving
        if not self.variants.has_any(steering := self.steering):  # As with most servers.
            return self._by_one(self._scorer_of(current), queries)
        placed = [self.variants.place(query, steering, current) for query in queries]
        groups: dict[int, list[int]] = {}  # By what serves, the positions of its queries.
        for position, each in enumerate(placed):
            groups.setdefault(id(each.serving), []).append(position)
        rankings: dict[int, Ranking] = {}
        for positions in groups.values():
            scorer = self._scorer_of(placed[positions[0]].serving)
            answers = self._by_one(scorer, [placed[position].query for position in positions])
            rankings.update(zip(positions, answers, strict=True))
        return [
            replace(rankings[position], arms=each.arms) if each.arms else rankings[position]
            for position, each in enumerate(placed)
        ]

    def _by_one(self, scorer: Scorer, queries: Sequence[Query]) -> list[Ranking]:
        if scorer.serving.baseline is None:
            return [_ranking(scorer, query) for query in queries]
        try:
            return self._by_baseline(scorer, queries)
        except BypassedError:
            fallback = self._without_baseline(scorer.view)
            return [_ranking(fallback, query) for query in queries]

    def _by_baseline(self, scorer: Scorer, queries: Sequence[Query]) -> list[Ranking]:
        at_once = _SCORES_AT_ONCE // max(scorer.num_items, 1)
        if not _MIN_AT_ONCE <= at_once < len(queries):
            return _ranked(scorer, queries)
        starts = range(0, len(queries), at_once)
        return [ranking for start in starts for ranking in _ranked(scorer, queries[start : start + at_once])]

    def similar(
        self, item_id: str, count: int, category_filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ) -> tuple[list[tuple[str, float]], str]:
        """Return the items nearest to one item, each with its cosine, and the model's version.

        Items of which nothing is known are like no others: they have no similar items, and are none.

        Raises:
            InvalidRequestError: If the item or an attribute is unknown, or ``count`` is below 1.
            ModelError: If no model is served.
        """
        serving = self._serving
        table = serving.table
        if serving.baseline is not None:
            name = serving.baseline.baseline.name
            raise ModelError(f"the baseline {name!r} is served: similar items need a model, for its vectors")
        if table is None:
            raise ModelError("no model yet: similar items need one")
        scorer = self._scorer_of(serving)
        row = scorer.items.ids.row(item_id)
        if not scorer.has_row(row):
            raise InvalidRequestError("item", f"no item with the id {item_id!r}")
        query = scorer.bind(Query(_NOW, count=count, category_filters=category_filters))
        nearest = similar_items(scorer, row, query) if table.has_vector[row] else []
        return nearest, table.model.version

    def _scorer_of(self, serving: Serving) -> Scorer:
        view, scorer = self._state.graph.view(), self._scorer
        if scorer is None or scorer.view is not view or scorer.serving is not serving:
            self._scorer = scorer = Scorer(self._state, serving, view, self._lifeless)
        return scorer

    def _without_baseline(self, view: GraphView) -> Scorer:
        """Return what scores items while the served baseline, which others wrote, fails."""
        if self._fallback is None:
            self._fallback = self._maker.make(None, view)
        return Scorer(self._state, self._fallback, view, self._lifeless)

    def _regroup(self, view: GraphView) -> None:
        """Give the context weights the groups of the items, if attributes or items have changed."""
        items, num_items = view.nodes(self._item_type), view.num_nodes(self._item_type)
        version = (items.attributes_version, num_items)
        if version != self._groups_version:
            groups = item_groups(items, num_items, self._item_group_names)
            for weight in self._state.context_weights.values():
                weight.regroup(groups)
            self._groups_version = version


def _ranking(scorer: Scorer, query: Query) -> Ranking:
    """Return the answer of a model, or of the fallback, to one query."""
    best = BestItems(scorer, scorer.bind(query))
    rows, ids, scores, cosines = best.rows, best.ids, best.scores, best.cosines
    exponents, version = scorer.serving.exponents, scorer.serving.version
    if query.with_weights:
        items = _ranked_items(exponents, rows, ids, scores, cosines, best.at_moment, best.seen, best.lowered)
    else:
        items = RankedItems(ids, scores, cosines, (), np.empty((len(rows), 0), np.float32))
    return Ranking(items, best.user.personalization, version)


def _ranked(scorer: Scorer, queries: Sequence[Query]) -> list[Ranking]:
    """Return the rankings of some queries, which are scored at once."""
    if not queries:
        return []
    serving, scored = scorer.serving, scorer.score(queries)
    best = best_of(scored.scores, [query.count for query in queries], scorer.items.ids)
    rankings = []
    for query, user, at_moment, seen, lowered, scores, (rows, ids) in zip(
        queries, scored.users, scored.moments, scored.seen_items, scored.lowered_items, scored.scores, best, strict=True
    ):
        cosines = cosine_of(serving.table, user, rows)
        if query.with_weights:
            items = _ranked_items(serving.exponents, rows, ids, scores[rows], cosines, at_moment, seen, lowered)
        else:
            items = RankedItems(ids, scores[rows], cosines, (), np.empty((len(rows), 0), np.float32))
        rankings.append(Ranking(items, user.personalization, serving.version))
    return rankings


def _ranked_items(
    exponents: Exponents,
    rows: npt.NDArray[np.integer[Any]],
    ids: Sequence[str],
    scores: Array,
    cosines: Array,
    at_moment: ItemWeights,
    seen: SeenItems,
    lowered: LoweredItems,
) -> RankedItems:
    """Return items with all that their scores were made of, given rows, ids, scores and cosines of one length."""
    names = [*at_moment.names, *(name for name in seen.weights if name not in at_moment.names)]
    if not len(seen.rows) and not len(lowered.logs):  # As in most answers: what was seen is left out.
        of_items = kernels.logs_of(at_moment.unseen, rows.astype(np.int32, copy=False), len(names))
        return RankedItems(ids, scores, cosines, names, np.exp(of_items, of_items))
    is_seen, position = _find(seen.rows, rows)
    has_seen = bool(is_seen.any())
    has_familiarity = has_seen and exponents.seen.cosine != exponents.unseen.cosine
    has_disliked = len(lowered.logs) > 0 and bool(lowered.logs.any())
    names += [name for name, has_any in ((FAMILIARITY, has_familiarity), (DISLIKE, has_disliked)) if has_any]
    # Logs of each weight for these items, item side and history side added.
    logs = np.zeros((len(names), len(rows)), np.float32)
    for of_weight, of_items in zip(at_moment.unseen, logs, strict=False):  # All at once may be copied as a whole first.
        of_weight.take(rows, out=of_items, mode="clip")
    if has_seen:
        logs[: len(at_moment.names), is_seen] = at_moment.seen[:, rows[is_seen]]
        for name, of_seen in seen.weights.items():
            logs[names.index(name), is_seen] += of_seen[position]
    if has_familiarity:
        logs[names.index(FAMILIARITY), is_seen] = (exponents.seen.cosine - exponents.unseen.cosine) * cosines[is_seen]
    if has_disliked:
        is_disliked, position = _find(lowered.disliked.rows, rows)
        logs[-1, is_disliked] = lowered.logs[position]
    return RankedItems(ids, scores, cosines, names, np.exp(logs.T))


def _find(
    ascending: npt.NDArray[np.int32], rows: npt.NDArray[np.integer[Any]]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which of some rows are among ascending ones, bool ``[n]``, and the positions of these there, int64."""
    if not len(ascending):
        return np.zeros(len(rows), bool), np.empty(0, np.int64)
    position = ascending.searchsorted(rows)
    is_found: npt.NDArray[np.bool_] = ascending.take(position, mode="clip") == rows
    return is_found, position[is_found]
