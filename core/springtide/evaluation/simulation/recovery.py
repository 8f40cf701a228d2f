"""How near what was learned of a simulated market comes to its truth."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
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

PROFILES = ("year", "weekday", "hour")
K = 20
_STEP_MS = {"year": 5 * MS_PER_DAY, "weekday": MS_PER_DAY, "hour": MS_PER_HOUR}
_NUM_STEPS = {"year": 73, "weekday": 7, "hour": 24}
_MANY, _FEW = 200, 20
_QUERIES_AT_ONCE = 64
_CONTEXT = ("calendar", "place", "weather")  # The weights that learn what the simulator's effects do.


@dataclass(frozen=True, slots=True)
class Recovery:
    """How like the truth a profile is: means over items of each one's correlation over the moments.

    Attributes:
        many: Of items with more than 200 interactions; NaN if there are none.
        few: Of items with fewer than 20; NaN if there are none.
        num_many: How many items have more than 200.
        num_few: How many have fewer than 20.
    """

    many: float
    few: float
    num_many: int
    num_few: int


@dataclass(frozen=True, slots=True)
class AgainstOracle:
    """What a model ranks for a simulated market, beside an oracle that knows all.

    Attributes:
        model: NDCG@20 of the next item, as expected under the true chances.
        with_true_context: The same of the model's own cosines, popularity and habits, times the true lifts of year,
            week, day, place and weather in place of those that it learned.
        oracle: The same of the best ranking there can be, which knows tastes and popularity too.
        exponents: Of new items, by weight and factor.
    """

    model: float
    with_true_context: float
    oracle: float
    exponents: Mapping[str, Mapping[str, float]]

    @property
    def share(self) -> float:
        """How much of the oracle's NDCG the model has."""
        return self.model / self.oracle

    @property
    def share_of_context(self) -> float:
        """The same against a model that knows the true lifts, which has to learn tastes and popularity as well."""
        return self.model / self.with_true_context


def state_of_world(world: World, settings: Settings, plugins: Plugins, stop: int | None = None) -> LiveState:
    """Return a state that has seen the market up to a position."""
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    state.apply(world.batch(0, stop))
    Ranker(state, settings.ranking)  # Tells the weights what the items belong to.
    return state


def recovery(world: World, weight: ContextWeight, item_rows: npt.NDArray[np.int64], profile: str) -> Recovery:
    """Compare a profile with the truth.

    Args:
        world: The market.
        weight: A weight that has seen it, with factors whose names begin with the profile's.
        item_rows: int64 ``[num_items]``, row of each of the market's items; -1 where it never came.
        profile: One of ``PROFILES``.
    """
    learned = learned_profile(weight, profile, int(item_rows.max()) + 1)[item_rows]  # [num_items, num_steps]
    truth = world.log_lifts(profile)
    truth = truth[:, 2:365:5] if profile == "year" else truth
    is_known = item_rows >= 0
    alike = np.where(is_known, _correlations(learned, truth), np.nan)
    counts = np.bincount(world.items, minlength=world.settings.num_items)
    is_many, is_few = is_known & (counts > _MANY), is_known & (counts < _FEW)
    return Recovery(_mean(alike[is_many]), _mean(alike[is_few]), int(is_many.sum()), int(is_few.sum()))


def learned_profile(weight: ContextWeight, profile: str, num_items: int) -> Array:
    """Return what a weight says at moments all over the profile, float32 ``[num_items, num_steps]``.

    They are in the simulator's first year, at the middle of each step; the weekdays begin with Monday.
    """
    factors = [place for place, factor in enumerate(weight.factors) if factor.name.startswith(profile)]
    first_ms = START_MS + (5 * MS_PER_DAY if profile == "weekday" else 0) + _STEP_MS[profile] // 2
    lifts = []
    for step in range(_NUM_STEPS[profile]):
        moment = Moment(first_ms + step * _STEP_MS[profile], attributes={"time_zone": "UTC"})
        of_moment = weight.item_log_lifts(moment, num_items)
        lifts.append(np.zeros(num_items, np.float32) if of_moment is None else of_moment[factors].sum(0))
    return np.stack(lifts, 1)


def against_oracle(
    world: World, settings: Settings, plugins: Plugins, *, num_asked: int = 1_000, test_share: float = 0.02
) -> AgainstOracle:
    """Train on the market but for its last days, and rank for some who came then.

    Every item is ranked, those that the user had among them; an item counts by the true chance that it is taken.

    Args:
        world: The market.
        settings: Of the model; its context weights are those that are tried.
        plugins: Where the parts come from.
        num_asked: How many interactions of the last days are asked for.
        test_share: Share of the interactions that are not trained on.
    """
    split = int(len(world.items) * (1.0 - test_share))
    state = state_of_world(world, settings, plugins, split)
    artifact = train(state, settings, plugins, mode="retrain")
    ranker = Ranker(state, settings.ranking)
    model = ServingModel.from_artifact(artifact, plugins)
    ranker.swap(model)
    generator = np.random.default_rng(world.settings.seed)
    positions = split + np.sort(
        generator.choice(len(world.items) - split, min(num_asked, len(world.items) - split), replace=False)
    )
    asked = world.events.part(positions)
    chances, context = _chances(world, asked), world.context_scores(asked)
    discounts = 1.0 / np.log2(np.arange(2, K + 2))
    best = -np.sort(-chances, axis=1)[:, :K]
    gains, gains_of_truth = np.zeros((2, len(positions)))
    num_items = world.settings.num_items
    for first in range(0, len(positions), _QUERIES_AT_ONCE):
        some = range(first, min(first + _QUERIES_AT_ONCE, len(positions)))
        queries = [Query(asked.moment(place), f"u{asked.users[place]}", count=num_items) for place in some]
        for place, answer in zip(some, ranker.recommend(queries), strict=True):
            rows = np.array([int(item.item_id.removeprefix("i")) for item in answer.items])
            gains[place] = chances[place, rows[:K]] @ discounts[: len(rows)]
            learned = [sum(np.log(item.weights.get(name, 1.0)) for name in _CONTEXT) for item in answer.items]
            truth = np.array([item.score for item in answer.items]) - learned + context[place, rows]
            best_of_truth = rows[np.argsort(-truth, kind="stable")[:K]]
            gains_of_truth[place] = chances[place, best_of_truth] @ discounts[: len(best_of_truth)]
    return AgainstOracle(
        float(gains.mean()),
        float(gains_of_truth.mean()),
        float((best @ discounts[: best.shape[1]]).mean()),
        model.exponents.unseen.factors,
    )


def rows_of_items(world: World, state: LiveState) -> npt.NDArray[np.int64]:
    """Return the row of each of the market's items in the state's graph, int64 ``[num_items]``; -1 where none."""
    return state.graph.view().nodes("item").ids.rows(world.item_ids).astype(np.int64)


def _chances(world: World, asked: SimulatedQueries) -> npt.NDArray[np.float64]:
    scores = world.scores(asked).astype(np.float64)
    chances: npt.NDArray[np.float64] = np.exp(scores - scores.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    return chances


def _correlations(left: Array, right: Array) -> npt.NDArray[np.float64]:
    """Return float64 ``[n]``, Pearson's of each row with its like; 0 where one of them does not vary."""
    left_rest = left - left.mean(1, keepdims=True, dtype=np.float64)
    right_rest = right - right.mean(1, keepdims=True, dtype=np.float64)
    norms = np.sqrt((left_rest**2).sum(1) * (right_rest**2).sum(1))
    correlations = np.zeros(len(norms))
    np.divide((left_rest * right_rest).sum(1), norms, out=correlations, where=norms > 0)
    return correlations


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
