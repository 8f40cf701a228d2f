"""A simulated session: what rotation, exploration and diversity change in answers, and what that costs: `sessions.py`.

Users of a market whose tastes are known ask again and again, half an hour apart. What they are shown is published as
impressions; they take an item of the answer as likely as they would choose it among all. The share of repeats is how
much of an answer was in the one before. NDCG@10 is that of the true probabilities, as a share of what the best answer
has; each figure is a mean over users, with its 95 % interval. Everything is one process on one core.
"""

import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_HOUR
from springtide.evaluation.measures.metrics import discounts
from springtide.evaluation.simulation.recovery import state_of_world
from springtide.evaluation.simulation.simulator import SimulatedQueries, SimulatorSettings, World, simulate
from springtide.events.model import EventBatch
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query, Ranking
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.steering.values import QuerySteering
from springtide.testing import interactions_of, quick_settings
from springtide.training.train import train

COUNT = 10
NUM_ASKED = 10
STEP_MS = MS_PER_HOUR // 2
ROTATION = [{"rotation_rate": rate} for rate in (0.0, 0.3, 0.6, 1.0)]
EXPLORATION = [{"exploration": share} for share in (0.1, 0.2)]
BOTH: list[dict[str, Any]] = [{"rotation_rate": 0.6, "exploration": share} for share in (0.1, 0.2)]
DIVERSITY = [{"diversity": diversity} for diversity in (0.0, 0.3, 0.6, 1.0)]
BY_CATEGORY: list[dict[str, Any]] = [
    {"diversity": diversity, "diversity_attribute": "category"} for diversity in (0.3, 0.6, 1.0)
]

Float64s = npt.NDArray[np.float64]


class Market:
    """The market, and a model that was trained on its events.

    Args:
        num_users: How many users there are; the first 200 ask.
        num_events: How many events there are.
    """

    def __init__(self, num_users: int = 400, num_events: int = 60_000) -> None:
        size = SimulatorSettings(num_users=num_users, num_items=400, num_events=num_events, num_years=2, drift=0.0)
        self.world: World = simulate(size)
        weights: Mapping[str, Any] = {"popularity": {}, "calendar": {}}
        model = {"width": 32, "loss": {"name": "cce"}}
        self.settings: Settings = quick_settings(
            model=model, ranking={"context_weights": weights}, training={"steps": 300, "num_negatives": 128}
        )
        self.plugins = load_plugins()
        self.model = ServingModel.from_artifact(
            train(self.state(), self.settings, self.plugins, mode="retrain"), self.plugins
        )
        self.users = np.arange(min(200, num_users))

    def state(self) -> LiveState:
        """Return the state after all events."""
        return state_of_world(self.world, self.settings, self.plugins)

    def ranker(self, state: LiveState) -> Ranker:
        """Return what ranks over a state."""
        ranker = Ranker(state, self.settings.ranking)
        ranker.swap(self.model)
        return ranker

    def moments(self, asked: int) -> SimulatedQueries:
        """Return the moment at which the users ask for the nth time."""
        same = np.zeros(len(self.users), np.int64)
        now_ms = int(self.world.events.timestamps_ms[-1]) + (asked + 1) * STEP_MS
        return SimulatedQueries(self.users, same + now_ms, same, same, same + 12)

    def probabilities(self, moments: SimulatedQueries) -> Float64s:
        """Return how likely each user chooses each item, float64 ``[num_users, num_items]``."""
        logits = self.world.scores(moments).astype(np.float64)
        likely: Float64s = np.exp(logits - logits.max(1, keepdims=True))
        return likely / likely.sum(1, keepdims=True)


def main() -> None:
    """Print the tables."""
    started = time.perf_counter()
    market = Market()
    print(
        f"400 users, 400 items, 60,000 purchases; {len(market.users)} users ask {NUM_ASKED} times, {COUNT} items each\n"
    )
    print("| rotation_rate | exploration | repeats in the next answer | different items in ten | NDCG@10 | taken |")
    print("|---|---|---|---|---|---|", flush=True)
    for steered in (*ROTATION, *EXPLORATION, *BOTH):
        columns = session(market, steered)
        rates = f"| {steered.get('rotation_rate', 0)} | {steered.get('exploration', 0)} |"
        print(rates, " | ".join(interval(column) for column in columns), "|", flush=True)
    print(
        "\n| diversity | in | cosine of each two | of one category, share | NDCG@10 |\n|---|---|---|---|---|",
        flush=True,
    )
    for steered in (*DIVERSITY, *BY_CATEGORY):
        columns = likeness(market, steered)
        where = steered.get("diversity_attribute", "vectors")
        print(
            f"| {steered['diversity']} | {where} |", " | ".join(interval(column) for column in columns), "|", flush=True
        )
    print(f"\nin {time.perf_counter() - started:.0f} s", file=sys.stderr)


def interval(values: Float64s) -> str:
    """Return the mean of values with its 95 % interval."""
    return f"{values.mean():.3f} ± {1.96 * values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def session(market: Market, steered: Mapping[str, Any], seed: int = 0) -> list[Float64s]:
    """Let all users ask, and return by user, float64 ``[num_users]`` each, the mean over their answers.

    Returns:
        The share of repeats, the number of different items over all answers, by the slots; NDCG@10; how many items
        were taken at each ask.
    """
    state, generator = market.state(), np.random.default_rng(seed)
    ranker = market.ranker(state)
    answers, gains, taken = [], [], np.zeros(len(market.users))
    for asked in range(NUM_ASKED):
        moments = market.moments(asked)
        likely = market.probabilities(moments)
        rankings = ask(ranker, moments, steered)
        shown = items_of(rankings)
        drawn = np.array([generator.choice(likely.shape[1], p=each) for each in likely])
        is_taken = (shown == drawn[:, None]).any(axis=1)
        now_ms = int(moments.timestamps_ms[0])
        impressions = [
            (f"u{user}", f"i{item}", now_ms)
            for user, of_user in zip(market.users, shown, strict=True)
            for item in of_user
        ]
        purchases = [
            (f"u{user}", f"i{item}", now_ms + 1_000)
            for user, item in zip(market.users[is_taken], drawn[is_taken], strict=True)
        ]
        state.apply(EventBatch(interactions_of(impressions, "impression")))
        state.apply(EventBatch(interactions_of(purchases)))
        answers.append(shown)
        gains.append(ndcg(shown, likely))
        taken += is_taken
    repeats = [
        [len(np.intersect1d(*each)) / COUNT for each in zip(now, before, strict=True)]
        for before, now in itertools.pairwise(answers)
    ]
    every = np.concatenate(answers, axis=1)
    different = np.array([len(np.unique(of_user)) / every.shape[1] for of_user in every])
    return [np.mean(repeats, axis=0), different, np.mean(gains, axis=0), taken / NUM_ASKED]


def likeness(market: Market, steered: Mapping[str, Any]) -> list[Float64s]:
    """Return by user, float64 ``[num_users]`` each: the mean cosine of each two items; pairs of a category; NDCG@10."""
    ranker, moments = market.ranker(market.state()), market.moments(0)
    shown = items_of(ask(ranker, moments, steered))
    scorer = ranker.scorer()
    assert scorer.serving.table is not None
    rows = scorer.items.ids.rows([f"i{item}" for item in shown.ravel()]).reshape(shown.shape)
    vectors = scorer.serving.table.vectors[rows]  # [num_users, COUNT, d]
    pairs = np.triu_indices(COUNT, 1)
    cosines = np.einsum("und,umd->unm", vectors, vectors)[:, *pairs].mean(axis=1)
    categories = market.world.categories[shown]
    is_same = (categories[:, :, None] == categories[:, None, :])[:, *pairs].mean(axis=1)
    return [cosines.astype(np.float64), is_same, ndcg(shown, market.probabilities(moments))]


def ask(ranker: Ranker, moments: SimulatedQueries, steered: Mapping[str, Any]) -> list[Ranking]:
    """Return the answers to all users."""
    steering = QuerySteering(**steered)
    return ranker.recommend(
        [
            Query(moments.moment(at), f"u{user}", count=COUNT, with_weights=False, steering=steering)
            for at, user in enumerate(moments.users)
        ]
    )


def items_of(rankings: Sequence[Ranking]) -> npt.NDArray[np.int64]:
    """Return the items of answers, int64 ``[num_answers, COUNT]``."""
    return np.array([[int(item.removeprefix("i")) for item in ranking.items.ids] for ranking in rankings])


def ndcg(shown: npt.NDArray[np.int64], likely: Float64s) -> Float64s:
    """Return the expected NDCG@10 of answers, float64 ``[n]``; the gain of an item is how likely it is chosen."""
    weights = discounts(COUNT)
    best = -np.sort(-likely, axis=1)[:, :COUNT] @ weights
    gained: Float64s = np.take_along_axis(likely, shown, axis=1) @ weights / best
    return gained


if __name__ == "__main__":
    main()
