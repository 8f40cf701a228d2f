"""The objective of a search over settings: NDCG on a validation set, which lies before the test set in time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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

ONE_STANDARD_ERROR = 0.6827
"""The confidence level of an interval that reaches one standard error to either side of the mean."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that were tried, and how well they rank.

    Attributes:
        study: Digest of what all trials of the study have in common.
        number: Number within the study, from 0; trial 0 has the present settings, with which the search started.
        values: Values of the search space's dimensions, by name.
        ndcg: NDCG@20 on the validation set, by segment; empty if the trial failed. Segments without queries are absent.
        num_users: Number of users with a query.
        seconds: Wall time of training and measuring.
        failure: Why the trial failed; empty if it did not.
    """

    study: str
    number: int
    values: Mapping[str, Any]
    ndcg: Mapping[str, float] = field(default_factory=dict)
    num_users: int = 0
    seconds: float = 0.0
    failure: str = ""


def cut_for_tuning(dataset: Dataset) -> tuple[Dataset, Split]:
    """Return the training set of a data set's global time split, and a split of that.

    The last 10 % of the returned data set, the test set of the returned split, is the validation set that settings are
    chosen by. The returned data set does not hold the original test set at all.

    Args:
        dataset: The whole data set.

    Raises:
        TrainingError: If the training set or the validation set is empty.
    """
    interactions = dataset.interactions
    training_set = select(interactions, global_time_split(interactions).train)
    for part, name in ((interactions, "test set"), (training_set, "validation set")):
        cut = global_time_split(part)
        if not len(cut.train) or (not len(cut.test) and part is training_set):
            raise TrainingError(
                f"wanted interactions before and in the {name}, got none on one side: "
                f"{why_empty(part, global_time_split(part, min_count=0))}; tuning needs more of them"
            )
    split = global_time_split(training_set)
    return replace(dataset, interactions=training_set), split


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


def compare_trials(ours: Arrays, theirs: Arrays, present: Mapping[str, float], *, seed: int) -> Comparison:
    """Compare the scores of two trials, user by user; the interval is one standard error to either side.

    Args:
        ours: Metrics of each query of our trial; see ``DetailedMeasurement``.
        theirs: Those of the other trial, of the same queries.
        present: NDCG@20 of the present settings, by segment.
        seed: Seed of the bootstrap.
    """
    return compare(
        scores_of_each(ours, present), scores_of_each(theirs, present), seed=seed, confidence=ONE_STANDARD_ERROR
    )


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
