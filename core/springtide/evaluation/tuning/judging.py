"""The judgement on a search: present and found settings on the test set, which the search never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from springtide.evaluation.measures.mean_metrics import Arrays
from springtide.evaluation.measures.significance import Comparison, compare
from springtide.evaluation.tuning.cuts import Cuts
from springtide.evaluation.tuning.objective import Trial, compare_trials, ndcg_of
from springtide.settings.model import Settings

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Judgement:
    """Found settings beside the present ones, on the same users of the test set.

    Attributes:
        present: NDCG@20 of the present settings, by segment, mean over the seeds.
        found: That of the found settings.
        comparisons: The paired difference found - present, by segment, with its 95 % interval over the users, whose
            NDCG was averaged over the seeds.
        overall: The same of the score, in which segments count equally: 0.05 is a gain of 5 %.
        num_seeds: Number of seeds.
    """

    present: Mapping[str, float]
    found: Mapping[str, float]
    comparisons: Mapping[str, Comparison]
    overall: Comparison
    num_seeds: int


def measure_with_seeds(cuts: Cuts, settings: Settings, num_seeds: int) -> tuple[dict[str, float], Arrays]:
    """Train with several seeds and measure on the first cut.

    Args:
        cuts: The data set, cut at its test set.
        settings: The settings; their seed is the first one, and the next ones follow.
        num_seeds: Number of seeds, 1 or more.

    Returns:
        NDCG@20 by segment, and the NDCG@20 of each user, both as means over the seeds.

    Raises:
        TrainingError: If a model cannot be trained, or no user of the test set is in the training set.
    """
    found: list[Arrays] = []
    segments: list[str] = []
    for number in range(num_seeds):
        rates = settings.training.model_copy(update={"seed": settings.training.seed + number})
        measured = cuts.measure(0, settings.model_copy(update={"training": rates}))
        segments = list(ndcg_of(measured))
        found.append(measured.arrays)
    arrays = {f"{segment}.users": found[0][f"{segment}.users"] for segment in segments}
    for segment in segments:
        ndcg = [of_seed[f"{segment}.ndcg"].astype(np.float64) for of_seed in found]
        arrays[f"{segment}.ndcg"] = np.mean(ndcg, axis=0)
    return {segment: float(arrays[f"{segment}.ndcg"].mean()) for segment in segments}, arrays


def judge(present: Trial, found: Trial, arrays: Sequence[Arrays], num_seeds: int, seed: int) -> Judgement:
    """Compare found settings with the present ones.

    Args:
        present: NDCG@20 of the present settings on the test set.
        found: That of the found settings.
        arrays: NDCG@20 of each user by the present settings, and by those found.
        num_seeds: Number of seeds that both were averaged over.
        seed: Seed of the bootstrap.
    """
    theirs, ours = arrays
    comparisons = {
        segment: compare(
            ours[f"{segment}.ndcg"].astype(np.float64),
            theirs[f"{segment}.ndcg"].astype(np.float64),
            seed=seed,
            confidence=_CONFIDENCE,
        )
        for segment in present.ndcg
    }
    overall = compare_trials([ours], [theirs], present.of_cuts, seed=seed, confidence=_CONFIDENCE)
    return Judgement(present.ndcg, found.ndcg, comparisons, overall, num_seeds)
