"""The objective of a search over settings: NDCG on the validation sets of cuts, which lie before the test set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.data.selection import select
from springtide.evaluation.measures.mean_metrics import ALL, NEW, Arrays, DetailedMeasurement
from springtide.evaluation.measures.significance import Comparison, compare
from springtide.evaluation.splits.empty_splits import why_empty
from springtide.evaluation.splits.time_splits import Split, global_time_split
from springtide.events.model import Interactions

ONE_STANDARD_ERROR = 0.6827
"""The confidence level of an interval that reaches one standard error to either side of the mean."""


_BLOCK_SHARE = 0.1  # Of the interactions to tune on, in each cut's validation set.


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that were tried, and how well they rank.

    Attributes:
        study: Digest of what all trials of the study have in common.
        number: Number within the study, from 0; trial 0 has the present settings, with which the search started.
        values: Values of the search space's dimensions, by name.
        of_cuts: NDCG@20 on the validation set of each cut, by segment, the latest cut first; empty if the trial failed,
            fewer than there are cuts if it was given up. Segments without queries are absent.
        num_users: Number of users with a query, over all cuts.
        seconds: Wall time of training and measuring.
        failure: Why the trial failed; empty if it did not.
        is_given_up: Whether it was so far behind the best after some of the cuts that the others were left out.
    """

    study: str
    number: int
    values: Mapping[str, Any]
    of_cuts: tuple[Mapping[str, float], ...] = ()
    num_users: int = 0
    seconds: float = 0.0
    failure: str = ""
    is_given_up: bool = False

    @property
    def ndcg(self) -> dict[str, float]:
        """Mean of NDCG@20 over the cuts that were measured and have the segment, by segment."""
        found: dict[str, list[float]] = {}
        for ndcg in self.of_cuts:
            for segment, value in ndcg.items():
                found.setdefault(segment, []).append(value)
        return {segment: fmean(values) for segment, values in found.items()}


def cuts_for_tuning(dataset: Dataset, num_cuts: int = 1) -> tuple[Dataset, list[Split]]:
    """Return the training set of a data set's global time split, and splits of that, the latest first.

    The last tenth of the returned data set is the validation set of the first split, the tenth before it that of the
    second, and so on; a split trains on all that lies before its validation set, and does not hold what lies behind it.
    The returned data set does not hold the original test set at all.

    Args:
        dataset: The whole data set.
        num_cuts: Number of splits, 1 to 8.

    Raises:
        TrainingError: If the training set or a validation set is empty.
    """
    interactions = dataset.interactions
    training_set = select(interactions, global_time_split(interactions).train)
    _check_cut(interactions, global_time_split(interactions), global_time_split(interactions, min_count=0), "test set")
    splits = []
    for cut in range(num_cuts):
        share = 1.0 - cut * _BLOCK_SHARE
        shown = training_set
        if cut:
            shown = select(training_set, np.arange(int(len(training_set) * round(share, 9))))
        split, uncut = (global_time_split(shown, _BLOCK_SHARE / share, min_count) for min_count in (5, 0))
        _check_cut(shown, split, uncut, "validation set", needs_test=True)
        splits.append(split)
    return replace(dataset, interactions=training_set), splits


def _check_cut(of: Interactions, cut: Split, uncut: Split, name: str, *, needs_test: bool = False) -> None:
    if not len(cut.train) or (needs_test and not len(cut.test)):
        raise TrainingError(
            f"wanted interactions before and in the {name}, got none on one side: {why_empty(of, uncut)}; "
            "tuning needs more of them"
        )


def ndcg_of(measured: DetailedMeasurement) -> dict[str, float]:
    """Return NDCG@20 of unseen and of all items, by segment; segments without queries are left out.

    Raises:
        TrainingError: If no segment has queries.
    """
    segments = measured.measurement.segments
    ndcg = {name: segments[name].ndcg for name in (NEW, ALL) if segments[name].num_users}
    if not ndcg:
        raise TrainingError("wanted users of the validation set that are in the training set, got none")
    return ndcg


def score(ndcg: Mapping[str, float], present: Mapping[str, float]) -> float:
    """Return the mean over the segments of NDCG relative to the present settings', so that segments count equally.

    Where the present settings have 0, the NDCG itself is used.

    Args:
        ndcg: NDCG@20 by segment.
        present: NDCG@20 of the present settings, with which the search started.
    """
    return sum(ndcg[segment] / _unit(present, segment) for segment in present) / len(present)


def score_of_cuts(trial: Trial, present: Trial) -> float:
    """Return the mean over the cuts that a trial was measured on of its score there, so that cuts count equally.

    Args:
        trial: A trial that did not fail.
        present: Trial of the present settings, measured on all cuts.
    """
    pairs = zip(trial.of_cuts, present.of_cuts, strict=False)
    return fmean(score(ndcg, at_present) for ndcg, at_present in pairs)


def compare_trials(
    ours: Sequence[Arrays],
    theirs: Sequence[Arrays],
    present: Sequence[Mapping[str, float]],
    *,
    seed: int,
    confidence: float = ONE_STANDARD_ERROR,
) -> Comparison:
    """Compare the scores of two trials, user by user and cut by cut.

    Args:
        ours: Metrics of each query of our trial, for each cut; see ``DetailedMeasurement``.
        theirs: Those of the other trial, of the same queries.
        present: NDCG@20 of the present settings for each cut, by segment.
        seed: Seed of the bootstrap.
        confidence: Confidence level of the interval; by default it reaches one standard error to either side.
    """
    pairs = list(zip(_scores_of_cuts(ours, present), _scores_of_cuts(theirs, present), strict=True))
    count = sum(len(mine) for mine, _ in pairs)
    # Each cut has a weight of 1 / number of cuts in the mean over all users, however many users it has.
    weights = [count / (len(pairs) * len(mine)) for mine, _ in pairs]
    both = [
        np.concatenate([weight * pair[side] for weight, pair in zip(weights, pairs, strict=True)]) for side in (0, 1)
    ]
    return compare(*both, seed=seed, confidence=confidence)


def _scores_of_cuts(arrays: Sequence[Arrays], present: Sequence[Mapping[str, float]]) -> list[npt.NDArray[np.float64]]:
    return [scores_of_each(of_cut, ndcg) for of_cut, ndcg in zip(arrays, present, strict=True)]


def scores_of_each(arrays: Arrays, present: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return the contribution of each user to the score, float64 ``[num_users]``: their mean is ``score``.

    Args:
        arrays: Metrics of each query of a trial.
        present: NDCG@20 of the present settings, by segment.
    """
    users = np.unique(np.concatenate([arrays[f"{segment}.users"] for segment in present]))
    scores = np.zeros(len(users))
    for segment in present:
        segment_users, ndcg = arrays[f"{segment}.users"], arrays[f"{segment}.ndcg"].astype(np.float64)
        # Not every user is in each segment, and the segments' means shall count equally.
        share = len(users) / len(segment_users) / len(present)
        scores[np.searchsorted(users, segment_users)] += share * ndcg / _unit(present, segment)
    return scores


def _unit(present: Mapping[str, float], segment: str) -> float:
    return present[segment] or 1.0
