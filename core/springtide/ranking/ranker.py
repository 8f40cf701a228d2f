"""Ranking items for queries and for other items, over the live state and what is served at the time."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from springtide.errors import BypassedError, InvalidRequestError, ModelError
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.plugins.contracts.indexes import Index
from springtide.plugins.contracts.rerankers import Reranker
from springtide.ranking.answers import ranked_items
from springtide.ranking.attribute_values import attributes_of
from springtide.ranking.best_items import BestItems, similar_items
from springtide.ranking.binding import BoundQuery, Rows
from springtide.ranking.candidates import ByBaseline, ByModel, Candidates, CandidateSource, ScoredRows
from springtide.ranking.indexing import Indexing, IndexRules
from springtide.ranking.lifeless import LifelessItems
from springtide.ranking.lists import Lists
from springtide.ranking.query import AttributeValue, Extras, Query, RankedItems, Ranking
from springtide.ranking.reordering.reorder import is_ordered, pool_size, reorder
from springtide.ranking.scoring import Scorer, cosine_of
from springtide.ranking.serving import Serving, ServingMaker
from springtide.ranking.serving_baseline import Served
from springtide.ranking.steered import Steered
from springtide.ranking.top_k import best_of
from springtide.ranking.variants import Placed, Variants
from springtide.ranking.weights import item_groups
from springtide.settings.model import RankingSettings
from springtide.state import LiveState
from springtide.steering.values import Steering

# Scores of few items and many queries are made in parts of 128 KB: larger ones come from the operating system each
# time, page by page. Of many items, the product takes most of the time, and it is faster in one piece.
_SCORES_AT_ONCE = 2**15
_MIN_AT_ONCE = 8  # Queries.


class Ranker:
    """Ranks items over the live state. Any thread may call any method; none waits for a swap or a refresh.

    Args:
        state: The graph and the context weights; another thread writes them.
        settings: How far histories reach, which attributes group the items, and when an index is used.
        make_index: Makes the index that the settings name, empty; None for exact answers alone.
        rerankers: Those that requests and scenarios may name.
        clock_s: A monotonic clock, in seconds: the item weights of a moment are kept as long as it says.

    Attributes:
        rerankers: Those that requests and scenarios may name.
        indexing: Keeps the index; None without one.
        lists: Ranks what rises, what is new and what goes together, and finds similar users.
        variants: What is served beside the current version, to the users of experiments.
    """

    def __init__(
        self,
        state: LiveState,
        settings: RankingSettings,
        make_index: Callable[[], Index] | None = None,
        *,
        rerankers: Mapping[str, Reranker] | None = None,
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
        self._scorers: dict[int, Scorer] = {}  # The latest one of each that serves, by its identity.
        self._fallback: Serving | None = None  # Once a baseline that others wrote has failed.
        self._swap_lock = threading.Lock()  # Taken to replace what is served; requests only read the reference.
        self._refresh_lock = threading.Lock()  # One refresh at a time.
        self._steered = Steered()
        self.rerankers = rerankers or {}
        self.variants = Variants(self._maker)
        self.lists = Lists(self._maker, state.context_weights, self.scorer, self._ranking)
        self.indexing: Indexing | None = None
        if make_index is not None and settings.index is not None:
            rules = IndexRules(settings.index.name, settings.index_min_items, settings.index_min_recall, make_index)
            self.indexing = Indexing(rules, self.scorer)

    @property
    def steering(self) -> Steering:
        """The rules, scenarios and experiments that hold."""
        return self._steered.steering

    @steering.setter
    def steering(self, steering: Steering) -> None:
        self._steered = Steered(steering)

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
            self._scorers = {}  # If nobody asks, they would hold arrays that the graph has outgrown.
            serving = self._serving
            view = self._state.graph.view()
            self._regroup(view)
            self._lifeless.refresh(view)
            serving.moments.refresh(view.num_nodes(self._item_type), now_ms)
            serving.users.drop_forgotten(view)
            fresh = self._maker.refreshed(serving, view)
            self.variants.refresh(view, self._item_type, now_ms)
            self.lists.refresh(view.num_nodes(self._item_type), now_ms)
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
        return self._scorer_of(self._serving, self._steered)

    def recommend(self, queries: Sequence[Query], *, steering: Steering | None = None) -> list[Ranking]:
        """Rank all items for each query. A baseline scores all; otherwise only items that may be in an answer are.

        Args:
            queries: The queries.
            steering: What is to hold instead of the live steering, for a look at it; None for the live one.

        Raises:
            InvalidRequestError: If a query names something unknown.
        """
        current, steered = self._serving, self._steered if steering is None else Steered(steering)
        if not self.variants.has_any(steered.steering):  # As with most servers.
            return self._by_one(self._scorer_of(current, steered), queries)
        placed = [self.variants.place(query, steered.steering, current) for query in queries]
        groups: dict[int, list[int]] = {}  # By what serves, the positions of its queries.
        for position, each in enumerate(placed):
            groups.setdefault(id(each.serving), []).append(position)
        rankings: dict[int, Ranking] = {}
        for positions in groups.values():
            scorer = self._scorer_of(placed[positions[0]].serving, steered)
            answers = self._by_one(scorer, [placed[position].query for position in positions])
            rankings.update(zip(positions, answers, strict=True))
        return [_by_arms(rankings[position], each) for position, each in enumerate(placed)]

    def scorer_for(self, query: Query) -> tuple[Query, Scorer]:
        """Return a query as the variants of its user have it, and what scores items for it."""
        steered = self._steered
        placed = self.variants.place(query, steered.steering, self._serving)
        return placed.query, self._scorer_of(placed.serving, steered)

    def _by_one(self, scorer: Scorer, queries: Sequence[Query]) -> list[Ranking]:
        if scorer.serving.baseline is None:
            return [_ranking(scorer, query, self.rerankers) for query in queries]
        try:
            return self._by_baseline(scorer, queries)
        except BypassedError:
            fallback = self._without_baseline(scorer)
            return [_ranking(fallback, query, self.rerankers) for query in queries]

    def _by_baseline(self, scorer: Scorer, queries: Sequence[Query]) -> list[Ranking]:
        at_once = _SCORES_AT_ONCE // max(scorer.num_items, 1)
        if not _MIN_AT_ONCE <= at_once < len(queries):
            return _ranked(scorer, queries, self.rerankers)
        starts = range(0, len(queries), at_once)
        return [
            ranking for start in starts for ranking in _ranked(scorer, queries[start : start + at_once], self.rerankers)
        ]

    def similar(self, item_id: str, wanted: int | Query) -> tuple[list[tuple[str, float]], str]:
        """Return the items nearest to one item, each with its cosine, and the model's version.

        Items of which nothing is known are like no others: they have no similar items, and are none.

        Args:
            item_id: The item.
            wanted: How many; or a query, which also says what to leave out at its moment. Its user does not matter, nor
                do boosts. A number alone is for the time of the newest event.

        Raises:
            InvalidRequestError: If the item is unknown, or something that the query names, or the number is below 1.
            ModelError: If no model is served.
        """
        serving = self._serving
        table = serving.table
        if serving.baseline is not None:
            name = serving.baseline.baseline.name
            raise ModelError(f"the baseline {name!r} is served: similar items need a model, for its vectors")
        if table is None:
            raise ModelError("no model yet: similar items need one")
        scorer = self._scorer_of(serving, self._steered)
        row = scorer.items.ids.row(item_id)
        if not scorer.has_row(row):
            raise InvalidRequestError("item", f"no item with the id {item_id!r}")
        if isinstance(wanted, int):
            wanted = Query(Moment(scorer.view.newest_ms or 0), count=wanted)
        query = scorer.bind(wanted)
        nearest = similar_items(scorer, row, query) if table.has_vector[row] else []
        return nearest, table.model.version

    def _ranking(self, scorer: Scorer, query: Query) -> Ranking:
        return _ranking(scorer, query, self.rerankers)

    def _scorer_of(self, serving: Serving, steered: Steered) -> Scorer:
        view, scorer = self._state.graph.view(), self._scorers.get(id(serving))
        if scorer is None or scorer.view is not view or scorer.serving is not serving or scorer.steered is not steered:
            self._scorers[id(serving)] = scorer = Scorer(self._state, serving, view, self._lifeless, steered)
        return scorer

    def _without_baseline(self, scorer: Scorer) -> Scorer:
        """Return what scores items while the served baseline, which others wrote, fails."""
        if self._fallback is None:
            self._fallback = self._maker.make(None, scorer.view)
        return Scorer(self._state, self._fallback, scorer.view, self._lifeless, scorer.steered)

    def _regroup(self, view: GraphView) -> None:
        """Give the context weights the groups of the items, if attributes or items have changed."""
        items, num_items = view.nodes(self._item_type), view.num_nodes(self._item_type)
        version = (items.attributes_version, num_items)
        if version != self._groups_version:
            groups = item_groups(items, num_items, self._item_group_names)
            for weight in self._state.context_weights.values():
                weight.regroup(groups)
            self._groups_version = version


def _by_arms(ranking: Ranking, placed: Placed) -> Ranking:
    """Return an answer with the variants that it is by: none if something else than what serves them has answered."""
    is_theirs = placed.arms and ranking.model_version == placed.serving.version
    return replace(ranking, arms=placed.arms) if is_theirs else ranking


def _ranking(scorer: Scorer, query: Query, rerankers: Mapping[str, Reranker]) -> Ranking:
    """Return the answer of a model, or of the fallback, to one query."""
    bound, extras = scorer.bind(query), None
    if bound.steering is None or not is_ordered(bound):  # As most are.
        best = BestItems(scorer, bound)
        rows, ids, scores, cosines = best.rows, best.ids, best.scores, best.cosines
        if bound.steering is not None and bound.steering.include_attributes:
            extras = Extras(_attributes(scorer, query, bound, rows))
    else:
        source = ByModel(scorer, bound, pool_size(bound.steering, bound.count))
        (rows, ids, scores, cosines), extras = _reordered(scorer, query, bound, source, rerankers)
        best = source.found
    exponents, version = scorer.serving.exponents, scorer.serving.version
    if query.with_weights:
        added = () if bound.boosts is None and bound.rotated is None else bound.added  # Most have none: no call.
        items = ranked_items(exponents, rows, ids, scores, cosines, best.at_moment, best.seen, best.lowered, added)
    else:
        items = RankedItems(ids, scores, cosines, (), np.empty((len(rows), 0), np.float32))
    return Ranking(items, best.user.personalization, version, extras)


def _reordered(
    scorer: Scorer, query: Query, bound: BoundQuery, source: CandidateSource, rerankers: Mapping[str, Reranker]
) -> tuple[ScoredRows, Extras]:
    """Return the answer to a query that is steered, and what it says beyond its items."""
    pool = Candidates.best(scorer, bound, source, pool_size(bound.steering, bound.count))
    answer = reorder(pool, query, rerankers)
    pool, at = answer.candidates, answer.positions
    rows, ids = pool.rows[at], [pool.ids[position] for position in at.tolist()]
    attributes = _attributes(scorer, query, bound, rows)
    extras = Extras(attributes, answer.placed_by, answer.propensities, answer.next_page_token)
    return (rows, ids, pool.scores[at], pool.cosines[at]), extras


def _attributes(scorer: Scorer, query: Query, bound: BoundQuery, rows: Rows) -> Sequence[Mapping[str, AttributeValue]]:
    """Return the attributes that an answer gives of its items; nothing if it gives none."""
    names = () if bound.steering is None else bound.steering.include_attributes
    if not names:
        return ()
    is_lenient = query.steering is None or not query.steering.include_attributes
    return attributes_of(scorer.items, rows, names, is_lenient=is_lenient)


def _ranked(scorer: Scorer, queries: Sequence[Query], rerankers: Mapping[str, Reranker]) -> list[Ranking]:
    """Return the rankings of some queries, which are scored at once."""
    if not queries:
        return []
    serving, scored = scorer.serving, scorer.score(queries)
    best = best_of(scored.scores, [query.count for query in scored.queries], scorer.items.ids)
    rankings = []
    for at, (query, bound, user, at_moment, seen, lowered, scores, (rows, ids)) in enumerate(
        zip(
            queries,
            scored.queries,
            scored.users,
            scored.moments,
            scored.seen_items,
            scored.lowered_items,
            scored.scores,
            best,
            strict=True,
        )
    ):
        cosines, of_rows, extras = cosine_of(serving.table, user, rows), scores[rows], None
        if bound.steering is not None and not is_ordered(bound):
            extras = Extras(_attributes(scorer, query, bound, rows))
        elif bound.steering is not None:
            source = ByBaseline(scorer, scored, at)
            (rows, ids, of_rows, cosines), extras = _reordered(scorer, query, bound, source, rerankers)
        if query.with_weights:
            items = ranked_items(serving.exponents, rows, ids, of_rows, cosines, at_moment, seen, lowered, bound.added)
        else:
            items = RankedItems(ids, of_rows, cosines, (), np.empty((len(rows), 0), np.float32))
        rankings.append(Ranking(items, user.personalization, serving.version, extras))
    return rankings
