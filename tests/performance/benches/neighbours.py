"""The latest neighbours within two hops while the graph is written to, beside a plain gather of as many rows."""

import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.graph.applying import ITEM, USER
from springtide.graph.live import LiveGraph

_SEEDS, _HOPS = 1_024, (15, 10)
_ROUNDS = 10  # Of each in one sample.
_ROWS_PER_APPEND = 1_000
_PURCHASE = (USER, "purchase", ITEM)


def run(sizes: Sizes) -> list[Figure]:
    interactions = make_interactions(sizes.edges, sizes.users, sizes.items)
    graph = LiveGraph()
    graph.nodes(USER).ids.intern(interactions.user_ids)
    graph.nodes(ITEM).ids.intern(interactions.item_ids)
    columns = interactions.user_codes, interactions.item_codes, interactions.timestamps_ms
    _append(graph, columns)
    random = np.random.default_rng(1)
    is_over, num_appended = threading.Event(), [0]

    def write() -> None:
        starts = np.arange(0, len(interactions) - _ROWS_PER_APPEND + 1, _ROWS_PER_APPEND)
        while not is_over.is_set() and num_appended[0] < 4 * sizes.edges:
            start = int(random.choice(starts))
            rows = slice(start, start + _ROWS_PER_APPEND)
            _append(graph, tuple(column[rows] for column in columns))
            num_appended[0] += _ROWS_PER_APPEND
            time.sleep(0.002)  # Some 300,000 edges a second; a stream's writer waits for its broker as well.

    sampled, gathered = [], []
    wide = np.stack([interactions.user_codes, interactions.item_codes], 1).astype(np.int64)  # [num_edges, 2]
    alone = [_sampling_ms(graph, random, sizes) for _ in range(sizes.repetitions)]
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(sizes.repetitions):
            sampled.append(_sampling_ms(graph, random, sizes))
            gathered.append(_gathering_ms(wide, interactions.timestamps_ms, random))
    finally:
        is_over.set()
        writer.join()
    what = f"latest neighbours, {_SEEDS:,} seeds, hops of {_HOPS[0]} and {_HOPS[1]}"
    limit = f"NumPy's gather of {_num_rows():,} rows of neighbour, time and weight"
    return [
        Figure(f"{what}, while edges are appended", "ms", sampled, Limit(limit, gathered)),
        Figure(f"{what}, nobody appends", "ms", alone, Limit(limit, gathered)),
    ]


def _append(graph: LiveGraph, columns: tuple[npt.NDArray[Any], ...]) -> None:
    users, items, times = columns
    graph.append(_PURCHASE, users, items, times, 1.0)


def _num_rows() -> int:
    return _SEEDS * _HOPS[0] * (1 + _HOPS[1])


def sample(graph: LiveGraph, seeds: npt.NDArray[np.int32]) -> int:
    """Return how many neighbours two hops from users have: their latest items, and the latest users of these."""
    edges = graph.view().edges(_PURCHASE)
    items = edges.recent_targets(seeds, _HOPS[0])
    users = edges.recent_sources(items.rows.reshape(-1), _HOPS[1])
    return items.rows.size + users.rows.size


def _sampling_ms(graph: LiveGraph, random: np.random.Generator, sizes: Sizes) -> float:
    taken = []
    for _ in range(_ROUNDS):
        seeds = random.integers(0, sizes.users, _SEEDS).astype(np.int32)
        started = time.perf_counter()
        sample(graph, seeds)
        taken.append(1_000 * (time.perf_counter() - started))
    return float(np.median(taken))


def _gathering_ms(
    wide: npt.NDArray[np.int64], timestamps_ms: npt.NDArray[np.int64], random: np.random.Generator
) -> float:
    """Return how long NumPy gathers as many rows from columns of the same sizes, in an order that nobody knows."""
    neighbours, weights = wide[:, 1].astype(np.int32), np.ones(len(wide), np.float32)
    taken = []
    for _ in range(_ROUNDS):
        rows = random.integers(0, len(wide), _num_rows())
        started = time.perf_counter()
        _ = neighbours[rows], timestamps_ms[rows], weights[rows]
        taken.append(1_000 * (time.perf_counter() - started))
    return float(np.median(taken))
