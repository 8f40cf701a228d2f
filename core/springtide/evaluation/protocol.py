"""The protocol of our tables: train up to a moment, freeze everything, rank all items for everybody after it."""

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from springtide.config import InteractionSettings, Settings
from springtide.evaluation.baselines import K, RankItems, make_baseline
from springtide.evaluation.datasets import Dataset
from springtide.evaluation.metrics import RankingMetrics, ranking_metrics
from springtide.evaluation.splits import global_time_split
from springtide.events.model import EventBatch, Interactions
from springtide.graph.applying import ITEM, USER
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import Plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import make_context_weights
from springtide.state import LiveState
from springtide.testing import even_odd_events, quick_model, quick_settings, state_of
from springtide.training.train import OnProgress, Progress, train

_OF_THE_MOMENT = ("calendar", "occasions", "session")
_QUERIES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Measurement:
    """How good one model is.

    Attributes:
        new: Items that the user had are left out of the answers and not asked for.
        all: Everything is ranked, and asked for.
        fit_seconds: Wall time of fitting, the exponents' included.
    """

    new: RankingMetrics
    all: RankingMetrics
    fit_seconds: float


class Protocol:
    """A data set cut in time, to measure any number of models on: they all train on one state, which none changes.

    Exponents are learned with features frozen at the start of their slice, since everything is frozen here too; the
    weights of the moment are left out, since one answer stands for all the weeks of the test part, at no hour.

    Args:
        dataset: What to measure on.
        settings: Of the graph, the interactions and the context weights; these are the same for all models.
        plugins: Where the parts come from.
        on_progress: Told of training and of ranking.
    """

    def __init__(
        self, dataset: Dataset, settings: Settings, plugins: Plugins, on_progress: OnProgress | None = None
    ) -> None:
        self._dataset = dataset
        self._settings = settings
        self._plugins = plugins
        self._tell: OnProgress = on_progress or (lambda progress: None)
        self._split = global_time_split(dataset.interactions)
        num_items = len(dataset.interactions.item_ids)
        had = np.unique(_pairs(dataset.interactions, self._split.train, num_items))
        wanted = np.unique(_pairs(dataset.interactions, self._split.test, num_items))
        self._new = np.setdiff1d(wanted, had, assume_unique=True)
        self._all = wanted

    def measure_baseline(self, name: str) -> Measurement:
        """Measure one of ``springtide.evaluation.baselines.BASELINES``."""
        started = time.monotonic()
        rank = make_baseline(name, self._dataset.interactions, self._split)
        return self._measure(rank, time.monotonic() - started)

    def measure_model(self, settings: Settings) -> Measurement:
        """Train and measure a model.

        Args:
            settings: Parts, steps and rates; in all else the same as those that the protocol was made with.

        Raises:
            TrainingError: If the model cannot be trained on this data set.
            SettingsError: If no plugin offers its parts, or they cannot work together.
        """
        settings = self._adapted(settings)
        self._plugins.check(settings)
        state = self._state
        started = time.monotonic()
        artifact = train(state, settings, self._plugins, mode="retrain", on_progress=self._tell)
        fit_seconds = time.monotonic() - started
        ranker = Ranker(state, settings.ranking)
        ranker.swap(ServingModel.from_artifact(artifact, self._plugins))
        return self._measure(self._rank_by(ranker), fit_seconds)

    @cached_property
    def _state(self) -> LiveState:
        """The train part in a graph; nodes that none of its interactions names are left out, as from the peers'."""
        self._tell(Progress("build the graph", 0, 1))
        settings = self._adapted(self._settings)
        state = LiveState(settings, make_context_weights(settings.ranking, self._plugins))
        interactions = _part(self._dataset.interactions, self._split.train)
        wanted = {USER: set(interactions.user_ids), ITEM: set(interactions.item_ids)}
        upserts = [upsert for upsert in self._dataset.upserts if upsert.node_id in wanted.get(upsert.node_type, ())]
        state.apply(EventBatch(_part(interactions, np.zeros(0, np.int64)), upserts=upserts))
        state.apply(EventBatch(interactions))
        # A first training compiles what later ones find compiled: that is no part of any model's time.
        one_step = {"steps": 1, "fine_tune_steps": 1, "num_threads": settings.training.num_threads}
        warm_up = quick_settings(training=one_step, ranking=settings.ranking.model_dump())
        quick_model(state_of(even_odd_events(64), warm_up, self._plugins), warm_up, self._plugins)
        self._tell(Progress("build the graph", 1, 1))
        return state

    def _adapted(self, settings: Settings) -> Settings:
        weights = {
            name: options for name, options in settings.ranking.context_weights.items() if name not in _OF_THE_MOMENT
        }
        return settings.model_copy(
            update={
                "training": settings.training.model_copy(update={"live_exponents": False}),
                "interactions": {**settings.interactions, **_rules_for(self._dataset)},
                "ranking": settings.ranking.model_copy(update={"context_weights": weights}),
            }
        )

    def _rank_by(self, ranker: Ranker) -> RankItems:
        interactions = self._dataset.interactions
        moment = Moment(int(interactions.timestamps_ms[self._split.train[-1]]))
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank(users: npt.NDArray[np.int64], is_new_only: bool) -> npt.NDArray[np.int64]:
            query = Query(moment, count=K, exclude_seen=("*",) if is_new_only else ())
            queries = [replace(query, user_id=interactions.user_ids[user]) for user in users]
            ranked = np.full((len(users), K), -1, np.int64)
            for position, answer in enumerate(ranker.recommend(queries)):
                codes = [code_of[item.item_id] for item in answer.items]
                ranked[position, : len(codes)] = codes
            return ranked

        return rank

    def _measure(self, rank: RankItems, fit_seconds: float) -> Measurement:
        return Measurement(self._metrics(rank, self._new, True), self._metrics(rank, self._all, False), fit_seconds)

    def _metrics(self, rank: RankItems, relevant: npt.NDArray[np.int64], is_new_only: bool) -> RankingMetrics:
        """Ask for every user to whom something is relevant.

        Args:
            rank: Whom to ask.
            relevant: int64 ``[num_relevant]``, pairs of user and item, as ``_pairs`` codes them.
            is_new_only: Whether to leave out what the users had.
        """
        num_items = len(self._dataset.interactions.item_ids)
        users, num_relevant = np.unique(relevant // num_items, return_counts=True)
        is_hit = np.zeros((len(users), K), bool)
        stage = "rank new items" if is_new_only else "rank all items"
        for first in range(0, len(users), _QUERIES_AT_ONCE):
            chunk = users[first : first + _QUERIES_AT_ONCE]
            ranked = rank(chunk, is_new_only)
            is_hit[first : first + len(chunk)] = np.isin(chunk[:, None] * num_items + ranked, relevant) & (ranked >= 0)
            self._tell(Progress(stage, first + len(chunk), len(users)))
        return ranking_metrics(is_hit, num_relevant)


def _rules_for(dataset: Dataset) -> dict[str, InteractionSettings]:
    """Every interaction of a data set counts as positive: that is what the peers' figures were measured on."""
    return {relation: InteractionSettings() for relation in dataset.interactions.relations}


def _pairs(interactions: Interactions, positions: npt.NDArray[np.int64], num_items: int) -> npt.NDArray[np.int64]:
    """Return user code × num_items + item code of some interactions, int64 ``[n]``."""
    pairs: npt.NDArray[np.int64] = interactions.user_codes[positions].astype(np.int64) * num_items
    return pairs + interactions.item_codes[positions]


def _part(interactions: Interactions, positions: npt.NDArray[np.int64]) -> Interactions:
    """Return some interactions, their dictionaries holding only what occurs in them."""
    user_codes, users = np.unique(interactions.user_codes[positions], return_inverse=True)
    item_codes, items = np.unique(interactions.item_codes[positions], return_inverse=True)
    return Interactions(
        [interactions.user_ids[code] for code in user_codes],
        users.astype(np.int32),
        [interactions.item_ids[code] for code in item_codes],
        items.astype(np.int32),
        interactions.relations,
        interactions.relation_codes[positions],
        interactions.timestamps_ms[positions],
        interactions.values[positions],
    )
