"""One request in process, in CPU time: the best items found by their bound, beside all of them scored."""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.events import EventBatch
from springtide.graph.applying import ITEM, USER
from springtide.model.births import ModelRows
from springtide.model.exponents import Exponents, TermExponents
from springtide.model.fitted_weights import fit_weights
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving_model import NodeTypeArrays, ServingModel
from springtide.ranking.top_k import best_of
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import even_odd_state, interactions_of, quick_model, quick_settings

_QUERIES = 200
_FULL_QUERIES = 20  # Scored in full, each takes thousands of times as long at a million items.
WIDTH = 64
# As learned on the Complete Journey.
_UNSEEN = {"popularity": {"share": 0.76}, "calendar": {"hour": 0.64, "year": 0.9}, "trend": {"1d": 0.62, "28d": 0.56}}
_SEEN = {"calendar": {"hour": 0.49}, "trend": {"1d": 0.56}, "repeat": {"had": 2.5, "count": 0.3, "recent_30d": 0.2}}
EXPONENTS = Exponents(TermExponents(2.46, _UNSEEN), TermExponents(0.45, _SEEN))
TOGETHER = dataclasses.replace(EXPONENTS, unseen=TermExponents(2.46, {**_UNSEEN, "item_item": {"together": 0.3}}))
VECTORS_ALONE = Exponents(TermExponents(5.0), TermExponents(5.0))


def run(sizes: Sizes) -> list[Figure]:
    return [figure for num_items in sizes.ranked_items for figure in _measure(sizes, num_items)]


def _measure(sizes: Sizes, num_items: int) -> list[Figure]:
    settings = Settings()
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    num_users = min(sizes.users, num_items)
    state.apply(EventBatch(make_interactions(10 * num_users + num_items, num_users, num_items)))
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    fitted = fit_weights(state.context_weights, interactions, view.num_nodes(USER), view.num_nodes(ITEM))
    model = dataclasses.replace(model_of(state), fitted=fitted)
    assert view.newest_ms is not None
    moment, users = Moment(view.newest_ms), view.nodes(USER).ids.all_ids()[:_QUERIES]
    figures = []
    for what, exponents, query in (
        ("seen left out", EXPONENTS, Query(moment, exclude_seen=("*",), with_weights=False)),
        (
            "seen left out, and what people had together",
            TOGETHER,
            Query(moment, exclude_seen=("*",), with_weights=False),
        ),
        ("seen left out, all weights", EXPONENTS, Query(moment, exclude_seen=("*",))),
        ("seen too, all weights", EXPONENTS, Query(moment)),
        ("by vectors alone", VECTORS_ALONE, Query(moment, with_weights=False)),
    ):
        ranker = Ranker(state, settings.ranking)
        ranker.swap(dataclasses.replace(model, exponents=exponents))
        queries = [dataclasses.replace(query, user_id=user) for user in users]
        check(ranker, queries[:_FULL_QUERIES])
        ranker.recommend(queries)  # From here on, users and moment are in the cache.
        ranker.refresh()
        ours: list[float] = []
        full: list[float] = []
        for _ in range(sizes.repetitions):
            ours.append(_median_us(functools.partial(ask, ranker), queries))
            full.append(_median_us(functools.partial(_full, ranker.scorer()), queries[:_FULL_QUERIES]))
        limit = Limit("all items scored and the best of them, without weights", full)
        figures.append(Figure(f"Recommend in process, {num_items:,} items, {what}", "µs CPU", ours, limit))
    return figures + _of_fallback(sizes, state, num_items, queries)


def _of_fallback(sizes: Sizes, state: LiveState, num_items: int, queries: Sequence[Query]) -> list[Figure]:
    """Ask without a model: over the items that there are, and each time after a new item has come."""
    ranker = Ranker(state, Settings().ranking)
    ranker.recommend(queries)
    full = [  # What a new item cost when its request computed the weights of all.
        _median_us(lambda query: ask(Ranker(state, Settings().ranking), query), queries[:_FULL_QUERIES])
        for _ in range(sizes.repetitions)
    ]

    def buy(number: int, query: Query) -> None:
        assert query.user_id is not None
        state.apply(EventBatch(interactions_of([(query.user_id, f"new{number}", query.moment.timestamp_ms)])))

    numbers = itertools.count()
    ours: dict[str, list[float]] = {"the fallback": [], "the fallback, after a new item": []}
    for _ in range(sizes.repetitions):
        ranker.refresh()
        ours["the fallback"].append(_median_us(functools.partial(ask, ranker), queries))
        after = []
        for query in queries:
            buy(next(numbers), query)
            after.append(_median_us(functools.partial(ask, ranker), [query]))
        ours["the fallback, after a new item"].append(float(np.median(after)))
    limit = Limit("the weights of all items computed first", full)
    return [
        Figure(f"Recommend in process, {num_items:,} items, {what}", "µs CPU", us, limit) for what, us in ours.items()
    ]


def model_of(state: LiveState) -> ServingModel:
    """Return a model of the state's nodes that nobody trained: items lie around centres, and users near one of them."""
    random = np.random.default_rng(4)
    centres = random.normal(size=(300, WIDTH)).astype(np.float32)

    def vectors(node_type: str, num: int) -> npt.NDArray[np.float32]:
        vectors = random.normal(size=(num, WIDTH)).astype(np.float32)
        vectors += centres[random.integers(0, len(centres), num)]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return model_with(state, vectors)


def model_with(state: LiveState, vectors_of: Callable[[str, int], npt.NDArray[np.float32]]) -> ServingModel:
    """Return a model of the state's nodes, with vectors that are given by node type and number of nodes."""
    settings = quick_settings(model={"width": WIDTH})
    model = ServingModel.from_artifact(quick_model(even_odd_state(24, settings), settings), load_plugins())
    view = state.graph.view()

    def side(node_type: str) -> NodeTypeArrays:
        num = view.num_nodes(node_type)
        levels = np.zeros((model.encoder.num_layers, num, WIDTH), np.float32)
        rows = ModelRows(view.nodes(node_type).ids.all_ids(), node_type, {})
        return NodeTypeArrays(rows, levels, vectors_of(node_type, num), np.ones(num, np.float32))

    sides = {**model.sides, USER: side(USER), ITEM: side(ITEM)}
    edges = view.edges(("user", "purchase", "item"))
    num_interactions = np.bincount(edges.source, minlength=view.num_nodes(USER)).astype(np.int64)
    return dataclasses.replace(
        model, sides=sides, num_interactions=num_interactions, time_sums=None, newest_ms=view.newest_ms or 0
    )


def _full(scorer: Scorer, query: Query) -> tuple[npt.NDArray[np.float32], list[str]]:
    scored = scorer.score([query])
    [(rows, ids)] = best_of(scored.scores, [query.count], scorer.items.ids)
    return scored.scores[0, rows], ids


def check(ranker: Ranker, queries: Sequence[Query]) -> None:
    """Compare answers with those of all items scored."""
    for query in queries:
        [answer] = ranker.recommend([query])
        scores, _ = _full(ranker.scorer(), query)
        assert np.allclose(answer.items.scores, scores, atol=1e-4), "the bound has lost an item"


def ask(ranker: Ranker, query: Query) -> object:
    """Ask for one answer."""
    return ranker.recommend([query])


def _median_us(work: Callable[[Query], object], queries: Sequence[Query]) -> float:
    taken = []
    for query in queries:
        started = time.thread_time_ns()
        work(query)
        taken.append((time.thread_time_ns() - started) / 1_000)
    return float(np.median(taken))
