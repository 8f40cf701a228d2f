"""The protocol of our tables: train up to a moment, freeze everything, rank all items for everybody after it."""

import time
from dataclasses import replace
from functools import cached_property

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.measurement import Measured
from springtide.evaluation.measures.reliability import reliability
from springtide.evaluation.protocols.baseline_runner import FittedBaseline
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.questions import Questions, frozen_settings, state_of_part
from springtide.evaluation.splits.time_splits import Split
from springtide.plugins.loading import Plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState
from springtide.training.train import OnProgress, Progress, train
from springtide.worlds import even_odd_events, quick_model, quick_settings, state_of

_OF_THE_MOMENT = ("calendar", "occasions", "session")


class Protocol:
    """A data set cut in time, to measure any number of models on: they all train on one state, which none changes.

    Exponents are learned with features frozen at the start of their slice, since everything is frozen here too; the
    weights of the moment are left out, since one answer stands for all the weeks of the test part, at no hour.

    Args:
        dataset: What to measure on.
        split: Where it is cut.
        settings: Of the graph, the interactions and the context weights; these are the same for all models.
        plugins: Where the parts come from.
        on_progress: Told of training and of ranking.
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
        self._tell: OnProgress = on_progress or (lambda progress: None)
        self._split = split
        self._questions = Questions(dataset.interactions, split, self._tell)
        self._measurer = Measurer(dataset, split, self._questions, settings.ranking.item_groups)

    def measure_baseline(self, wanted: PartSettings) -> Measured:
        """Fit and measure a baseline.

        Raises:
            TrainingError: If the train part is too large or too small for it.
            SettingsError: If no plugin offers it, or it lacks something.
        """
        self._tell(Progress(f"fit {wanted.name}", 0, 1))
        started = time.monotonic()
        fitted = FittedBaseline(self._plugins.make("baseline", wanted), self._dataset.interactions, self._split)
        fit_seconds = time.monotonic() - started
        self._tell(Progress(f"fit {wanted.name}", 1, 1))
        return self._measurer.measure(fitted, fit_seconds)

    def measure_model(self, settings: Settings) -> Measured:
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
        measured = self._measurer.measure(self._questions.asked_of(ranker), fit_seconds)
        of_scores = reliability(ranker, self._dataset.interactions, self._split, self._questions.moment)
        return replace(measured, arrays={**measured.arrays, "reliability": of_scores})

    @cached_property
    def _state(self) -> LiveState:
        """The train part in a graph."""
        self._tell(Progress("build the graph", 0, 1))
        settings = self._adapted(self._settings)
        dataset = self._dataset
        state = state_of_part(dataset.interactions, self._split.train, dataset.upserts, settings, self._plugins)
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
        ranking = settings.ranking.model_copy(update={"context_weights": weights})
        return frozen_settings(settings.model_copy(update={"ranking": ranking}), self._dataset.interactions)
