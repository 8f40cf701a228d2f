"""The month protocol of `springtide prove`: train to the end of a month, and rank items for the next.

It compares baselines, the cosine alone, and the cosine with each context weight and with all of them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.mean_metrics import Measurement
from springtide.evaluation.plan import key_of_baseline, key_of_model
from springtide.evaluation.protocols.baseline_runner import BaselineRunner
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.queries import UserQueries
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.results import Result, ResultsFile, RunKey
from springtide.evaluation.splits.month_cut import cut_at_month
from springtide.evaluation.variants import frozen_settings, with_context_weights, with_weights_named, without_weights
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
"""Baselines that the model is compared with, in the order of the tables: the baseline of each label."""

COSINE = "cosine alone"
ALL_WEIGHTS = "all weights"
SLICE_DAYS = 28  # Exponents are learned on a slice about as long as the month that is then predicted.

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MonthResults:
    """The results of one month.

    Attributes:
        month: The last month of the training set, 1 to 11; the next month is the test set.
        results: Results by label: ``CONTROLS``, and those of ``weight_variants``.
    """

    month: int
    results: Mapping[str, Result]

    def best_control(self, *, is_unseen_only: bool) -> float:
        """Return the highest NDCG@20 of a control, of unseen items or of all."""
        return max(_ndcg(self.results[label], is_unseen_only=is_unseen_only) for label in CONTROLS)

    def lead(self, *, is_unseen_only: bool) -> float:
        """Return NDCG@20 with all weights minus that of the best control."""
        ours = _ndcg(self.results[ALL_WEIGHTS], is_unseen_only=is_unseen_only)
        return ours - self.best_control(is_unseen_only=is_unseen_only)


def weight_variants(settings: Settings) -> dict[str, Settings]:
    """Return the settings that are measured, by label: no context weight, each one alone, and all of them."""
    names = settings.ranking.context_weights
    alone = {f"+ {name}": with_weights_named(settings, [name]) for name in names}
    return {COSINE: without_weights(settings), **alone, ALL_WEIGHTS: with_context_weights(settings, names)}


def measure_months(
    dataset: Dataset,
    settings: Settings,
    plugins: Plugins,
    months: Sequence[int],
    results: ResultsFile,
    on_progress: OnProgress | None = None,
) -> Iterator[MonthResults]:
    """Measure month by month; what is in the results file already is not measured again.

    One model is trained each month. Its vectors are shared by all variants, each of which learns its own exponents.

    Args:
        dataset: Data of one year; of several years, the first is used.
        settings: Settings of the model, with all context weights to compare.
        plugins: Plugins that offer the parts.
        months: Last months of the training sets, each 1 to 11.
        results: The results file.
        on_progress: Called with the progress of training and ranking.

    Raises:
        ValueError: If a month is not 1 to 11.
        TrainingError: If there are too few interactions to train on.
    """
    if wrong := [month for month in months if not 1 <= month <= 11]:
        raise ValueError(f"wanted months of 1 to 11, got {wrong[0]}")
    settings = frozen_settings(plugins.resolved(settings), dataset.interactions)
    variants = weight_variants(settings)
    for month in months:
        keys = {label: _key(dataset, month, label, variant, plugins) for label, variant in variants.items()}
        keys |= {
            label: replace(_key_of_control(dataset, month, name, plugins), model=label)
            for label, name in CONTROLS.items()
        }
        by_label = {label: known for label, key in keys.items() if (known := results.get(key)) is not None}
        missing = [label for label in (*CONTROLS, *variants) if label not in by_label]
        if missing:
            protocol = MonthProtocol(dataset, month, settings, plugins, on_progress)
            for label in missing:
                measurement = protocol.measure(label)
                by_label[label] = Result(keys[label], datetime.now(UTC).date(), measurement)
                results.add(by_label[label])
        yield MonthResults(month, by_label)


class MonthProtocol:
    """A data set cut at the end of a month, on which controls and variants are measured.

    Everything is frozen there: there is one query for each user and the whole next month, at the time of the newest
    interaction of the training set. Accordingly, exponents are learned on the last four weeks with features as of the
    beginning of these weeks.

    Args:
        dataset: The data set.
        month: The last month of the training set, 1 to 11.
        settings: Settings of the model, with all context weights.
        plugins: Plugins that offer the parts.
        on_progress: Called with the progress of training and ranking.
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
        self._variants = weight_variants(settings)
        self._plugins = plugins
        self._on_progress: OnProgress = on_progress or (lambda progress: None)
        self._dataset = dataset
        self._interactions, self._split = cut_at_month(dataset.interactions, month)
        self._queries = UserQueries(self._interactions, self._split, self._on_progress)
        truncated = replace(dataset, interactions=self._interactions)
        self._measurer = Measurer(truncated, self._split, self._queries, settings.ranking.item_groups)
        self._trained: tuple[LiveState, ModelArtifact, ModelArtifact, float] | None = None

    def measure(self, label: str) -> Measurement:
        """Measure a control, or one of the ``weight_variants``.

        Raises:
            TrainingError: If there are too few interactions to train on.
        """
        started = time.monotonic()
        if label in CONTROLS:
            baseline = self._plugins.make("baseline", PartSettings(name=CONTROLS[label]))
            runner = BaselineRunner(baseline, self._interactions, self._split)
            return self._measurer.measure(runner, time.monotonic() - started).measurement
        state, before_slice, model, training_seconds = self._train()
        started = time.monotonic()
        manifest = model.manifest
        if label != ALL_WEIGHTS:
            refitted = refit_exponents(state, before_slice, self._variants[label], self._plugins).manifest
            manifest = replace(manifest, exponents=refitted.exponents, temperature=refitted.temperature)
        fit_seconds = training_seconds + time.monotonic() - started
        ranker = Ranker(state, self._settings.ranking)
        ranker.swap(ServingModel.from_artifact(replace(model, manifest=manifest), self._plugins))
        return self._measurer.measure(self._queries.rank_items_with(ranker), fit_seconds).measurement

    def _train(self) -> tuple[LiveState, ModelArtifact, ModelArtifact, float]:
        """Return the state, a model without the last four weeks, one with them, and the seconds that both took.

        The vectors of the first have not seen the slice that the exponents are learned on.
        """
        if self._trained is None:
            started = time.monotonic()
            times = self._interactions.timestamps_ms[self._split.train]
            num_before = int(np.searchsorted(times, times[-1] - SLICE_DAYS * MS_PER_DAY, side="right"))
            cosine_alone = self._variants[COSINE]
            before_slice = train(
                self._state(self._split.train[:num_before], cosine_alone),
                cosine_alone,
                self._plugins,
                mode="retrain",
                on_progress=self._on_progress,
            )
            state = self._state(self._split.train, self._settings)
            model = train(
                state,
                self._settings,
                self._plugins,
                mode="fine_tune",
                base=before_slice,
                on_progress=self._on_progress,
            )
            self._trained = state, before_slice, model, time.monotonic() - started
        return self._trained

    def _state(self, positions: Int64s, settings: Settings) -> LiveState:
        return state_of_slice(self._interactions, positions, self._dataset.upserts, settings, self._plugins)


def _name(dataset: Dataset, month: int) -> str:
    return f"{dataset.name}, month {month}"


def _key(dataset: Dataset, month: int, label: str, settings: Settings, plugins: Plugins) -> RunKey:
    return replace(key_of_model(_name(dataset, month), settings, plugins), model=label)


def _key_of_control(dataset: Dataset, month: int, name: str, plugins: Plugins) -> RunKey:
    return key_of_baseline(_name(dataset, month), PartSettings(name=name), plugins)


def _ndcg(result: Result, *, is_unseen_only: bool) -> float:
    assert result.measurement is not None, f"{result.key.model} was measured"
    return (result.measurement.new if is_unseen_only else result.measurement.all).ndcg
