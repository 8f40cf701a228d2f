"""What an evaluation found: means over blocks and seeds, and each model held against the best baseline."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.measurement import Arrays, SegmentMetrics
from springtide.evaluation.measures.significance import Comparison, compare
from springtide.evaluation.plan import Section, model_name
from springtide.evaluation.results import Result, RunKey

_SEED = 0  # Of the resamples: the same results are compared alike every time.


@dataclass(frozen=True, slots=True)
class Figures:
    """What one model reached in one segment.

    Attributes:
        metrics: Means over blocks, then over seeds, by name.
        num_users: Questions, those of all blocks together.
        low: Lower bound of the 95 % interval of NDCG@20; None over several blocks.
        high: Upper bound.
        ndcg_sd: Standard deviation of NDCG@20 between seeds; None for one seed.
    """

    metrics: Mapping[str, float]
    num_users: int
    low: float | None
    high: float | None
    ndcg_sd: float | None

    @property
    def ndcg(self) -> float:
        """NDCG@20."""
        return self.metrics["ndcg@20"]

    @property
    def recall(self) -> float:
        """Recall@20."""
        return self.metrics["recall@20"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked for and what was found.

    Attributes:
        datasets: Names, in the order they were asked for.
        sections: The models, by table.
        baselines: Names, in the order of the tables.
        results: By data set and model: a result for each seed and block.
        arrays: Gives what a run's result is made of.
        left_out: Why baselines were not measured, by name.
        split: One of ``springtide.evaluation.splits.cuts.SPLITS``.
        further: Models that stand in no section, such as frozen ones, each after the one it belongs to.
    """

    datasets: Sequence[str]
    sections: Sequence[Section]
    baselines: Sequence[str]
    results: Mapping[tuple[str, str], Sequence[Result]]
    arrays: Callable[[RunKey], Arrays] = lambda key: {}
    left_out: Mapping[str, str] | None = None
    split: str = "global"
    further: Mapping[str, Sequence[str]] | None = None

    @property
    def ours(self) -> list[str]:
        """Names of all models that are no baselines, each once."""
        names = [model_name(settings) for section in self.sections for settings in section.models.values()]
        return list(dict.fromkeys(other for name in names for other in (name, *(self.further or {}).get(name, ()))))

    @property
    def models(self) -> list[str]:
        """Names of the baselines and of all models, each once."""
        return list(dict.fromkeys([*self.baselines, *self.ours]))

    def failures(self, dataset: str) -> dict[str, str]:
        """Return why models have no figures, by name."""
        failures = {}
        for model in self.models:
            for result in self.results[dataset, model]:
                if result.measurement is None:
                    failures[model] = result.failure
        return failures

    def segments(self, dataset: str) -> list[str]:
        """Return the segments that anything was measured in, in their order."""
        found: dict[str, None] = {}
        for model in self.models:
            for result in self.results[dataset, model]:
                found |= dict.fromkeys(result.measurement.segments if result.measurement else ())
        return list(found)

    def fit_seconds(self, dataset: str, model: str) -> float | None:
        """Return the mean time of a fit; None if a run failed."""
        times = [of.measurement.fit_seconds for of in self.results[dataset, model] if of.measurement is not None]
        return statistics.fmean(times) if len(times) == len(self.results[dataset, model]) else None

    def figures(self, dataset: str, model: str, segment: str) -> Figures | None:
        """Return what a model reached; None if a run failed or nobody was asked in the segment."""
        results = self.results[dataset, model]
        if any(result.measurement is None for result in results):
            return None
        by_seed: dict[int | None, list[SegmentMetrics]] = {}
        for result in results:
            if result.measurement is not None and segment in result.measurement.segments:
                by_seed.setdefault(result.key.seed, []).append(result.measurement.segments[segment])
        if not by_seed:
            return None
        of_seeds = [_means([block.metrics for block in blocks]) for blocks in by_seed.values()]
        blocks = [block for of_seed in by_seed.values() for block in of_seed]
        is_one_cut = len(blocks) == len(by_seed)
        ndcgs = [of["ndcg@20"] for of in of_seeds]
        return Figures(
            _means(of_seeds),
            sum(block.num_users for block in next(iter(by_seed.values()))),
            statistics.fmean(block.low for block in blocks) if is_one_cut else None,
            statistics.fmean(block.high for block in blocks) if is_one_cut else None,
            statistics.stdev(ndcgs) if len(ndcgs) > 1 else None,
        )

    def best_baseline(self, dataset: str, segment: str) -> str | None:
        """Return the baseline of the highest NDCG@20; None if there is none."""
        found = {name: self.figures(dataset, name, segment) for name in self.baselines}
        reached = {name: figures.ndcg for name, figures in found.items() if figures is not None}
        return max(reached, key=lambda name: reached[name]) if reached else None

    def against(self, dataset: str, model: str, other: str, segment: str) -> Comparison | None:
        """Hold two models against each other, question by question; None if what that takes was not kept."""
        ours, theirs = (self._of_each(dataset, name, segment) for name in (model, other))
        if not ours or not theirs or ours.keys() != theirs.keys():
            return None
        if any(not np.array_equal(ours[cut][0], theirs[cut][0]) for cut in ours):
            return None
        values = [np.concatenate([of[cut][1] for cut in ours]) for of in (ours, theirs)]
        return compare(values[0], values[1], seed=_SEED) if len(values[0]) else None

    def _of_each(
        self, dataset: str, model: str, segment: str
    ) -> dict[str, tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]]:
        """Return, by cut, the users that were asked and the NDCG of each, a mean over the seeds."""
        of_cuts: dict[str, list[Arrays]] = {}
        for result in self.results[dataset, model]:
            arrays = self.arrays(result.key)
            if f"{segment}.ndcg" not in arrays:
                return {}
            of_cuts.setdefault(result.key.split, []).append(arrays)
        return {
            cut: (
                arrays[0][f"{segment}.users"],
                np.mean([of_seed[f"{segment}.ndcg"] for of_seed in arrays], axis=0, dtype=np.float64),
            )
            for cut, arrays in of_cuts.items()
        }


def _means(of_each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        name: statistics.fmean(of[name] for of in of_each) for name in of_each[0] if all(name in of for of in of_each)
    }
