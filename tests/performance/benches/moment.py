"""What the weights of the moment cost a request: the same queries with and without them, over one state and model."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.clock import MS_PER_HOUR
from springtide.events import EventBatch
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Circumstances, Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import item_weights, make_context_weights
from springtide.settings.model import Settings, TrainingSettings
from springtide.state import LiveState
from springtide.training.train import train

_QUERIES = 32  # What the server batches at most.
_ROUNDS = 20  # Batches for each sample.
_REFRESHES_PER_HOUR = 3_600  # As ``ranking.item_refresh_s`` has it.
_PLACES, _WEATHERS, _DEGREES = ("north", "south"), ("rain", "sun"), ("7", "21")


def run(sizes: Sizes) -> list[Figure]:
    # How good the model is plays no part here, so it takes few steps.
    settings = Settings(training=TrainingSettings(steps=2, fine_tune_steps=2, min_passes=0, exponent_slice=0.005))
    plugins = load_plugins()
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    state.apply(EventBatch(make_interactions(sizes.served_interactions, sizes.users, sizes.items)))
    model = ServingModel.from_artifact(train(state, settings, plugins, mode="retrain"), plugins)
    _tell_circumstances(state)
    weights = state.context_weights
    cosine = TermExponents(5.0)
    of_moment = TermExponents(5.0, _factors(state, (name for name in weights if name != "repeat")))
    of_all = TermExponents(5.0, _factors(state, weights))

    def ranker_of(terms: TermExponents) -> Ranker:
        ranker = Ranker(state, settings.ranking)
        ranker.swap(dataclasses.replace(model, exponents=Exponents(terms, terms)))
        return ranker

    rankers = {"bare": ranker_of(cosine), "moment": ranker_of(of_moment), "all": ranker_of(of_all)}
    view = state.graph.view()
    assert view.newest_ms is not None
    moment = Moment(view.newest_ms, "north", "rain", {"temperature": "7"})
    made_ms = _made_ms(sizes, state, Exponents(of_moment, of_moment), moment)
    users = view.nodes("user").ids.all_ids()
    queries = [Query(moment, user_id=user) for user in users[:_QUERIES]]
    scored: dict[str, list[float]] = {name: [] for name in rankers}
    answered: dict[str, list[float]] = {name: [] for name in rankers}
    for _ in range(sizes.repetitions):
        # One after another within each round: what else the machine does falls on all alike.
        taken = _interleaved({name: _scoring(ranker, queries) for name, ranker in rankers.items()})
        whole = _interleaved({name: _answering(ranker, queries) for name, ranker in rankers.items()})
        for name in rankers:
            scored[name].append(taken[name])
            answered[name].append(whole[name])
    batch = f"{len(queries)} requests, {sizes.items:,} items"
    return [
        Figure(
            f"scores of {batch}, weights of the moment", "ms", scored["moment"], Limit("cosine alone", scored["bare"])
        ),
        Figure(f"scores of {batch}, habit too", "ms", scored["all"], Limit("cosine alone", scored["bare"])),
        Figure(f"answers to {batch}, all weights", "ms", answered["all"], Limit("cosine alone", answered["bare"])),
        Figure("weights of a moment, made once", "ms/bucket", made_ms, Limit("scores by cosine alone", scored["bare"])),
        Figure(
            "weights of a moment, kept fresh",
            "s/hour",
            [_REFRESHES_PER_HOUR * ms / 1_000 for ms in made_ms],
            Limit("a core's hour", [3_600.0]),
        ),
    ]


def _factors(state: LiveState, names: Iterable[str]) -> dict[str, dict[str, float]]:
    return {name: {factor.name: 0.3 for factor in state.context_weights[name].factors} for name in names}


def _tell_circumstances(state: LiveState) -> None:
    """Let the weights of place and weather learn from interactions that say where, and in what weather, they were."""
    seen = state.positive_interactions(state.graph.view())
    random = np.random.default_rng(2)
    said = {"place": _PLACES, "weather": _WEATHERS, "temperature": _DEGREES}
    circumstances = {
        key: Circumstances(random.integers(0, len(values), len(seen)).astype(np.int32), values)
        for key, values in said.items()
    }
    for name in ("place", "weather"):
        state.context_weights[name].observe(dataclasses.replace(seen, circumstances=circumstances))


def _made_ms(sizes: Sizes, state: LiveState, exponents: Exponents, moment: Moment) -> list[float]:
    """Return how long the weights of one moment take, each time of another hour."""
    taken = []
    for hour in range(3 * sizes.repetitions):
        at = dataclasses.replace(moment, timestamp_ms=moment.timestamp_ms - hour * MS_PER_HOUR)
        started = time.perf_counter()
        made = item_weights(state.context_weights, exponents, at, sizes.items)
        taken.append(1_000 * (time.perf_counter() - started))
        assert set(made.names) == {"popularity", "calendar", "trend", "reorder", "place", "weather"}
    return taken


def _scoring(ranker: Ranker, queries: Sequence[Query]) -> Callable[[], object]:
    return lambda: ranker.scorer().score(queries)


def _answering(ranker: Ranker, queries: Sequence[Query]) -> Callable[[], object]:
    return lambda: ranker.recommend(queries)


def _interleaved(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median of each work's times in milliseconds, done in turn."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(_ROUNDS):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            taken[name].append(1_000 * (time.perf_counter() - started))
    return {name: float(np.median(of)) for name, of in taken.items()}
