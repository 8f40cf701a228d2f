"""One state grown by a stream in order of time: what the next events cost, a recommendation, and an edge in memory.

And what events cost that come late, from anywhere in the 90 days, as when the past is published after the present.
"""

import time
from collections.abc import Iterator

import numpy as np
from benches.figures import Figure, Limit
from benches.live_bytes import live_bytes
from benches.sizes import Sizes
from benches.synthetic import cut, in_turn, make_interactions

from springtide.events import EventBatch, Interactions
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import GraphSettings, Settings
from springtide.state import LiveState

_AT_ONCE = 1_000_000  # Edges that a state is filled with at once.
_MEASURED, _ROWS_PER_BATCH = 500_000, 5_000
_BATCHES_AT_ONCE = 20  # Of one sample: what the context weights gather meanwhile, they learn in it.
_QUERIES = 200
_MOST_BYTES = 40.0


def run(sizes: Sizes) -> list[Figure]:
    # By default the oldest of more than 50 million edges are dropped, and 100 million are wanted with `--big`.
    settings, plugins = Settings(graph=GraphSettings(max_edges=None)), load_plugins()
    rates: dict[str, list[float]] = {}
    late_rates: dict[str, list[float]] = {}
    taken_ms: dict[str, list[float]] = {}
    num_bytes: dict[str, float] = {}
    for num_edges, num_items in sizes.growth:
        state = LiveState(settings, make_context_weights(settings.ranking, plugins))
        num_parts = -(-num_edges // _AT_ONCE) + 1  # The last one is measured.
        for number, part in enumerate(_parts(num_edges, sizes.growth_users, num_items)):
            state.apply(EventBatch(in_turn(part, number, num_parts)))
        what = f"{num_edges:,} edges, {num_items:,} items"
        more = make_interactions(min(_MEASURED, num_edges), sizes.growth_users, num_items, seed=1)
        newest = in_turn(more, num_parts - 1, num_parts)
        rates[what] = _rates(state, [EventBatch(part) for part in cut(newest, _ROWS_PER_BATCH)])
        taken_ms[what] = _recommend_ms(state, settings)
        parts = live_bytes(state)
        num_bytes[what] = (sum(parts.values()) - parts["ids"]) / state.graph.num_edges
        late_rates[what] = _rates(state, [EventBatch(part) for part in cut(more, _ROWS_PER_BATCH)])
    first = next(iter(rates))
    return [
        *(Figure(f"apply, {what}", "edges/s", found, Limit(first, rates[first])) for what, found in rates.items()),
        *(
            Figure(f"apply, late events, {what}", "edges/s", found, Limit(f"in order, {first}", rates[first]))
            for what, found in late_rates.items()
        ),
        *(
            Figure(f"Recommend in process, fallback, {what}", "ms", found, Limit(first, taken_ms[first]))
            for what, found in taken_ms.items()
        ),
        *(
            Figure(f"memory but ids, {what}", "bytes/edge", [found], Limit("goal", [_MOST_BYTES]))
            for what, found in num_bytes.items()
        ),
    ]


def _parts(num_edges: int, num_users: int, num_items: int) -> Iterator[Interactions]:
    for seed, start in enumerate(range(0, num_edges, _AT_ONCE), start=2):
        yield make_interactions(min(_AT_ONCE, num_edges - start), num_users, num_items, seed)


def _rates(state: LiveState, batches: list[EventBatch]) -> list[float]:
    """Return events applied in a second, for each 20 batches, the first left out; all are learned at the end."""
    rates = []
    for first in range(0, len(batches), _BATCHES_AT_ONCE):
        several = batches[first : first + _BATCHES_AT_ONCE]
        started = time.perf_counter()
        for batch in several:
            state.apply(batch, more_follow=True)
        state.settle()
        rates.append(sum(len(batch.interactions) for batch in several) / (time.perf_counter() - started))
    return rates[1:] or rates


def _recommend_ms(state: LiveState, settings: Settings) -> list[float]:
    ranker, view = Ranker(state, settings.ranking), state.graph.view()
    assert view.newest_ms is not None
    users = np.random.default_rng(3).integers(0, view.num_nodes("user"), _QUERIES)
    taken = []
    for user_id in view.nodes("user").ids.ids(users):
        started = time.perf_counter()
        ranker.recommend([Query(Moment(view.newest_ms), user_id=user_id)])
        taken.append(1_000 * (time.perf_counter() - started))
    return taken[1:]
