"""Measurements of ranked lists, by hand."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.mean_metrics import DetailedMeasurement
from springtide.evaluation.measures.metrics import K
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.queries import UserQueries
from springtide.evaluation.splits.time_splits import Split
from springtide.testing import interactions_of


def measured_by_hand(*lists: list[int]) -> DetailedMeasurement:
    """u0 had a, and chooses a and c; u1 had b, and chooses b and d; items a to d have codes 0 to 3."""
    day = MS_PER_DAY
    train = [("u0", "a", 0), ("u1", "b", 10 * day), ("u2", "c", 99 * day), ("u2", "d", 99 * day)]
    test = [("u0", "a", 100 * day), ("u0", "c", 100 * day), ("u1", "b", 100 * day), ("u1", "d", 100 * day)]
    dataset = Dataset("by hand", interactions_of([*train, *test]), [])
    split = Split(np.arange(4), np.arange(4, 8))
    queries = UserQueries(dataset.interactions, split, lambda progress: None)

    def rank_items(users: np.ndarray, is_unseen_only: bool) -> np.ndarray:
        ranked = np.full((len(users), K), -1, np.int64)
        for row, user in enumerate(users):
            ranked[row, : len(lists[user])] = lists[user]
        return ranked

    return Measurer(dataset, split, queries, ()).measure(rank_items, 1.5)


def test_new_repeat_and_all_by_hand() -> None:
    found = measured_by_hand([0, 2], [3, 0]).measurement
    assert found.fit_seconds == 1.5
    assert {name: found.segments[name].recall for name in ("new", "repeat", "all")} == {
        "new": 1.0,  # c, and d.
        "repeat": 0.5,  # a, but not b.
        "all": 0.75,
    }
    first, second = 1.0, 1 / np.log2(3)
    # Ranks: a 1, c 2, b not ranked, d 1.
    assert found.segments["repeat"].ndcg == pytest.approx((first + 0) / 2)
    assert found.segments["new"].ndcg == pytest.approx((second + first) / 2)
    assert found.segments["all"].ndcg == pytest.approx((1 + first / (first + second)) / 2)


def test_only_items_of_a_segment_by_age_are_relevant_in_it() -> None:
    found = measured_by_hand([0, 2], [3, 0]).measurement
    young, old = found.segments["all: item age < 7 days"], found.segments["all: item age >= 90 days"]
    assert (young.recall, young.num_users) == (1.0, 2)  # c of u0, d of u1.
    assert (old.recall, old.num_users) == (1.0, 1)  # a of u0; b is 89 days old.
    assert found.segments["all: item age 28-89 days"].recall == 0.0


def test_kept_arrays_have_the_reported_mean() -> None:
    found = measured_by_hand([0, 2], [3, 0])
    for segment in ("new", "repeat", "all"):
        assert found.arrays[f"{segment}.users"].tolist() == [0, 1]
        mean = found.measurement.segments[segment].ndcg
        assert found.arrays[f"{segment}.ndcg"].mean() == pytest.approx(mean, abs=1e-6)
        assert found.measurement.segments[segment].low <= mean <= found.measurement.segments[segment].high


def test_lists_have_metrics_beyond_accuracy() -> None:
    metrics = measured_by_hand([0, 2], [3, 0]).measurement.segments["all"].metrics
    assert metrics["coverage@20"] == 0.75  # All but b.
