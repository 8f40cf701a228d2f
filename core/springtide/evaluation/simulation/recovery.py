"""How well a model recovers the ground truth of a simulated market: its profiles, and the ranking of an oracle."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.evaluation.measures.metrics import K, discounts
from springtide.evaluation.simulation.simulator import START_MS, SimulatedQueries, World
from springtide.interactions import Moment
from springtide.plugins.contracts import ContextWeight
from springtide.plugins.loading import Plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.train import train

Array = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

PROFILES = ("year", "weekday", "hour")
_STEP_MS = {"year": 5 * MS_PER_DAY, "weekday": MS_PER_DAY, "hour": MS_PER_HOUR}
_NUM_STEPS = {"year": 73, "weekday": 7, "hour": 24}
_MANY, _FEW = 200, 20
_QUERIES_AT_ONCE = 64
_CONTEXT = ("calendar", "place", "weather")  # The weights that learn the effects of the simulator.


@dataclass(frozen=True, slots=True)
class Recovery:
    """Agreement of a learned profile with the true one: correlation over the moments, a mean over items.

    Attributes:
        many: Mean correlation of items with more than 200 interactions; NaN if there are none.
        few: Mean correlation of items with fewer than 20 interactions; NaN if there are none.
        num_many: Number of items with more than 200 interactions.
        num_few: Number of items with fewer than 20 interactions.
    """

    many: float
    few: float
    num_many: int
    num_few: int


@dataclass(frozen=True, slots=True)
class SeasonBesideGrowth:
    """What a weight has learned of the time of year in a market where items grow, of those with over 200 interactions.

    Attributes:
        num_items: Number of these items; there are no figures of fewer than two.
        spread: Mean over items of the standard deviation of the log lift over the year; without a season, it is error.
        tilt: Correlation, over items, of the profile's tilt from January to December with the item's growth; 0 if none
            grows. Where growth is taken for season, it is near 1.
        correlation: Mean correlation of the learned profile with the true one; 0 if there is no season.
    """

    num_items: int
    spread: float
    tilt: float
    correlation: float


@dataclass(frozen=True, slots=True)
class OracleComparison:
    """The ranking of a model on a simulated market, compared with an oracle that knows the ground truth.

    Attributes:
        model: Expected NDCG@20 of the next item, under the true probabilities.
        with_true_context: The same for the model's own cosines, popularity and habits, times the true lifts of year,
            weekday, hour, place and weather in place of the learned ones.
        oracle: The same for the best possible ranking, which also knows tastes and popularity.
        exponents: Exponents of unseen items, by weight and factor.
    """

    model: float
    with_true_context: float
    oracle: float
    exponents: Mapping[str, Mapping[str, float]]

    @property
    def share(self) -> float:
        """NDCG of the model, as a share of the oracle's."""
        return self.model / self.oracle

    @property
    def share_of_context(self) -> float:
        """NDCG of the model, as a share of that with the true lifts, which has to learn tastes and popularity too."""
        return self.model / self.with_true_context


def state_of_world(world: World, settings: Settings, plugins: Plugins, stop: int | None = None) -> LiveState:
    """Return a state to which the events of the market were applied, up to ``stop``."""
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    state.apply(world.batch(0, stop))
    Ranker(state, settings.ranking)  # Gives the weights the groups of the items.
    return state


def measure_recovery(world: World, weight: ContextWeight, item_rows: npt.NDArray[np.int64], profile: str) -> Recovery:
    """Compare a learned profile with the true one.

    Args:
        world: The market.
        weight: A weight that has learned from its events, with factors whose names begin with the profile's.
        item_rows: int64 ``[num_items]``, graph row of each of the market's items; -1 for items without events.
        profile: One of ``PROFILES``.
    """
    learned = learned_profile(weight, profile, int(item_rows.max()) + 1)[item_rows]  # [num_items, num_steps]
    truth = world.log_lifts(profile)
    truth = truth[:, 2:365:5] if profile == "year" else truth
    is_known = item_rows >= 0
    correlations = np.where(is_known, _correlations(learned, truth), np.nan)
    counts = np.bincount(world.items, minlength=world.settings.num_items)
    is_many, is_few = is_known & (counts > _MANY), is_known & (counts < _FEW)
    return Recovery(_mean(correlations[is_many]), _mean(correlations[is_few]), int(is_many.sum()), int(is_few.sum()))


def measure_beside_growth(world: World, weight: ContextWeight, item_rows: npt.NDArray[np.int64]) -> SeasonBesideGrowth:
    """Tell how much of a learned time of year is growth; the arguments are those of ``measure_recovery``."""
    is_many = (item_rows >= 0) & (np.bincount(world.items, minlength=world.settings.num_items) > _MANY)
    learned = learned_profile(weight, "year", int(item_rows.max()) + 1)[item_rows[is_many]]
    tilts = learned @ np.linspace(-1.0, 1.0, learned.shape[1], dtype=np.float32)
    return SeasonBesideGrowth(
        int(is_many.sum()),
        _mean(learned.std(1, dtype=np.float64)),
        float(_correlations(tilts[None, :], world.growth[is_many][None, :])[0]),
        _mean(_correlations(learned, world.log_lifts("year")[is_many, 2:365:5])),
    )


def learned_profile(weight: ContextWeight, profile: str, num_items: int) -> Array:
    """Return a weight's log lifts over the bins of a profile, float32 ``[num_items, num_steps]``.

    The moments are in the first year of the simulation, at the middle of each bin; weekdays begin with Monday.
    """
    factors = [index for index, factor in enumerate(weight.factors) if factor.name.startswith(profile)]
    first_ms = START_MS + (5 * MS_PER_DAY if profile == "weekday" else 0) + _STEP_MS[profile] // 2
    columns = []
    for step in range(_NUM_STEPS[profile]):
        moment = Moment(first_ms + step * _STEP_MS[profile], attributes={"time_zone": "UTC"})
        log_lifts = weight.item_log_lifts(moment, num_items)
        columns.append(np.zeros(num_items, np.float32) if log_lifts is None else log_lifts[factors].sum(0))
    return np.stack(columns, 1)


def compare_with_oracle(
    world: World, settings: Settings, plugins: Plugins, *, num_queries: int = 1_000, test_share: float = 0.02
) -> OracleComparison:
    """Train on the market except for its last days, and rank all items for a sample of the events of those days.

    Seen items are ranked too. The gain of an item is the true probability that it is chosen.

    Args:
        world: The market.
        settings: Settings of the model, with the context weights to test.
        plugins: Plugins that offer the parts.
        num_queries: Number of sampled events.
        test_share: Share of the events that are not trained on.
    """
    split = int(len(world.items) * (1.0 - test_share))
    state = state_of_world(world, settings, plugins, split)
    artifact = train(state, settings, plugins, mode="retrain")
    ranker = Ranker(state, settings.ranking)
    model = ServingModel.from_artifact(artifact, plugins)
    ranker.swap(model)
    generator = np.random.default_rng(world.settings.seed)
    num_test = len(world.items) - split
    positions = split + np.sort(generator.choice(num_test, min(num_queries, num_test), replace=False))
    queries = world.events.select(positions)
    probabilities = _probabilities(world, queries)
    ndcg, ndcg_with_truth = _expected_ndcg(ranker, queries, probabilities, world.context_scores(queries))
    best = -np.sort(-probabilities, axis=1)[:, :K]
    return OracleComparison(
        float(ndcg.mean()),
        float(ndcg_with_truth.mean()),
        float((best @ discounts(K)[: best.shape[1]]).mean()),
        model.exponents.unseen.factors,
    )


def rows_of_items(world: World, state: LiveState) -> npt.NDArray[np.int64]:
    """Return the graph row of each of the market's items, int64 ``[num_items]``; -1 for items without events."""
    return state.graph.view().nodes("item").ids.rows(world.item_ids).astype(np.int64)


def _expected_ndcg(
    ranker: Ranker, queries: SimulatedQueries, probabilities: Float64s, true_context: Array
) -> tuple[Float64s, Float64s]:
    """Return the expected DCG@20 of each query, float64 ``[n]``: of the model, and of the model with the true lifts.

    Args:
        ranker: Ranks with the model.
        queries: n queries.
        probabilities: float64 ``[n, num_items]``, true probability of each item.
        true_context: float32 ``[n, num_items]``, true log lift of each item.
    """
    gains = discounts(K)
    num_queries, num_items = probabilities.shape
    ndcg, ndcg_with_truth = np.zeros((2, num_queries))
    for first in range(0, num_queries, _QUERIES_AT_ONCE):
        chunk = range(first, min(first + _QUERIES_AT_ONCE, num_queries))
        requests = [Query(queries.moment(index), f"u{queries.users[index]}", count=num_items) for index in chunk]
        for index, ranking in zip(chunk, ranker.recommend(requests), strict=True):
            rows = np.array([int(item.item_id.removeprefix("i")) for item in ranking.items])
            ndcg[index] = probabilities[index, rows[:K]] @ gains[: len(rows)]
            learned = [sum(np.log(item.weights.get(name, 1.0)) for name in _CONTEXT) for item in ranking.items]
            scores = np.array([item.score for item in ranking.items]) - learned + true_context[index, rows]
            top = rows[np.argsort(-scores, kind="stable")[:K]]
            ndcg_with_truth[index] = probabilities[index, top] @ gains[: len(top)]
    return ndcg, ndcg_with_truth


def _probabilities(world: World, queries: SimulatedQueries) -> Float64s:
    """Return the true probability of each item, float64 ``[n, num_items]``."""
    scores = world.scores(queries).astype(np.float64)
    probabilities: Float64s = np.exp(scores - scores.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities


def _correlations(left: Array, right: Array) -> Float64s:
    """Return Pearson's correlation of each pair of rows, float64 ``[n]``; 0 where one of them is constant."""
    left_rest = left - left.mean(1, keepdims=True, dtype=np.float64)
    right_rest = right - right.mean(1, keepdims=True, dtype=np.float64)
    norms = np.sqrt((left_rest**2).sum(1) * (right_rest**2).sum(1))
    correlations = np.zeros(len(norms))
    np.divide((left_rest * right_rest).sum(1), norms, out=correlations, where=norms > 0)
    return correlations


def _mean(values: Float64s) -> float:
    return float(values.mean()) if len(values) else float("nan")
