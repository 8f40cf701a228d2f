"""The likelihood of choices: its information is the slope of its gradient, and scipy finds the same maximum."""

import numpy as np
import pytest
from scipy.optimize import minimize

from springtide.training.exponents.likelihood import (
    Choices,
    GaussianPrior,
    information,
    maximise,
    softmax_covariance,
    softmax_moments,
)

NUM_CHOICES, NUM_FEATURES = 2_000, 4


def test_covariance_is_the_slope_of_the_expected_features():
    generator = np.random.default_rng(0)
    features, is_seen = generator.normal(size=(60, 3)).astype(np.float32), generator.random(60) < 0.4
    corrections, stops = generator.normal(size=60).astype(np.float32), np.array([20, 45, 60])
    at = generator.normal(size=(2, 3)).astype(np.float32)
    covariance = softmax_covariance(features, is_seen, corrections, stops, at)
    step = np.float32(1e-2)
    for index in range(6):
        up, down = at.copy(), at.copy()
        up.flat[index] += step
        down.flat[index] -= step
        expected = [softmax_moments(features, is_seen, corrections, stops, point)[1].ravel() for point in (up, down)]
        np.testing.assert_allclose(covariance[index], (expected[0] - expected[1]) / (2 * step), atol=2e-3)


def choices_of(similarity: float = 0.0) -> Choices:
    """Return choices among 10 to 30 alternatives; the last feature is nearly the first, by its correlation."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(10, 31, NUM_CHOICES)
    features = generator.normal(size=(lengths.sum(), NUM_FEATURES)).astype(np.float32)
    features[:, -1] = similarity * features[:, 0] + np.sqrt(1.0 - similarity**2) * features[:, -1]
    is_seen = generator.random(len(features)) < 0.3
    true = np.array([[1.0, -0.7, 0.0, 0.5], [0.5, 0.0, 2.0, 0.0]])
    logits = (features * true[is_seen.astype(int)]).sum(1) + generator.gumbel(size=len(features))
    stops = np.cumsum(lengths)
    for start, stop in zip(stops - lengths, stops, strict=True):  # The one that was chosen comes first.
        best = start + int(logits[start:stop].argmax())
        for column in (features, is_seen):
            column[[start, best]] = column[[best, start]]
    return Choices(features, is_seen, np.zeros(len(features), np.float32), stops)


def negative_log(choices: Choices, prior: GaussianPrior, exponents: np.ndarray) -> float:
    """Return the mean negative log-likelihood, in plain numpy and double precision."""
    scores = (choices.features.astype(np.float64) * exponents[choices.is_seen.astype(int)]).sum(1)
    first = choices.stops - np.diff(choices.stops, prepend=0)
    totals = np.log(np.add.reduceat(np.exp(scores), first))
    off = 0.5 * (prior.precision * (exponents - prior.mean) ** 2).sum()
    return float((totals - scores[first]).mean() + off)


def prior_of(mean: float = 0.0, precision: float = 1e-3) -> GaussianPrior:
    return GaussianPrior(np.full((2, NUM_FEATURES), mean), np.full((2, NUM_FEATURES), precision))


@pytest.mark.parametrize("similarity", [0.0, 0.999])
@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize("prior", [prior_of(), prior_of(1.0, 0.2)])
def test_maximum_is_where_scipy_finds_it(similarity, is_signed, prior):
    choices, signed = choices_of(similarity), np.full((2, NUM_FEATURES), is_signed)
    found, loss = maximise(choices, np.ones((2, NUM_FEATURES), bool), signed, prior)
    peak = minimize(
        lambda at: negative_log(choices, prior, at.reshape(2, -1)),
        np.zeros(2 * NUM_FEATURES),
        bounds=[(None, None) if is_signed else (0.0, None)] * 2 * NUM_FEATURES,
    )
    assert loss == pytest.approx(peak.fun, abs=2e-6)
    np.testing.assert_allclose(found.ravel(), peak.x, atol=0.03 if similarity else 5e-3)
    assert is_signed or (found >= 0.0).all()


def test_exponents_that_are_not_free_are_0():
    is_free = np.ones((2, NUM_FEATURES), bool)
    is_free[0, 1] = is_free[1, 2] = False
    found, _ = maximise(choices_of(), is_free, np.ones_like(is_free), prior_of())
    assert found[0, 1] == found[1, 2] == 0.0
    assert (found[is_free] != 0.0).all()


def test_loss_without_free_exponents_is_that_of_zeros():
    none = np.zeros((2, NUM_FEATURES), bool)
    found, loss = maximise(choices_of(), none, none, prior_of())
    assert not found.any()
    assert loss == pytest.approx(negative_log(choices_of(), prior_of(), found), abs=1e-5)


def test_start_at_the_maximum_stays_there():
    every = np.ones((2, NUM_FEATURES), bool)
    found, loss = maximise(choices_of(), every, every, prior_of())
    again, loss_again = maximise(choices_of(), every, every, prior_of(), found)
    np.testing.assert_allclose(again, found, atol=2e-3)
    assert loss_again == pytest.approx(loss, abs=1e-6)


def test_prior_adds_its_precision_to_the_information():
    choices, at = choices_of(), np.zeros((2, NUM_FEATURES))
    more = information(choices, at, prior_of(precision=0.5)) - information(choices, at, prior_of(precision=0.0))
    np.testing.assert_allclose(more, 0.5 * np.eye(2 * NUM_FEATURES), atol=1e-6)


def test_subsample_keeps_whole_choices():
    choices = choices_of()
    sample = choices.subsample(100)
    assert len(sample.stops) == 100
    lengths, sample_lengths = np.diff(choices.stops, prepend=0), np.diff(sample.stops, prepend=0)
    np.testing.assert_array_equal(sample_lengths, lengths[::20])
    np.testing.assert_array_equal(sample.features[: sample_lengths[0]], choices.features[: lengths[0]])
    assert choices.subsample(NUM_CHOICES) is choices
