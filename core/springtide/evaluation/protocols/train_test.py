"""The train/test protocol of the tables: train on the training set, freeze everything, rank items for the test set."""

import time
from dataclasses import dataclass, replace
from functools import cached_property

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.mean_metrics import DetailedMeasurement
from springtide.evaluation.measures.reliability import reliability
from springtide.evaluation.protocols.baseline_runner import BaselineRunner
from springtide.evaluation.protocols.circumstances import context_keys_of
from springtide.evaluation.protocols.fitted_exponents import fitted_exponents
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.queries import UserQueries
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.splits.time_splits import Split
from springtide.evaluation.variants import frozen_settings, with_context_weights
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import Plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState
from springtide.toy_data import even_odd_events, quick_model, quick_settings, state_of
from springtide.training.train import OnProgress, Progress, train

WEIGHTS_OF_THE_MOMENT = ("calendar", "occasions", "session")
"""Context weights that a train/test evaluation leaves out: one ranking stands for all moments of its test set."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model.

    Attributes:
        artifact: The model.
        settings: The settings that it was trained with: all interactions positive, features frozen.
        fit_seconds: Wall time of the training.
    """

    artifact: ModelArtifact
    settings: Settings
    fit_seconds: float


class TrainTestProtocol:
    """A data set cut in time, on which any number of models and baselines can be measured.

    All models train on one state, which none of them changes. Features are frozen at the start of the slice that the
    exponents are learned on, since they are frozen in the test as well. Context weights that depend on the moment are
    left out: one ranking stands for all weeks of the test set. Those of circumstances stay: a user is asked once for
    each distinct circumstances of the test set that a context weight of ``settings`` looks at.

    Args:
        dataset: The data set.
        split: Where it is cut.
        settings: Graph, interactions and context weights, which are the same for all models.
        plugins: Plugins that offer the parts.
        on_progress: Called with the progress of training and ranking.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        settings: Settings,
        plugins: Plugins,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._dataset = dataset
        self._settings = settings
        self._plugins = plugins
        self._on_progress: OnProgress = on_progress or (lambda progress: None)
        self._split = split
        keys = context_keys_of(self._frozen(settings), plugins)
        self._queries = UserQueries(dataset.interactions, split, self._on_progress, keys)
        self._measurer = Measurer(dataset, split, self._queries, settings.ranking.item_groups)

    def measure_baseline(self, baseline: PartSettings) -> DetailedMeasurement:
        """Fit and measure a baseline.

        Raises:
            TrainingError: If the training set is too large or too small for it.
            SettingsError: If no plugin offers it, or something that it needs is missing.
        """
        self._on_progress(Progress(f"fit {baseline.name}", 0, 1))
        started = time.monotonic()
        runner = BaselineRunner(self._plugins.make("baseline", baseline), self._dataset.interactions, self._split)
        fit_seconds = time.monotonic() - started
        self._on_progress(Progress(f"fit {baseline.name}", 1, 1))
        return self._measurer.measure(self._queries.of_users(runner), fit_seconds, runner.after)

    def measure_model(self, settings: Settings) -> DetailedMeasurement:
        """Train and measure a model.

        Args:
            settings: Parts, steps and rates; all else equals the settings of the protocol.

        Raises:
            TrainingError: If the model cannot be trained on this data set.
            SettingsError: If no plugin offers its parts, or they cannot work together.
        """
        trained = self.train_model(settings)
        ranker = Ranker(self.state, trained.settings.ranking)
        ranker.swap(ServingModel.from_artifact(trained.artifact, self._plugins))
        measured = self._measurer.measure(
            self._queries.rank_items_with(ranker), trained.fit_seconds, self._queries.rank_after_with(ranker)
        )
        bins = reliability(ranker, self._dataset.interactions, self._split, self._queries.moment)
        found = replace(measured.measurement, exponents=fitted_exponents(trained.artifact))
        return DetailedMeasurement(found, {**measured.arrays, "reliability": bins})

    def train_model(self, settings: Settings) -> Trained:
        """Train a model on the training set.

        Raises:
            TrainingError: If the model cannot be trained on this data set.
            SettingsError: If no plugin offers its parts, or they cannot work together.
        """
        settings = self._frozen(settings)
        self._plugins.check(settings)
        state = self.state
        started = time.monotonic()
        artifact = train(state, settings, self._plugins, mode="retrain", on_progress=self._on_progress)
        return Trained(artifact, settings, time.monotonic() - started)

    @cached_property
    def state(self) -> LiveState:
        """The training set in a graph."""
        self._on_progress(Progress("build the graph", 0, 1))
        settings = self._frozen(self._settings)
        dataset = self._dataset
        state = state_of_slice(
            dataset.interactions, self._split.train, dataset.upserts, settings, self._plugins, dataset.others
        )
        # The first training of a process compiles code that later ones reuse: that time belongs to no model.
        one_step = {"steps": 1, "fine_tune_steps": 1, "num_threads": settings.training.num_threads}
        warm_up = quick_settings(training=one_step, ranking=settings.ranking.model_dump())
        quick_model(state_of(even_odd_events(64), warm_up, self._plugins), warm_up, self._plugins)
        self._on_progress(Progress("build the graph", 1, 1))
        return state

    def _frozen(self, settings: Settings) -> Settings:
        """Return the settings with everything frozen, without the context weights of the moment."""
        weights = settings.ranking.context_weights
        lasting = {name: options for name, options in weights.items() if name not in WEIGHTS_OF_THE_MOMENT}
        settings = with_context_weights(settings, lasting)
        return frozen_settings(settings, self._dataset.interactions, has_feedback=self._dataset.has_feedback)
