"""The log-likelihood of a conditional logit, its Fisher information, and its maximum by Newton's method."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import lsq_linear

from springtide.training.exponents.kernels import add_covariances, add_moments

_START = 0.1
_MAX_STEPS = 50
_TOLERANCE = 2e-7  # Expected gain of the mean log-likelihood: a twentieth of a standard error at 10,000 choices.
_SUFFICIENT = 1e-4  # Share of the expected gain that a step must bring (Armijo's rule).
_SHORTEST_STEP = 1e-4
_HESSIAN_CHOICES = 512  # A sample is enough for the Hessian, since the gradient is exact.

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Choices:
    """Choices and their alternatives: one segment of rows for each choice, whose first row was chosen.

    Attributes:
        features: float32 ``[num_rows, num_features]``.
        is_seen: bool ``[num_rows]``, which of the two rows of exponents applies: 0 for unseen items, 1 for seen ones.
        corrections: float32 ``[num_rows]``, added to the log odds.
        stops: int64 ``[num_choices]``, where each segment ends.
    """

    features: npt.NDArray[np.float32]
    is_seen: npt.NDArray[np.bool_]
    corrections: npt.NDArray[np.float32]
    stops: npt.NDArray[np.int64]

    def subsample(self, count: int) -> "Choices":
        """Return about ``count`` of the choices, evenly spaced."""
        every = max(1, len(self.stops) // count)
        if every == 1:
            return self
        lengths = np.diff(self.stops, prepend=0)
        is_taken = np.arange(len(self.stops)) % every == 0
        rows = np.repeat(is_taken, lengths)
        return Choices(self.features[rows], self.is_seen[rows], self.corrections[rows], np.cumsum(lengths[is_taken]))


@dataclass(frozen=True, slots=True)
class GaussianPrior:
    """Independent normal distributions of the exponents before any choice is seen.

    Attributes:
        mean: float64 ``[2, num_features]``.
        precision: float64 ``[2, num_features]``, one over the variance, divided by the number of choices.
    """

    mean: Floats
    precision: Floats


def maximise(
    choices: Choices,
    is_free: npt.NDArray[np.bool_],
    is_signed: npt.NDArray[np.bool_],
    prior: GaussianPrior,
    start: Floats | None = None,
) -> tuple[Floats, float]:
    """Find the exponents with the highest posterior density, which is log-concave.

    Newton's method with exact gradients and the Hessian of a sample of the choices (Byrd et al. 2011, "On the use of
    stochastic Hessian information in optimization methods for machine learning"); each step solves the quadratic
    problem within the bounds. Features that are nearly collinear need no more steps than others: L-BFGS-B took 60 to
    100 passes over the rows where this takes 10.

    Args:
        choices: The choices.
        is_free: bool ``[2, num_features]``, which exponents are fitted; the others are 0.
        is_signed: bool ``[2, num_features]``, which exponents may be negative; the others are 0 or more.
        prior: Prior of the exponents; with a mean of 0 it is an L2 penalty.
        start: float64 ``[2, num_features]``, first guess; None for a constant.

    Returns:
        Exponents, float64 ``[2, num_features]``, and the mean negative log-likelihood there, the prior's part included.
    """
    free = np.flatnonzero(is_free)
    lowest = np.where(is_signed.ravel()[free], -np.inf, 0.0)
    chosen = _mean_chosen_features(choices)
    sample = choices.subsample(_HESSIAN_CHOICES)

    def loss_and_gradient(exponents: Floats) -> tuple[float, Floats]:
        log_total, expected = softmax_moments(
            choices.features, choices.is_seen, choices.corrections, choices.stops, exponents.astype(np.float32)
        )
        deviation = exponents - prior.mean
        penalty = 0.5 * float((prior.precision * deviation**2).sum())
        loss = log_total - float((chosen * exponents).sum()) + penalty
        return loss, (expected - chosen + prior.precision * deviation).ravel()[free]

    exponents = np.where(is_free, _START if start is None else start, 0.0)
    loss, gradient = loss_and_gradient(exponents)
    for _ in range(_MAX_STEPS if len(free) else 0):
        hessian = information(sample, exponents, prior)[np.ix_(free, free)]
        current = exponents.ravel()[free]
        root = np.linalg.cholesky(hessian)
        target = np.linalg.solve(root, hessian @ current - gradient)
        direction = lsq_linear(root.T, target, bounds=(lowest, np.inf), method="bvls").x - current
        expected_gain, length = -float(gradient @ direction), 1.0
        if expected_gain < _TOLERANCE:
            break
        while length > _SHORTEST_STEP:
            tried = exponents.copy()
            tried.ravel()[free] = np.maximum(current + length * direction, lowest)
            tried_loss, tried_gradient = loss_and_gradient(tried)
            if tried_loss <= loss - _SUFFICIENT * length * expected_gain:
                break
            length /= 2.0
        else:  # Single precision gets no nearer.
            break
        exponents, loss, gradient = tried, tried_loss, tried_gradient
    return exponents, loss


def information(choices: Choices, exponents: Floats, prior: GaussianPrior) -> Floats:
    """Return the mean Fisher information of a choice about the exponents, plus the prior's, float64 ``[2f, 2f]``.

    Args:
        choices: The choices.
        exponents: float64 ``[2, f]``, where the information is computed.
        prior: Prior of the exponents.
    """
    covariance: Floats = softmax_covariance(
        choices.features, choices.is_seen, choices.corrections, choices.stops, exponents.astype(np.float32)
    )
    covariance[np.diag_indices_from(covariance)] += prior.precision.ravel()
    return covariance


def _mean_chosen_features(choices: Choices) -> Floats:
    """Return the mean features of the chosen rows, float64 ``[2, num_features]``."""
    first = choices.stops - np.diff(choices.stops, prepend=0)
    chosen = np.zeros((2, choices.features.shape[1]))
    np.add.at(chosen, choices.is_seen[first].astype(int), choices.features[first])
    return chosen / len(choices.stops)


def softmax_moments(
    features: npt.NDArray[np.float32],
    is_seen: npt.NDArray[np.bool_],
    corrections: npt.NDArray[np.float32],
    stops: npt.NDArray[np.int64],
    exponents: npt.NDArray[np.float32],
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the log-sum-exp of the scores, and the expected features under their softmax: means over the choices.

    One compiled pass over arrays of millions of rows, where numpy would make ten: 8 times faster.

    Args:
        features: float32 ``[num_rows, num_features]``.
        is_seen: bool ``[num_rows]``, which of the two rows of ``exponents`` applies.
        corrections: float32 ``[num_rows]``, added to the log odds.
        stops: int64 ``[num_choices]``, where the segment of each choice ends.
        exponents: float32 ``[2, num_features]``.

    Returns:
        The mean log-sum-exp, and the mean expected features, float64 ``[2, num_features]``.
    """
    expected, weighted = np.zeros((2, features.shape[1])), np.empty((2, features.shape[1]), np.float32)
    scores = np.empty(len(features), np.float32)
    columns = _as_loops_take_them(features, is_seen, corrections, stops, exponents)
    log_total = add_moments(*columns, scores, weighted, expected)
    return log_total / len(stops), expected / len(stops)


def softmax_covariance(
    features: npt.NDArray[np.float32],
    is_seen: npt.NDArray[np.bool_],
    corrections: npt.NDArray[np.float32],
    stops: npt.NDArray[np.int64],
    exponents: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return the mean covariance of the features under the softmax of the scores, float64 ``[2f, 2f]``.

    Features of unseen items come first, then those of seen ones. For the arguments see ``softmax_moments``.
    """
    width = 2 * features.shape[1]
    covariance, second, first = np.zeros((width, width)), np.empty((width, width)), np.empty(width)
    scores = np.empty(len(features), np.float32)
    columns = _as_loops_take_them(features, is_seen, corrections, stops, exponents)
    add_covariances(*columns, scores, second, first, covariance)
    return covariance / len(stops)


def _as_loops_take_them(
    features: npt.NDArray[np.float32],
    is_seen: npt.NDArray[np.bool_],
    corrections: npt.NDArray[np.float32],
    stops: npt.NDArray[np.int64],
    exponents: npt.NDArray[np.float32],
) -> tuple[
    npt.NDArray[np.float32],
    npt.NDArray[np.uint8],
    npt.NDArray[np.float32],
    npt.NDArray[np.int64],
    npt.NDArray[np.float32],
]:
    """Return contiguous arrays, copied only where they are not."""
    return (
        np.ascontiguousarray(features, np.float32),
        np.ascontiguousarray(is_seen).view(np.uint8),
        np.ascontiguousarray(corrections, np.float32),
        np.ascontiguousarray(stops, np.int64),
        np.ascontiguousarray(exponents, np.float32),
    )
