"""Retraining on a year of purchases and on 100,000 ratings, beside the sparse products that no step can do without."""

import time
import warnings

import numpy as np
import torch
from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.evaluation.data.datasets import fetch
from springtide.evaluation.variants import with_all_positive
from springtide.events import EventBatch
from springtide.graph.applying import ITEM, USER
from springtide.plugins.loading import Plugins, load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.train import Progress, train

_STAGES = ("learn", "exponents", "learn the latest")
_PASSES = 2  # Of each product: forward, and backward.


def run(sizes: Sizes) -> list[Figure]:
    settings, plugins = Settings(), load_plugins()
    if sizes.retrain_interactions is not None:
        few = settings.training.model_copy(update={"steps": 3, "fine_tune_steps": 2})
        batch = EventBatch(make_interactions(sizes.retrain_interactions, sizes.users, sizes.items))
        return _figures("synthetic", batch, settings.model_copy(update={"training": few}), plugins)
    journey, movielens = fetch("complete-journey"), fetch("movielens-100k")
    return [
        *_figures(
            "MovieLens 100K",
            EventBatch(movielens.interactions, upserts=movielens.upserts),
            with_all_positive(settings, movielens.interactions),
            plugins,
        ),
        *_figures("Complete Journey", EventBatch(journey.interactions, upserts=journey.upserts), settings, plugins),
    ]


def _figures(name: str, batch: EventBatch, settings: Settings, plugins: Plugins) -> list[Figure]:
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    state.apply(batch)
    clock = _StageClock()
    artifact = train(state, settings, plugins, mode="retrain", on_progress=clock.tell)
    seconds = clock.finish()
    product_s = _product_seconds(state, settings.model.width)
    num_products = settings.model.num_layers * _PASSES
    floors = {stage: clock.steps[stage] * num_products * product_s for stage in ("learn", "learn the latest")}
    limit = f"{num_products} CSR products for each of {sum(clock.steps.values()):,} steps"
    total, num = sum(seconds.values()), artifact.manifest.graph_cut["num_interactions"]
    return [
        Figure(f"retrain, {name}", "s", [total], Limit(limit, [sum(floors.values())])),
        Figure(f"retrain, {name}, interactions", "events/s", [num / total]),
        *(
            Figure(
                f"retrain, {name}, {stage}",
                "s",
                [seconds[stage]],
                Limit("its share", [floors[stage]]) if stage in floors else None,
            )
            for stage in _STAGES
            if stage in seconds
        ),
    ]


class _StageClock:
    """Seconds and steps of each stage; a stage ends at the first progress report of the next."""

    def __init__(self) -> None:
        self.steps = dict.fromkeys(("learn", "learn the latest"), 0)
        self._seconds: dict[str, float] = {}
        self._stage = _STAGES[0]
        self._last_s = time.perf_counter()

    def tell(self, progress: Progress) -> None:
        if progress.stage in self.steps:
            self.steps[progress.stage] = progress.total
        now_s = time.perf_counter()
        # What comes before the first step of a stage is of that stage: making its graph, for one.
        ended = progress.stage if progress.done else self._stage
        self._seconds[ended] = self._seconds.get(ended, 0.0) + now_s - self._last_s
        self._stage, self._last_s = progress.stage, now_s

    def finish(self) -> dict[str, float]:
        self._seconds[self._stage] += time.perf_counter() - self._last_s
        return self._seconds


def _product_seconds(state: LiveState, width: int, num_products: int = 10) -> float:
    """Return the seconds of one product of the graph's matrix, both directions of each pair once, with vectors."""
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    num_users = view.num_nodes(USER)
    num_nodes = num_users + view.num_nodes(ITEM)
    keys = np.unique(interactions.user_rows.astype(np.int64) * num_nodes + num_users + interactions.item_rows)
    one_way = np.stack([keys // num_nodes, keys % num_nodes])
    both_ways = torch.from_numpy(np.concatenate([one_way, one_way[::-1]], 1))
    warnings.filterwarnings("ignore", "Sparse invariant checks")  # torch says it once a process.
    matrix = torch.sparse_coo_tensor(both_ways, torch.ones(both_ways.shape[1]), (num_nodes, num_nodes)).to_sparse_csr()
    vectors = torch.rand(num_nodes, width)
    matrix @ vectors
    started = time.perf_counter()
    for _ in range(num_products):
        matrix @ vectors
    return (time.perf_counter() - started) / num_products
