"""Retraining on more and more edges: its time beside that of the fewest, grown in proportion.

A tenth of the default's steps: how long they take is what grows with the edges, how many there are does not.
"""

import time

from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.events import EventBatch
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.train import train


def run(sizes: Sizes) -> list[Figure]:
    settings, plugins = Settings(), load_plugins()
    few = settings.training.model_copy(update={"steps": 12, "fine_tune_steps": 4, "min_passes": 0.0})
    settings = settings.model_copy(update={"training": few})
    seconds: dict[int, float] = {}
    for num_edges in (min(sizes.scale_edges), *sizes.scale_edges):  # The first one also compiles, and is made again.
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
