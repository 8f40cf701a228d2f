"""Intervals by hand and by the normal law, comparisons against SciPy's t test."""

import numpy as np
import pytest
from scipy import stats

from springtide.evaluation.measures.significance import compare, mean_interval


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(1).exponential(1.0, 300)


def test_interval_of_a_mean_of_many_is_the_normal_one(values: np.ndarray) -> None:
    found = mean_interval(values, seed=0, num_resamples=20_000)
    error = values.std() / np.sqrt(len(values))
    assert found.mean == values.mean()
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.1 * error
    )


def test_interval_of_two_values_by_hand() -> None:
    # Of two draws from 0 and 1 a quarter have mean 0, half have 1/2 and a quarter have 1.
    found = mean_interval(np.array([0.0, 1.0]), seed=0, confidence=0.9, num_resamples=1_000)
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
    found = mean_interval(np.array([0.0, 1.0]), seed=0, confidence=0.4, num_resamples=1_000)
    assert (found.low, found.high) == (0.5, 0.5)


def test_interval_of_one_value_is_that_value() -> None:
    found = mean_interval(np.array([0.25]), seed=0)
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_interval_widens_with_the_confidence(values: np.ndarray) -> None:
    narrow, wide = (mean_interval(values, seed=0, confidence=confidence) for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_interval_of_values_that_are_the_same_has_no_width() -> None:
    interval = mean_interval(np.full(7, 0.25), seed=3)
    assert (interval.mean, interval.low, interval.high) == (0.25, 0.25, 0.25)


def test_interval_is_the_same_for_a_seed_and_another_for_another(values: np.ndarray) -> None:
    assert mean_interval(values, seed=5) == mean_interval(values, seed=5)
    assert mean_interval(values, seed=5) != mean_interval(values, seed=6)


def test_interval_does_not_depend_on_how_many_are_drawn_at_once(
    values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = mean_interval(values, seed=5)
    monkeypatch.setattr("springtide.evaluation.measures.significance._DRAWS_AT_ONCE", 7_000)
    assert mean_interval(values, seed=5) == at_once


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [mean_interval(generator.normal(1.0, 1.0, 100), seed=0, num_resamples=400) for _ in range(300)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in intervals)
    assert 270 <= covered <= 297


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        mean_interval(np.zeros(0), seed=0)


def test_comparison_is_that_of_the_paired_t_test(values: np.ndarray) -> None:
    theirs = values + np.random.default_rng(2).normal(0.02, 0.2, 300)
    found = compare(values, theirs, seed=0)
    test = stats.ttest_rel(values, theirs)
    expected = test.confidence_interval(0.95)
    assert found.p_value == pytest.approx(float(test.pvalue))
    assert found.difference == pytest.approx((values - theirs).mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert found.num_queries == 300


def test_small_but_steady_lead_is_found_where_two_intervals_overlap(values: np.ndarray) -> None:
    ours = values + 0.01 + np.random.default_rng(3).normal(0.0, 0.02, 300)
    assert mean_interval(ours, seed=0).low < mean_interval(values, seed=0).high
    assert compare(ours, values, seed=0).is_better
    assert compare(values, ours, seed=0).is_worse


def test_noise_is_neither_better_nor_worse() -> None:
    generator = np.random.default_rng(0)
    found = compare(generator.random(200), generator.random(200), seed=0)
    assert not found.is_better
    assert not found.is_worse
    assert found.p_value > 0.05


def test_model_does_not_differ_from_itself(values: np.ndarray) -> None:
    found = compare(values, values, seed=0)
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted the same queries for both models, got 2 and 3"):
        compare(np.zeros(2), np.zeros(3), seed=0)
