"""Metrics beyond accuracy, by hand."""

import numpy as np
import pytest

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.beyond_accuracy import (
    beyond_accuracy,
    coverage,
    gini,
    group_diversity,
    item_groups,
    item_popularity,
    novelty,
    popularity_rank,
    vector_diversity,
)
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import NodeUpsert
from springtide.testing import interactions_of


def test_coverage_counts_each_item_once():
    assert coverage(np.array([[0, 1], [1, -1]]), 8) == 2 / 8


def test_gini_is_that_of_all_items_shown_or_not():
    # Of four items three are shown, 1, 1 and 2 times: (2·2−5)·1 + (2·3−5)·1 + (2·4−5)·2 = 6, over 4 items × 4 times.
    assert gini(np.array([[0, 1], [0, 2]]), 4) == pytest.approx(6 / 16)
    assert gini(np.array([[0, 1], [2, 3]]), 4) == 0.0
    assert gini(np.full((5, 1), 7), 100) == pytest.approx(0.99)


def test_popularity_rank_gives_equals_their_mean():
    assert popularity_rank(np.array([[0, 1], [2, -1]]), np.array([9, 5, 5, 1])) == pytest.approx((1 + 2.5 + 2.5) / 3)


def test_novelty_is_in_bits():
    # One of 2 users had item 0, both had item 1, nobody item 2: 1, 0 and 1 bit.
    assert novelty(np.array([[0, 1, 2]]), np.array([1, 2, 0]), 2) == pytest.approx(2 / 3)


def test_group_diversity_is_the_share_of_pairs_that_differ():
    groups = np.array([0, 0, 1, -1, -1])
    assert group_diversity(np.array([[0, 1, 2]]), groups) == pytest.approx(2 / 3)
    assert group_diversity(np.array([[3, 4, -1]]), groups) == 1.0
    assert group_diversity(np.array([[0, 1, -1], [0, -1, -1]]), groups) == 0.0  # A list of one has no pair.


def test_vector_diversity_is_one_less_the_cosine():
    vectors = np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], np.float32)
    # Pairs: 1 at right angles, 2 opposite, 1 at right angles; then one at right angles alone.
    assert vector_diversity(np.array([[0, 1, 2], [0, 1, -1]]), vectors) == pytest.approx(((1 + 2 + 1) / 3 + 1) / 2)


def test_items_without_users_are_not_in_the_catalogue():
    ranked, popularity = np.array([[0, 1]]), np.array([2, 1, 0, 1])
    found = beyond_accuracy(ranked, popularity, 2, groups=np.array([0, 0, 1, 1]))
    assert found == {
        "coverage": pytest.approx(2 / 3),
        "gini": pytest.approx(1 / 3),
        "popularity_rank": pytest.approx((1 + 2.5) / 2),
        "novelty": pytest.approx(0.5),
        "diversity": 0.0,
    }


def test_popularity_counts_users_of_the_train_part():
    interactions = interactions_of([("u0", "i0", 1), ("u0", "i0", 2), ("u1", "i0", 3), ("u0", "i1", 4)])
    assert item_popularity(interactions, Split(np.arange(3), np.arange(3, 4))).tolist() == [2, 0]


def test_groups_are_of_the_first_attribute_that_items_have():
    interactions = interactions_of([("u0", "i0", 1), ("u0", "i1", 2), ("u0", "i2", 3)])
    upserts = [
        NodeUpsert("item", "i2", categories={"genre": ("war", "drama"), "type": ("a",)}),
        NodeUpsert("item", "i0", categories={"genre": ("drama",), "type": ("b",)}),
        NodeUpsert("item", "elsewhere", categories={"department": ("c",)}),
        NodeUpsert("user", "i1", categories={"genre": ("d",)}),
    ]
    dataset = Dataset("films", interactions, upserts)
    assert item_groups(dataset, ("department", "genre", "type")).tolist() == [1, -1, 0]
    assert item_groups(dataset, ("department",)).tolist() == [-1, -1, -1]
