"""The report of an evaluation: means over blocks and seeds, and comparisons of models on the same queries."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.mean_metrics import Arrays, FittedExponent, MeanMetrics, Measurement, SegmentMetrics
from springtide.evaluation.measures.significance import Comparison, blocks_interval, compare, compare_blocks
from springtide.evaluation.plan import Section, model_name
from springtide.evaluation.results import Result, RunKey

_SEED = 0  # Of the bootstrap: the same results give the same comparison.


@dataclass(frozen=True, slots=True)
class Figures(MeanMetrics):
    """Metrics of one model in one segment: means over blocks, then over seeds.

    ``num_users`` is the number of queries of all blocks together.

    Attributes:
        low: Lower bound of the 95 % confidence interval of NDCG@20: over the users, or over the blocks of a walk
            forward.
        high: Upper bound.
        ndcg_sd: Standard deviation of NDCG@20 between seeds; None for one seed.
    """

    low: float | None
    high: float | None
    ndcg_sd: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What was evaluated, and the results.

    Attributes:
        datasets: Names of the data sets, in the order of the tables.
        sections: The models of each table.
        baselines: Names of the baselines, in the order of the tables.
        results: Results by data set and model, one for each seed and block.
        arrays: Returns the metrics of each query of a run; see ``DetailedMeasurement``.
        left_out: Why baselines were not measured, by name.
        split: One of ``springtide.evaluation.splits.cuts.SPLITS``.
        related: Names of models that are in no section, such as frozen ones, by the model that they are shown after.
    """

    datasets: Sequence[str]
    sections: Sequence[Section]
    baselines: Sequence[str]
    results: Mapping[tuple[str, str], Sequence[Result]]
    arrays: Callable[[RunKey], Arrays] = lambda key: {}
    left_out: Mapping[str, str] | None = None
    split: str = "global"
    related: Mapping[str, Sequence[str]] | None = None

    @property
    def ours(self) -> list[str]:
        """Names of all models except baselines, each once."""
        names = [model_name(settings) for section in self.sections for settings in section.models.values()]
        return list(dict.fromkeys(shown for name in names for shown in (name, *self.related_to(name))))

    def related_to(self, model: str) -> Sequence[str]:
        """Return the names of the models that are shown after a model."""
        return (self.related or {}).get(model, ())

    @property
    def models(self) -> list[str]:
        """Names of all baselines and models, each once."""
        return list(dict.fromkeys([*self.baselines, *self.ours]))

    def failures(self, dataset: str) -> dict[str, str]:
        """Return why models could not be measured, by name."""
        failures = {}
        for model in self.models:
            for result in self.results[dataset, model]:
                if result.measurement is None:
                    failures[model] = result.failure
        return failures

    def segments(self, dataset: str) -> list[str]:
        """Return the names of all measured segments, in order."""
        segments: dict[str, None] = {}
        for model in self.models:
            for result in self.results[dataset, model]:
                segments |= dict.fromkeys(result.measurement.segments if result.measurement else ())
        return list(segments)

    def fit_seconds(self, dataset: str, model: str) -> float | None:
        """Return the mean wall time of a fit; None if a run failed."""
        times = [run.measurement.fit_seconds for run in self.results[dataset, model] if run.measurement is not None]
        return statistics.fmean(times) if len(times) == len(self.results[dataset, model]) else None

    def answers_per_second(self, dataset: str, model: str) -> float | None:
        """Return how many answers a second one thread gave, a mean over runs; None where no run measured it."""
        return self._mean_cost(dataset, model, lambda measured: measured.answers_per_second)

    def live_share(self, dataset: str, model: str) -> float | None:
        """Return for which share of users an event of a moment ago changed the answer; None if it is not known."""
        return self._mean_cost(dataset, model, lambda measured: measured.live_share)

    def _mean_cost(self, dataset: str, model: str, cost: Callable[[Measurement], float | None]) -> float | None:
        measured = [result.measurement for result in self.results[dataset, model] if result.measurement is not None]
        known = [value for each in measured if (value := cost(each)) is not None]
        return statistics.fmean(known) if known else None

    def exponents(self, dataset: str, model: str) -> Mapping[str, FittedExponent]:
        """Return the exponents of a model's last fit by factor; empty for a baseline, and where none were kept."""
        measured = [result.measurement for result in self.results.get((dataset, model), ())]
        return next((found.exponents for found in reversed(measured) if found is not None), {})

    def figures(self, dataset: str, model: str, segment: str) -> Figures | None:
        """Return the metrics of a model; None if a run failed or the segment has no queries."""
        results = self.results[dataset, model]
        if any(result.measurement is None for result in results):
            return None
        by_seed: dict[int | None, list[SegmentMetrics]] = {}
        for result in results:
            if result.measurement is not None and segment in result.measurement.segments:
                by_seed.setdefault(result.key.seed, []).append(result.measurement.segments[segment])
        if not by_seed:
            return None
        seed_means = [_means([block.metrics for block in blocks]) for blocks in by_seed.values()]
        blocks = [block for seed_blocks in by_seed.values() for block in seed_blocks]
        interval = _interval(results, segment, blocks)
        ndcgs = [means["ndcg@20"] for means in seed_means]
        return Figures(
            _means(seed_means),
            sum(block.num_users for block in next(iter(by_seed.values()))),
            None if interval is None else interval[0],
            None if interval is None else interval[1],
            statistics.stdev(ndcgs) if len(ndcgs) > 1 else None,
        )

    def best_baseline(self, dataset: str, segment: str) -> str | None:
        """Return the baseline with the highest NDCG@20; None if there is none."""
        all_figures = {name: self.figures(dataset, name, segment) for name in self.baselines}
        ndcgs = {name: figures.ndcg for name, figures in all_figures.items() if figures is not None}
        return max(ndcgs, key=lambda name: ndcgs[name]) if ndcgs else None

    def compare(self, dataset: str, model: str, other: str, segment: str) -> Comparison | None:
        """Compare two models on the same queries; None if the metrics of these were not kept for both.

        With one cut, the queries are compared one by one; with several, the means of the blocks.
        """
        ours, theirs = (self._ndcg_by_cut(dataset, name, segment) for name in (model, other))
        if not ours or not theirs or ours.keys() != theirs.keys():
            return None
        if any(not np.array_equal(ours[cut][0], theirs[cut][0]) for cut in ours):
            return None
        num_queries = sum(len(users) for users, _ in ours.values())
        if not num_queries:
            return None
        if len(ours) == 1:
            [(cut, (_, values))] = ours.items()
            return compare(values, theirs[cut][1], seed=_SEED)
        full = [cut for cut, (users, _) in ours.items() if len(users)]  # A block may have no question.
        means = [np.array([by_cut[cut][1].mean() for cut in full]) for by_cut in (ours, theirs)]
        return compare_blocks(means[0], means[1], num_queries)

    def _ndcg_by_cut(
        self, dataset: str, model: str, segment: str
    ) -> dict[str, tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]]:
        """Return users and NDCG of the queries of each cut, by cut; NDCG is a mean over the seeds."""
        by_cut: dict[str, list[Arrays]] = {}
        for result in self.results[dataset, model]:
            arrays = self.arrays(result.key)
            if f"{segment}.ndcg" not in arrays:
                return {}
            by_cut.setdefault(result.key.split, []).append(arrays)
        return {
            cut: (
                arrays[0][f"{segment}.users"],
                np.mean([seed_arrays[f"{segment}.ndcg"] for seed_arrays in arrays], axis=0, dtype=np.float64),
            )
            for cut, arrays in by_cut.items()
        }


def _interval(results: Sequence[Result], segment: str, runs: Sequence[SegmentMetrics]) -> tuple[float, float] | None:
    """Return the interval of NDCG@20: the mean of the runs' own for one cut, and that over the blocks for several."""
    by_block: dict[str, list[float]] = {}
    for result in results:
        if result.measurement is not None and segment in result.measurement.segments:
            by_block.setdefault(result.key.split, []).append(result.measurement.segments[segment].ndcg)
    if len({result.key.split for result in results}) == 1:
        return statistics.fmean(run.low for run in runs), statistics.fmean(run.high for run in runs)
    over_blocks = blocks_interval(np.array([statistics.fmean(of_seeds) for of_seeds in by_block.values()]))
    return None if over_blocks is None else (over_blocks.low, over_blocks.high)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric that all rows have."""
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0] if all(name in row for row in rows)}
