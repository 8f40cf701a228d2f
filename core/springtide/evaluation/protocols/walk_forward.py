"""Walking forward through a data set: train to the end of a month, and rank for the next."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.measurement import Measurement
from springtide.evaluation.plan import key_of_baseline, key_of_model
from springtide.evaluation.protocols.baseline_runner import FittedBaseline
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.questions import Questions, frozen_settings, state_of_part
from springtide.evaluation.results import Result, ResultsFile, RunKey
from springtide.evaluation.splits.time_splits import Split, global_time_split
from springtide.events.model import Interactions
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import Plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState
from springtide.training.exponents.refit import refit_exponents
from springtide.training.train import OnProgress, train

CONTROLS = {
    "popularity, last 7 days": "week_popularity",
    "popularity, last 28 days": "recent_popularity",
    "popularity, half-life 28 days": "decayed_popularity",
    "TIFU-KNN": "tifu_knn",
}
"""What an honest evaluation over time has beside the model, in the order of our tables: baselines by their labels."""

COSINE = "cosine alone"
ALL_WEIGHTS = "all weights"
SLICE_DAYS = 28  # The exponents are learned on as long a time as the vectors are then asked to foresee.

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MonthResults:
    """What was measured of one month.

    Attributes:
        month: The month trained to, 1 to 11; the next one was asked for.
        results: By name: the controls, the cosine alone, with each weight, and with all.
    """

    month: int
    results: Mapping[str, Result]

    def best_control(self, *, is_new_only: bool) -> float:
        """Return the highest NDCG of a control."""
        return max(_ndcg(self.results[name], is_new_only=is_new_only) for name in CONTROLS)

    def lead(self, *, is_new_only: bool) -> float:
        """Return by how much all weights together lead over the best control, in NDCG; negative if they do not."""
        ours = _ndcg(self.results[ALL_WEIGHTS], is_new_only=is_new_only)
        return ours - self.best_control(is_new_only=is_new_only)


def variants(settings: Settings) -> dict[str, Settings]:
    """Return the settings that are measured by name: no context weight, each one alone, all of them."""
    weights = settings.ranking.context_weights
    choices = {COSINE: {}, **{f"+ {name}": {name: options} for name, options in weights.items()}, ALL_WEIGHTS: weights}
    return {
        label: settings.model_copy(
            update={"ranking": settings.ranking.model_copy(update={"context_weights": dict(chosen)})}
        )
        for label, chosen in choices.items()
    }


def walk_forward(
    dataset: Dataset,
    settings: Settings,
    plugins: Plugins,
    months: Sequence[int],
    results: ResultsFile,
    on_progress: OnProgress | None = None,
) -> Iterator[MonthResults]:
    """Measure month by month; what stands in the results already is not measured again.

    Each month one model is trained. What the subsets of the context weights are worth is learned on the same vectors.

    Args:
        dataset: Of one year, or of several, whose first is walked.
        settings: Of the model; its context weights are those that are tried.
        plugins: Where the parts come from.
        months: Those to train to, each 1 to 11.
        results: Where results are kept.
        on_progress: Told of training and of ranking.

    Raises:
        ValueError: If a month is none of these.
        TrainingError: If a month has too little to learn from.
    """
    if wrong := [month for month in months if not 1 <= month <= 11]:
        raise ValueError(f"wanted months of 1 to 11, got {wrong[0]}")
    settings = frozen_settings(plugins.resolved(settings), dataset.interactions)
    tried = variants(settings)
    for month in months:
        keys = {label: _key(dataset, month, label, of, plugins) for label, of in tried.items()}
        keys |= {
            label: replace(_key_of_control(dataset, month, name, plugins), model=label)
            for label, name in CONTROLS.items()
        }
        found = {label: known for label, key in keys.items() if (known := results.get(key)) is not None}
        missing = [label for label in (*CONTROLS, *tried) if label not in found]
        if missing:
            walk = Month(dataset, month, settings, plugins, on_progress)
            for label in missing:
                measurement = walk.measure(label)
                found[label] = Result(keys[label], datetime.now(UTC).date(), measurement)
                results.add(found[label])
        yield MonthResults(month, found)


class Month:
    """A data set cut at the end of a month.

    Everything is frozen there: each user is asked once, for the whole next month, as of the newest interaction that
    was trained on. The exponents are learned just so, on the last four weeks, with features as of their beginning.

    Args:
        dataset: What to measure on.
        month: The month trained to, 1 to 11.
        settings: Of the model, with all context weights.
        plugins: Where the parts come from.
        on_progress: Told of training and of ranking.
    """

    def __init__(
        self,
        dataset: Dataset,
        month: int,
        settings: Settings,
        plugins: Plugins,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._settings = settings
        self._variants = variants(settings)
        self._plugins = plugins
        self._tell: OnProgress = on_progress or (lambda progress: None)
        self._dataset = dataset
        self._interactions, self.split = cut_at_month(dataset.interactions, month)
        self._questions = Questions(self._interactions, self.split, self._tell)
        cut = replace(dataset, interactions=self._interactions)
        self._measurer = Measurer(cut, self.split, self._questions, settings.ranking.item_groups)
        self._trained: tuple[LiveState, ModelArtifact, ModelArtifact, float] | None = None

    def measure(self, label: str) -> Measurement:
        """Measure a control, or one of the ``variants``.

        Raises:
            TrainingError: If there is too little to learn from.
        """
        started = time.monotonic()
        if label in CONTROLS:
            baseline = self._plugins.make("baseline", PartSettings(name=CONTROLS[label]))
            fitted = FittedBaseline(baseline, self._interactions, self.split)
            return self._measurer.measure(fitted, time.monotonic() - started).measurement
        state, before, whole, training_seconds = self._train()
        started = time.monotonic()
        manifest = whole.manifest
        if label != ALL_WEIGHTS:
            refitted = refit_exponents(state, before, self._variants[label], self._plugins).manifest
            manifest = replace(manifest, exponents=refitted.exponents, temperature=refitted.temperature)
        fit_seconds = training_seconds + time.monotonic() - started
        ranker = Ranker(state, self._settings.ranking)
        ranker.swap(ServingModel.from_artifact(replace(whole, manifest=manifest), self._plugins))
        return self._measurer.measure(self._questions.asked_of(ranker), fit_seconds).measurement

    def _train(self) -> tuple[LiveState, ModelArtifact, ModelArtifact, float]:
        """Return the state, a model of all but the last four weeks, one of all, and how long both took.

        The first model has vectors that have not seen the slice that the exponents are learned on.
        """
        if self._trained is None:
            started = time.monotonic()
            times = self._interactions.timestamps_ms[self.split.train]
            num_before = int(np.searchsorted(times, times[-1] - SLICE_DAYS * MS_PER_DAY, side="right"))
            without_weights = self._variants[COSINE]
            before = train(
                self._state(self.split.train[:num_before], without_weights),
                without_weights,
                self._plugins,
                mode="retrain",
                on_progress=self._tell,
            )
            state = self._state(self.split.train, self._settings)
            whole = train(state, self._settings, self._plugins, mode="fine_tune", base=before, on_progress=self._tell)
            self._trained = state, before, whole, time.monotonic() - started
        return self._trained

    def _state(self, positions: Int64s, settings: Settings) -> LiveState:
        return state_of_part(self._interactions, positions, self._dataset.upserts, settings, self._plugins)


def cut_at_month(interactions: Interactions, month: int, min_count: int = 5) -> tuple[Interactions, Split]:
    """Return the interactions up to the end of the next month, cut at the end of a month, UTC.

    Items and users with too little in the train part are dropped, as from our other tables.

    Args:
        interactions: In time order, of at least one month; months are those of the year in which they begin.
        month: The last month of the train part, 1 to 11.
        min_count: Users that an item needs, and items that a user needs.

    Raises:
        ValueError: If one of the two parts is empty.
    """
    times = interactions.timestamps_ms
    year = datetime.fromtimestamp(int(times[0]) / 1000, UTC).year
    cut = int(np.searchsorted(times, _start_ms(year, month + 1)))
    end = int(np.searchsorted(times, _start_ms(year, month + 2)))
    if cut == 0 or end == cut:
        raise ValueError(f"wanted interactions to the end of month {month} of {year} and in the next, got none in one")
    shown = replace(
        interactions,
        user_codes=interactions.user_codes[:end],
        item_codes=interactions.item_codes[:end],
        relation_codes=interactions.relation_codes[:end],
        timestamps_ms=times[:end],
        values=interactions.values[:end],
        contexts=None if interactions.contexts is None else interactions.contexts[:end],
    )
    # Half an interaction more, since the split rounds down.
    return shown, global_time_split(shown, 1.0 - (cut + 0.5) / end, min_count)


def _start_ms(year: int, month: int) -> int:
    first = date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
    return int(datetime(first.year, first.month, 1, tzinfo=UTC).timestamp() * 1000)


def _name(dataset: Dataset, month: int) -> str:
    return f"{dataset.name}, month {month}"


def _key(dataset: Dataset, month: int, label: str, settings: Settings, plugins: Plugins) -> RunKey:
    return replace(key_of_model(_name(dataset, month), settings, plugins), model=label)


def _key_of_control(dataset: Dataset, month: int, name: str, plugins: Plugins) -> RunKey:
    return key_of_baseline(_name(dataset, month), PartSettings(name=name), plugins)


def _ndcg(result: Result, *, is_new_only: bool) -> float:
    assert result.measurement is not None, f"{result.key.model} was measured"
    return (result.measurement.new if is_new_only else result.measurement.all).ndcg
