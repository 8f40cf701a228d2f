"""Models and baselines over the last stretch of a data set: each event is first asked for, then learned."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.errors import TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.measurement import ALL, NEW, REPEAT, Measured, Measurement, SegmentMetrics
from springtide.evaluation.measures.metrics import metrics_of_ranks
from springtide.evaluation.protocols.measurer import arrays_of, segment_metrics
from springtide.evaluation.protocols.questions import every_positive, state_of_part
from springtide.evaluation.protocols.replay import Contestant, Replayed, replay
from springtide.events.model import Interactions
from springtide.plugins.loading import Plugins
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, Settings
from springtide.training.train import OnProgress, Progress, train

FROZEN = ", frozen"
"""Ends the name of a model that is not told of the events as they pass."""

NUM_QUESTIONS = 2_000
_NUM_DAYS = 30
_MIN_SPAN_DAYS = 300  # A month of less than this would be more than a tenth.


def start_of_last(interactions: Interactions, num_days: int | None = None) -> int:
    """Return where the last stretch begins, in milliseconds.

    Args:
        interactions: In time order.
        num_days: Its length; 30 days of a data set of ten months or more, else its last tenth, if None.
    """
    times = interactions.timestamps_ms
    is_long = times[-1] - times[0] >= _MIN_SPAN_DAYS * MS_PER_DAY
    if num_days is None and not is_long:
        return int(times[int(0.9 * len(times))])
    return int(times[-1]) - (num_days or _NUM_DAYS) * MS_PER_DAY


class Prequential:
    """Trains on what came before, and replays the rest with everybody who is to be measured.

    Args:
        dataset: What to measure on.
        settings: Of the graph and the context weights.
        plugins: Where the parts come from.
        on_progress: Told of training and of the replay.
        num_days: How long the last stretch is; see ``start_of_last``.
        num_questions: How many of its events are asked for.

    Raises:
        TrainingError: If nothing lies before the last stretch.
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
        self._settings = every_positive(settings, dataset.interactions)
        self._tell: OnProgress = on_progress or (lambda progress: None)
        self._num_questions = num_questions
        self._start_ms = start_of_last(dataset.interactions, num_days)
        times = dataset.interactions.timestamps_ms
        self._before = np.arange(np.searchsorted(times, self._start_ms))
        if not len(self._before):
            raise TrainingError("wanted interactions before the last stretch, got none: name fewer days")

    def measure(
        self, models: Mapping[str, Settings], baselines: Mapping[str, PartSettings]
    ) -> dict[str, Measured | TrainingError]:
        """Ask everybody the same questions; what cannot be trained has the reason in its place.

        Args:
            models: By name; one whose name ends in ``FROZEN`` is the same as the other, and stands still.
            baselines: By name; they are fitted anew as the replay goes on.
        """
        contestants: list[Contestant] = []
        failures: dict[str, Measured | TrainingError] = {}
        fit_seconds = dict.fromkeys([*models, *baselines], 0.0)
        trained: dict[str, tuple[ServingModel, float] | TrainingError] = {}
        for name, settings in models.items():
            bare = name.removesuffix(FROZEN)
            if bare not in trained:
                trained[bare] = self._train(settings)
            found = trained[bare]
            if isinstance(found, TrainingError):
                failures[name] = found
                continue
            fit_seconds[name] = found[1]
            contestants.append(Contestant(name, found[0], is_live=name == bare))
        contestants += [Contestant(name, self._plugins.make("baseline", of)) for name, of in baselines.items()]
        if not contestants:
            return failures
        interactions = self._dataset.interactions
        self._tell(Progress("build the graph", 0, 1))
        every = np.arange(len(interactions))
        state = state_of_part(interactions, every, self._dataset.upserts, self._settings, self._plugins)
        self._tell(Progress("build the graph", 1, 1))
        replayed = replay(
            state,
            self._start_ms,
            contestants,
            self._settings,
            self._plugins,
            num_questions=self._num_questions,
            on_progress=self._tell,
        )
        failures |= {name: TrainingError(reason) for name, reason in replayed.failures.items()}
        for name in replayed.ranks:
            seconds = fit_seconds[name] if name in models else replayed.seconds[name]
            failures[name] = measured_of(replayed, name, seconds)
        return failures

    def _train(self, settings: Settings) -> tuple[ServingModel, float] | TrainingError:
        """Return a model of what came before, and how long it took."""
        settings = every_positive(settings, self._dataset.interactions)
        self._plugins.check(settings)
        interactions = self._dataset.interactions
        try:
            state = state_of_part(interactions, self._before, self._dataset.upserts, settings, self._plugins)
            started = time.monotonic()
            artifact = train(state, settings, self._plugins, mode="retrain", on_progress=self._tell)
        except TrainingError as error:
            return error
        return ServingModel.from_artifact(artifact, self._plugins), time.monotonic() - started


def measured_of(replayed: Replayed, name: str, fit_seconds: float) -> Measured:
    """Return how good one contestant was, over all questions and over those whose item was new to the user, or not.

    New items are ranked among new ones. Every question has one right answer: recall is whether it was among the first.
    """
    segments: dict[str, SegmentMetrics] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for segment, mask, ranks in (
        (NEW, replayed.is_new, replayed.new_ranks[name]),
        (REPEAT, ~replayed.is_new, replayed.ranks[name]),
        (ALL, np.ones(len(replayed), bool), replayed.ranks[name]),
    ):
        of_some = metrics_of_ranks(ranks[mask])
        of_some |= {key.replace("hit@", "recall@"): each for key, each in of_some.items() if key.startswith("hit@")}
        segments[segment] = segment_metrics(of_some)
        arrays |= arrays_of(segment, replayed.user_rows[mask].astype(np.int64), of_some)
        arrays[f"{segment}.times"] = replayed.timestamps_ms[mask]
    return Measured(Measurement(segments, fit_seconds), arrays)
