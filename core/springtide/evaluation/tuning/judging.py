"""What a search over settings is after: a better ranking of a validation part, which lies before the test part."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.measurement import ALL, NEW, Arrays, Measured
from springtide.evaluation.measures.significance import Comparison, compare
from springtide.evaluation.protocols.questions import part_of
from springtide.evaluation.splits.time_splits import Split, global_time_split

ONE_STANDARD_ERROR = 0.6827
"""The confidence at which an interval reaches one standard error to either side."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that were tried, and how well they rank.

    Attributes:
        study: Digest of what the trials that are compared have in common.
        number: The place in the study, from 0; number 0 is the settings that the search began with.
        values: Of the dimensions of the search space.
        ndcg: NDCG@20 on validation, by segment, of those segments that were asked for; empty if it failed.
        num_users: How many were asked.
        seconds: Wall time of training and measuring.
        failure: Why it failed; empty if it did not.
    """

    study: str
    number: int
    values: Mapping[str, Any]
    ndcg: Mapping[str, float] = field(default_factory=dict)
    num_users: int = 0
    seconds: float = 0.0
    failure: str = ""


def cut_for_tuning(dataset: Dataset) -> tuple[Dataset, Split]:
    """Return the train part of a data set's global time split, and where that is cut in turn.

    The last 10 % of it, the test part of the cut that is returned, is what settings are chosen by. The test part of the
    data set itself is not even in what is returned.

    Args:
        dataset: All of it.

    Raises:
        TrainingError: If one of the two parts is empty.
    """
    interactions = dataset.interactions
    train_part = part_of(interactions, global_time_split(interactions).train)
    split = global_time_split(train_part)
    if not len(split.train) or not len(split.test):
        raise TrainingError(
            f"wanted interactions of users and items that have five on both sides of a cut in time, got none on one "
            f"side, of {len(interactions)} in all"
        )
    return replace(dataset, interactions=train_part), split


def ndcg_of(measured: Measured) -> dict[str, float]:
    """Return NDCG@20 of the segments that count, of those that were asked for.

    Raises:
        TrainingError: If nothing was asked.
    """
    segments = measured.measurement.segments
    found = {name: segments[name].ndcg for name in (NEW, ALL) if segments[name].num_users}
    if not found:
        raise TrainingError("wanted users of the validation part that the train part has, got none")
    return found


def score(ndcg: Mapping[str, float], present: Mapping[str, float]) -> float:
    """Return the mean NDCG of the segments, each as a multiple of the present settings', so that both count alike.

    Where the present settings have 0, the NDCG itself stands for the multiple.

    Args:
        ndcg: By segment.
        present: That of the settings that the search began with.
    """
    return sum(ndcg[segment] / _unit(present, segment) for segment in present) / len(present)


def compare_trials(ours: Arrays, theirs: Arrays, present: Mapping[str, float], *, seed: int) -> Comparison:
    """Compare the scores of two trials, user by user; the interval is one standard error to either side.

    Args:
        ours: What the one's result is made of: see ``springtide.evaluation.measures.measurement.Measured``.
        theirs: The other's, of the same questions.
        present: NDCG of the settings that the search began with.
        seed: Of the resamples.
    """
    return compare(
        scores_of_each(ours, present), scores_of_each(theirs, present), seed=seed, confidence=ONE_STANDARD_ERROR
    )


def scores_of_each(arrays: Arrays, present: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return what each user adds, float64 ``[num_users]``: their mean is the ``score``.

    Args:
        arrays: What a result is made of.
        present: NDCG of the settings that the search began with.
    """
    everybody = np.unique(np.concatenate([arrays[f"{segment}.users"] for segment in present]))
    scores = np.zeros(len(everybody))
    for segment in present:
        users, ndcg = arrays[f"{segment}.users"], arrays[f"{segment}.ndcg"].astype(np.float64)
        # Not everybody is in each segment, and the means over either shall count alike.
        share = len(everybody) / len(users) / len(present)
        scores[np.searchsorted(everybody, users)] += share * ndcg / _unit(present, segment)
    return scores


def _unit(present: Mapping[str, float], segment: str) -> float:
    return present[segment] or 1.0
