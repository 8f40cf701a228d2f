"""Retraining on more and more edges: its time beside that of the fewest, grown in proportion."""

import time

from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.config import Settings
from springtide.events import EventBatch
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.state import LiveState
from springtide.training.train import train


def run(sizes: Sizes) -> list[Figure]:
    settings, plugins = Settings(), load_plugins()
    if sizes.retrain_interactions is not None:
        few = settings.training.model_copy(update={"steps": 3, "fine_tune_steps": 2})
        settings = settings.model_copy(update={"training": few})
    seconds: dict[int, float] = {}
    for num_edges in (min(sizes.scale_edges), *sizes.scale_edges):  # The first time warms up.
        state = LiveState(settings, make_context_weights(settings.ranking, plugins))
        state.apply(EventBatch(make_interactions(num_edges, sizes.users, sizes.items)))
        started = time.perf_counter()
        train(state, settings, plugins, mode="retrain")
        seconds[num_edges] = time.perf_counter() - started
    fewest = min(seconds)
    what = f"that of {fewest:,}, in proportion"
    return [
        Figure(f"retrain, {num:,} edges", "s", [took], Limit(what, [seconds[fewest] * num / fewest]))
        for num, took in sorted(seconds.items())
    ]
