"""The built-in index among many items: its answers beside exact ones in the same process, its recall, and its cost."""

import dataclasses
import functools
import importlib.util
import time
from collections.abc import Sequence

import numpy as np
from benches.figures import Figure, Limit
from benches.ranking import EXPONENTS, VECTORS_ALONE, model_of
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.events import EventBatch
from springtide.graph.applying import USER
from springtide.model.exponents import Exponents
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.indexed_items import BuiltIndex, IndexedItems
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState

_QUERIES = 100
_CANDIDATES = (50, 100, 200, 400, 800)  # As the server tries them.
_WIDENED = 4  # As the server does while it measures.


def run(sizes: Sizes) -> list[Figure]:
    if importlib.util.find_spec("usearch") is None:
        return [Figure("usearch is not installed: pip install 'springtide[index]'", "", [0.0])]
    return [figure for num_items in sizes.indexed_items for figure in _of_size(sizes, num_items)]


def _of_size(sizes: Sizes, num_items: int) -> list[Figure]:
    settings = Settings()
    plugins = load_plugins()
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    num_users = min(sizes.users, num_items)
    state.apply(EventBatch(make_interactions(10 * num_users + num_items, num_users, num_items)))
    model = model_of(state)
    view = state.graph.view()
    assert view.newest_ms is not None
    query = Query(Moment(view.newest_ms), exclude_seen=("*",), with_weights=False)
    queries = [dataclasses.replace(query, user_id=user) for user in view.nodes(USER).ids.all_ids()[:_QUERIES]]
    ranker = Ranker(state, settings.ranking)
    ranker.swap(model)
    table = ranker.scorer().serving.table
    assert table is not None, "a model is served"
    index = plugins.make("index", PartSettings(name="usearch", options={"num_threads": 2}))
    started_s, started = time.monotonic(), time.process_time()
    built = BuiltIndex.of(index, table, lambda: True)
    size = f"{num_items:,} items"
    figures = [
        Figure(f"index of {size}, built by two threads", "s CPU", [time.process_time() - started]),
        Figure(f"index of {size}, built by two threads", "s", [time.monotonic() - started_s]),
        Figure(f"index of {size}, beside the vectors", "bytes an item", [index.num_bytes / num_items]),
    ]
    for what, exponents in (("by vectors alone", VECTORS_ALONE), ("all weights", EXPONENTS)):
        ranker.swap(dataclasses.replace(built.model, exponents=exponents))
        figures += _measure(ranker, built, exponents, queries, f"{size}, {what}", sizes.repetitions)
    return figures


def _measure(
    ranker: Ranker, built: BuiltIndex, exponents: Exponents, queries: Sequence[Query], what: str, repetitions: int
) -> list[Figure]:
    exact = [set(ranking.items.ids) for ranking in ranker.recommend(queries)]
    ranker.refresh()  # The exact way is as quick as it can be from here on.
    serving = ranker.scorer().serving
    table = serving.table
    assert table is not None, "a model is served"
    figures = []
    for num_candidates in _CANDIDATES:
        indexed = IndexedItems(built, table, built.changed_rows(table), num_candidates, _WIDENED * num_candidates)
        by_index = dataclasses.replace(serving, index=indexed)
        ours: list[float] = []
        limit: list[float] = []
        recalls: list[float] = []
        for _ in range(repetitions):
            ranker._serving = by_index
            found = [set(ranking.items.ids) for ranking in ranker.recommend(queries)]
            recalls.append(float(np.mean([len(a & b) / len(b) for a, b in zip(found, exact, strict=True)])))
            ours.append(_median_us(functools.partial(_ask, ranker), queries))
            ranker._serving = serving
            limit.append(_median_us(functools.partial(_ask, ranker), queries))
        figures.append(
            Figure(f"Recommend, {what}, index of {num_candidates} candidates", "µs CPU", ours, Limit("exact", limit))
        )
        figures.append(Figure(f"recall@20, {what}, index of {num_candidates} candidates", "", recalls))
        if min(recalls) >= 0.99:
            break
    return figures


def _ask(ranker: Ranker, query: Query) -> object:
    return ranker.recommend([query])


def _median_us(work: functools.partial[object], queries: Sequence[Query]) -> float:
    taken = []
    for query in queries:
        started = time.thread_time_ns()
        work(query)
        taken.append((time.thread_time_ns() - started) / 1_000)
    return float(np.median(taken))
