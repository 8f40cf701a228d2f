"""Bulk append: the live graph beside plain column writes, and networkx for scale."""

import functools
import gc
import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
import psutil
from benches.figures import Figure, Limit
from benches.live_bytes import live_bytes
from benches.sizes import Sizes
from benches.synthetic import cut, make_interactions

from springtide.events import EventBatch, Interactions
from springtide.graph.applying import ITEM, USER
from springtide.graph.live import LiveGraph
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState

_ROWS_PER_BATCH = 5_000
_ROWS_AT_ONCE = 100_000  # As a consumer polls that is far behind packed events.
_RAPHTORY_LOADS = 3
_INSTALL_RAPHTORY = "pip install -c constraints.txt '.[bench]'"
Columns = tuple[npt.NDArray[Any], ...]
_PURCHASE = (USER, "purchase", ITEM)


def run(sizes: Sizes) -> list[Figure]:
    interactions = make_interactions(sizes.edges, sizes.users, sizes.items)
    _append(cut_rows(interactions, _ROWS_PER_BATCH)[:2], interactions)  # Kernels are compiled by now.
    batched: dict[str, list[float]] = {"graph": [], "numpy": []}
    whole: dict[str, list[float]] = {"graph": [], "numpy": []}
    with_ids: list[float] = []
    with_ids_at_once: list[float] = []
    parts = [EventBatch(part) for part in cut(interactions, _ROWS_PER_BATCH)]
    large_parts = [EventBatch(part) for part in cut(interactions, _ROWS_AT_ONCE)]
    for _ in range(sizes.repetitions):
        for rates, rows_per_batch in ((batched, _ROWS_PER_BATCH), (whole, sizes.edges)):
            batches = cut_rows(interactions, rows_per_batch)
            rates["numpy"].append(_rate(sizes.edges, functools.partial(_write_columns, batches, sizes.edges)))
            rates["graph"].append(_append(batches, interactions))
        with_ids.append(_rate(sizes.edges, lambda: _apply(parts)))
        with_ids_at_once.append(_rate(sizes.edges, lambda: _apply(large_parts)))
    graph = _fill(interactions)
    networkx_rates, networkx_bytes = _networkx(interactions, sizes.networkx_edges)
    loaded = _raphtory(interactions)
    columns = "numpy columns of the same batches, no chains"
    in_networkx = f"networkx MultiDiGraph, {sizes.networkx_edges:,} edges"
    return [
        Figure("append, batches of 5,000", "edges/s", batched["graph"], Limit(columns, batched["numpy"])),
        Figure("append at once", "edges/s", whole["graph"], Limit(columns, whole["numpy"])),
        Figure("append, for scale", "edges/s", batched["graph"], Limit(in_networkx, networkx_rates)),
        Figure("apply, ids and context weights included", "edges/s", with_ids, Limit(columns, batched["numpy"])),
        Figure(
            "memory of edges, room that nothing was written to left out",
            "bytes/edge",
            [graph.num_bytes / graph.num_edges],
            Limit(in_networkx, [networkx_bytes]),
        ),
        *(
            ()
            if loaded is None
            else _beside_raphtory(batched["graph"], (with_ids, with_ids_at_once), _apply(parts), loaded)
        ),
    ]


def _beside_raphtory(
    appended: list[float],
    applied: tuple[list[float], list[float]],
    state: LiveState,
    loaded: tuple[list[float], float],
) -> list[Figure]:
    rates, num_bytes = loaded
    parts, limit = live_bytes(state), "Raphtory's bulk load, ids as texts"
    ours = (parts["edges"] + parts["ids"]) / state.graph.num_edges
    return [
        Figure("append, batches of 5,000, rows", "edges/s", appended, Limit(limit, rates)),
        *(
            Figure(f"whole apply by {rows:,}, ids and context weights", "edges/s", found, Limit(limit, rates))
            for rows, found in zip((_ROWS_PER_BATCH, _ROWS_AT_ONCE), applied, strict=True)
        ),
        Figure("memory of edges and ids", "bytes/edge", [ours], Limit(limit, [num_bytes])),
    ]


def cut_rows(interactions: Interactions, rows_per_batch: int) -> list[Columns]:
    columns = (interactions.user_codes, interactions.item_codes, interactions.timestamps_ms)
    starts = range(0, len(interactions), rows_per_batch)
    return [tuple(column[start : start + rows_per_batch] for column in columns) for start in starts]


def _rate(count: int, work: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def _append(batches: Sequence[Columns], interactions: Interactions) -> float:
    graph = _empty_graph(interactions)

    def work() -> None:
        for users, items, times in batches:
            graph.append(_PURCHASE, users, items, times, 1.0)

    return _rate(sum(len(times) for _, _, times in batches), work)


def _empty_graph(interactions: Interactions) -> LiveGraph:
    graph = LiveGraph()
    graph.nodes(USER).ids.intern(interactions.user_ids)
    graph.nodes(ITEM).ids.intern(interactions.item_ids)
    return graph


def _fill(interactions: Interactions) -> LiveGraph:
    graph = _empty_graph(interactions)
    for users, items, times in cut_rows(interactions, _ROWS_PER_BATCH):
        graph.append(_PURCHASE, users, items, times, 1.0)
    return graph


def _write_columns(batches: Sequence[Columns], num_edges: int) -> None:
    source, target = np.empty(num_edges, np.int32), np.empty(num_edges, np.int32)
    timestamps_ms, weights = np.empty(num_edges, np.int64), np.empty(num_edges, np.float32)
    start = 0
    for users, items, times in batches:
        rows = slice(start, start + len(times))
        source[rows], target[rows], timestamps_ms[rows], weights[rows] = users, items, times, 1.0
        start = rows.stop


def _apply(batches: Sequence[EventBatch]) -> LiveState:
    settings = Settings()
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    for batch in batches:  # As from a stream that is far behind.
        state.apply(batch, more_follow=True)
    state.settle()
    return state


def _networkx(interactions: Interactions, num_edges: int) -> tuple[list[float], float]:
    edges = list(
        zip(
            *(column[:num_edges].tolist() for column in (interactions.user_codes, interactions.item_codes)),
            ({"time_ms": time_ms} for time_ms in interactions.timestamps_ms[:num_edges].tolist()),
            strict=True,
        )
    )
    gc.collect()
    memory = psutil.Process().memory_info
    before = memory().rss
    graph = nx.MultiDiGraph()
    started = time.perf_counter()
    graph.add_edges_from(edges)
    return [num_edges / (time.perf_counter() - started)], (memory().rss - before) / num_edges


def _raphtory(interactions: Interactions) -> tuple[list[float], float] | None:
    """Return edges a second and bytes an edge of Raphtory's bulk load from an Arrow table; None without Raphtory."""
    try:
        raphtory, arrow = importlib.import_module("raphtory"), importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        print(f"nothing is measured beside Raphtory: {error.name} is not installed ({_INSTALL_RAPHTORY});", end=" ")
        return None
    columns = {"time": interactions.timestamps_ms}
    for name, ids, codes in (
        ("user", interactions.user_ids, interactions.user_codes),
        ("item", interactions.item_ids, interactions.item_codes),
    ):
        columns[name] = arrow.array(list(ids)).take(arrow.array(codes))
    table = arrow.table(columns)
    rates = []
    before = psutil.Process().memory_info().rss
    num_bytes = 0.0
    for number in range(_RAPHTORY_LOADS):
        graph = raphtory.Graph()
        load = functools.partial(graph.load_edges, table, time="time", src="user", dst="item")
        rates.append(_rate(len(interactions), load))
        if number == 0:  # Later ones find memory that the first has left.
            num_bytes = (psutil.Process().memory_info().rss - before) / len(interactions)
        del graph, load
    return rates, num_bytes
