"""The prequential protocol: the last days of a data set are replayed, each event ranked, then applied."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.errors import TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.mean_metrics import (
    ALL,
    NEW,
    REPEAT,
    DetailedMeasurement,
    FittedExponent,
    Measurement,
    SegmentMetrics,
)
from springtide.evaluation.measures.metrics import metrics_of_ranks
from springtide.evaluation.protocols.contestants import Contestant
from springtide.evaluation.protocols.fitted_exponents import fitted_exponents
from springtide.evaluation.protocols.measurer import arrays_of, segment_metrics
from springtide.evaluation.protocols.replay import ReplayResult, replay
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.variants import with_all_positive
from springtide.events.model import Interactions
from springtide.plugins.loading import Plugins
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, Settings
from springtide.training.train import OnProgress, Progress, train

FROZEN = ", frozen"
"""Ends the name of a model whose state stays as it was at the start of the replay."""

NUM_QUESTIONS = 2_000
_NUM_DAYS = 30
_MIN_SPAN_DAYS = 300  # 30 days of a shorter data set would be more than a tenth of it.


def start_of_replay(interactions: Interactions, num_days: int | None = None) -> int:
    """Return the first moment of the replay, milliseconds since the epoch.

    Args:
        interactions: All interactions, in time order.
        num_days: Length of the replay; None for 30 days of a data set of at least 300 days, else its last tenth.
    """
    times = interactions.timestamps_ms
    is_long = times[-1] - times[0] >= _MIN_SPAN_DAYS * MS_PER_DAY
    if num_days is None and not is_long:
        return int(times[int(0.9 * len(times))])
    return int(times[-1]) - (num_days or _NUM_DAYS) * MS_PER_DAY


class Prequential:
    """Trains on the events before the replay, and replays the rest with all models and baselines.

    Args:
        dataset: The data set.
        settings: Graph and context weights of the replayed state.
        plugins: Plugins that offer the parts.
        on_progress: Called with the progress of training and of the replay.
        num_days: Length of the replay; see ``start_of_replay``.
        num_questions: Number of its events that are ranked.

    Raises:
        TrainingError: If there are no events before the replay.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings,
        plugins: Plugins,
        on_progress: OnProgress | None = None,
        num_days: int | None = None,
        num_questions: int = NUM_QUESTIONS,
    ) -> None:
        self._dataset = dataset
        self._plugins = plugins
        self._settings = self._ruled(settings)
        self._on_progress: OnProgress = on_progress or (lambda progress: None)
        self._num_questions = num_questions
        self._start_ms = start_of_replay(dataset.interactions, num_days)
        times = dataset.interactions.timestamps_ms
        self._before = np.arange(np.searchsorted(times, self._start_ms))
        if not len(self._before):
            span_days = (times[-1] - times[0]) / MS_PER_DAY
            raise TrainingError(
                f"wanted interactions before the replay, got none: all {len(times):,} lie within {span_days:.3g} days, "
                + ("at one time, and a replay needs two" if not span_days else "and --days names a shorter replay")
            )

    def measure(
        self, models: Mapping[str, Settings], baselines: Mapping[str, PartSettings]
    ) -> dict[str, DetailedMeasurement | TrainingError]:
        """Measure all models and baselines on the same events; where one cannot be trained, the error is its value.

        Args:
            models: Settings by name. A name that ends in ``FROZEN`` is the same model on a state that stays as it was.
            baselines: Baselines by name; they are fitted again as the replay goes on.
        """
        contestants: list[Contestant] = []
        outcomes: dict[str, DetailedMeasurement | TrainingError] = {}
        fit_seconds: dict[str, float] = {}
        trained: dict[str, _Trained | TrainingError] = {}
        exponents: dict[str, Mapping[str, FittedExponent]] = {}
        for name, settings in models.items():
            live_name = name.removesuffix(FROZEN)
            if live_name not in trained:
                trained[live_name] = self._train(settings)
            model = trained[live_name]
            if isinstance(model, TrainingError):
                outcomes[name] = model
                continue
            fit_seconds[name], exponents[name] = model.fit_seconds, model.exponents
            contestants.append(Contestant(name, model.model, is_live=name == live_name))
        contestants += [
            Contestant(name, self._plugins.make("baseline", baseline)) for name, baseline in baselines.items()
        ]
        if not contestants:
            return outcomes
        result = self._replay(contestants)
        outcomes |= {name: TrainingError(reason) for name, reason in result.failures.items()}
        for name in result.ranks:
            measured = measurement_of_replay(result, name, fit_seconds.get(name, result.seconds[name]))
            found = replace(measured.measurement, exponents=exponents.get(name, {}))
            outcomes[name] = replace(measured, measurement=found)
        return outcomes

    def _replay(self, contestants: list[Contestant]) -> ReplayResult:
        interactions = self._dataset.interactions
        self._on_progress(Progress("build the graph", 0, 1))
        everything = np.arange(len(interactions))
        state = state_of_slice(
            interactions, everything, self._dataset.upserts, self._settings, self._plugins, self._dataset.others
        )
        self._on_progress(Progress("build the graph", 1, 1))
        return replay(
            state,
            self._start_ms,
            contestants,
            self._settings,
            self._plugins,
            num_questions=self._num_questions,
            on_progress=self._on_progress,
        )

    def _ruled(self, settings: Settings) -> Settings:
        """Return the settings by which every interaction is positive, or their own rules if these made the data set."""
        return settings if self._dataset.has_feedback else with_all_positive(settings, self._dataset.interactions)

    def _train(self, settings: Settings) -> "_Trained | TrainingError":
        """Return a model of the events before the replay; or why there is none."""
        settings = self._ruled(settings)
        self._plugins.check(settings)
        interactions = self._dataset.interactions
        try:
            state = state_of_slice(
                interactions, self._before, self._dataset.upserts, settings, self._plugins, self._dataset.others
            )
            started = time.monotonic()
            artifact = train(state, settings, self._plugins, mode="retrain", on_progress=self._on_progress)
        except TrainingError as error:
            return error
        seconds = time.monotonic() - started
        return _Trained(ServingModel.from_artifact(artifact, self._plugins), seconds, fitted_exponents(artifact))


class _Trained(NamedTuple):
    """A model, the seconds of its training, and its exponents."""

    model: ServingModel
    fit_seconds: float
    exponents: Mapping[str, FittedExponent]


def measurement_of_replay(result: ReplayResult, name: str, fit_seconds: float) -> DetailedMeasurement:
    """Return the metrics of one contestant: over all events, events with a new item, and events with a seen one.

    New items are ranked among the user's unseen items. Each event has one relevant item, so recall equals hit rate.

    Args:
        result: What the replay gave.
        name: The contestant.
        fit_seconds: Wall time of its fit, for the measurement.
    """
    segments: dict[str, SegmentMetrics] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for segment, mask, ranks in (
        (NEW, result.is_unseen, result.unseen_ranks[name]),
        (REPEAT, ~result.is_unseen, result.ranks[name]),
        (ALL, np.ones(len(result), bool), result.ranks[name]),
    ):
        metrics = metrics_of_ranks(ranks[mask])
        metrics |= {key.replace("hit@", "recall@"): each for key, each in metrics.items() if key.startswith("hit@")}
        segments[segment] = segment_metrics(metrics)
        arrays |= arrays_of(segment, result.user_rows[mask].astype(np.int64), metrics)
        arrays[f"{segment}.times"] = result.timestamps_ms[mask]
    return DetailedMeasurement(Measurement(segments, fit_seconds), arrays)
