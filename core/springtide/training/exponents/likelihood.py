"""The likelihood of choices among alternatives as log-linear odds, its curvature, and where it is highest."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.optimize import lsq_linear

LOWEST = np.float32(-3e38)
_START = 0.1
_MAX_STEPS = 50
_ENOUGH = 2e-7  # Gain of the mean log-likelihood still in sight: a twentieth of a standard error at 10,000 choices.
_SUFFICIENT = 1e-4  # Share of the gain in sight that a step must bring (Armijo).
_SHORTEST_STEP = 1e-4
_CURVATURE_SEGMENTS = 512  # Of how many the curvature is taken: it need not be exact, the gradient is.

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Alternatives, one segment for each choice, one behind the other; the first of each segment was chosen.

    Attributes:
        features: float32 ``[num_rows, num_features]``.
        is_seen: bool ``[num_rows]``, which of the two rows of exponents holds.
        corrections: float32 ``[num_rows]``, added to the log odds.
        stops: int64 ``[num_segments]``, where each segment ends.
    """

    features: npt.NDArray[np.float32]
    is_seen: npt.NDArray[np.bool_]
    corrections: npt.NDArray[np.float32]
    stops: npt.NDArray[np.int64]

    def some(self, most: int) -> "Rows":
        """Return segments at equal distances, about so many."""
        every = max(1, len(self.stops) // most)
        if every == 1:
            return self
        lengths = np.diff(self.stops, prepend=0)
        is_taken = np.arange(len(self.stops)) % every == 0
        rows = np.repeat(is_taken, lengths)
        return Rows(self.features[rows], self.is_seen[rows], self.corrections[rows], np.cumsum(lengths[is_taken]))


@dataclass(frozen=True, slots=True)
class GaussianPrior:
    """What is believed of exponents before any choice is seen: that they are normal, each for itself.

    Attributes:
        mean: float64 ``[2, num_features]``.
        precision: float64 ``[2, num_features]``, one over the variance, divided by the number of choices.
    """

    mean: Floats
    precision: Floats


def maximise(
    rows: Rows,
    is_free: npt.NDArray[np.bool_],
    is_signed: npt.NDArray[np.bool_],
    belief: GaussianPrior,
    start: Floats | None = None,
) -> tuple[Floats, float]:
    """Find where the likelihood times the belief, which is log-concave, is highest.

    Newton's method with exact gradients and the curvature of a part of the choices (Byrd et al. 2011, "On the use of
    stochastic Hessian information in optimization methods for machine learning"); each step solves the quadratic
    within the bounds. Features that say nearly the same cost no more steps than others: L-BFGS-B took 60 to 100 passes
    over the rows where this takes 10.

    Args:
        rows: The choices.
        is_free: bool ``[2, num_features]``; the exponents of the others are 0.
        is_signed: bool ``[2, num_features]``; the exponents of the others are 0 or more.
        belief: In the exponents; a mean of 0 draws them to 0.
        start: float64 ``[2, num_features]``, where to begin; None for anywhere.

    Returns:
        Exponents, float64 ``[2, num_features]``, and the mean negative log-likelihood there with the belief's part.
    """
    sought = np.flatnonzero(is_free)
    lowest = np.where(is_signed.ravel()[sought], -np.inf, 0.0)
    chosen = _chosen(rows)
    part = rows.some(_CURVATURE_SEGMENTS)

    def loss_and_gradient(exponents: Floats) -> tuple[float, Floats]:
        log_total, expected = softmax_moments(
            rows.features, rows.is_seen, rows.corrections, rows.stops, exponents.astype(np.float32)
        )
        off = exponents - belief.mean
        loss = log_total - float((chosen * exponents).sum()) + 0.5 * float((belief.precision * off**2).sum())
        return loss, (expected - chosen + belief.precision * off).ravel()[sought]

    exponents = np.where(is_free, _START if start is None else start, 0.0)
    loss, gradient = loss_and_gradient(exponents)
    for _ in range(_MAX_STEPS if len(sought) else 0):
        curvature = information(part, exponents, belief)[np.ix_(sought, sought)]
        here = exponents.ravel()[sought]
        root = np.linalg.cholesky(curvature)
        wanted = np.linalg.solve(root, curvature @ here - gradient)
        direction = lsq_linear(root.T, wanted, bounds=(lowest, np.inf), method="bvls").x - here
        in_sight, length = -float(gradient @ direction), 1.0
        if in_sight < _ENOUGH:
            break
        while length > _SHORTEST_STEP:
            tried = exponents.copy()
            tried.ravel()[sought] = np.maximum(here + length * direction, lowest)
            loss_there, gradient_there = loss_and_gradient(tried)
            if loss_there <= loss - _SUFFICIENT * length * in_sight:
                break
            length /= 2.0
        else:  # As near as single precision comes.
            break
        exponents, loss, gradient = tried, loss_there, gradient_there
    return exponents, loss


def information(rows: Rows, exponents: Floats, belief: GaussianPrior) -> Floats:
    """Return what one choice tells of the exponents, the belief's part included, float64 ``[2 · f, 2 · f]``."""
    covariance: Floats = softmax_covariance(
        rows.features, rows.is_seen, rows.corrections, rows.stops, exponents.astype(np.float32)
    )
    covariance[np.diag_indices_from(covariance)] += belief.precision.ravel()
    return covariance


def _chosen(rows: Rows) -> Floats:
    """Return the mean of the chosen rows' features, float64 ``[2, num_features]``."""
    first = rows.stops - np.diff(rows.stops, prepend=0)
    chosen = np.zeros((2, rows.features.shape[1]))
    np.add.at(chosen, rows.is_seen[first].astype(int), rows.features[first])
    return chosen / len(rows.stops)


@njit(cache=True, nogil=True, fastmath=True)
def softmax_moments(
    features: npt.NDArray[np.float32],
    is_seen: npt.NDArray[np.bool_],
    corrections: npt.NDArray[np.float32],
    stops: npt.NDArray[np.int64],
    exponents: npt.NDArray[np.float32],
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return, over segments, the mean log of the summed odds, and the mean of the features that odds expect.

    One pass instead of ten over arrays of millions of rows: 8 times faster here than the same in numpy.

    Args:
        features: float32 ``[num_rows, num_features]``.
        is_seen: bool ``[num_rows]``, which of the two rows of ``exponents`` holds.
        corrections: float32 ``[num_rows]``, added to the log odds.
        stops: int64 ``[num_segments]``, where each segment of rows ends.
        exponents: float32 ``[2, num_features]``.

    Returns:
        The mean, and float64 ``[2, num_features]``.
    """
    num_features = features.shape[1]
    expected = np.zeros((2, num_features))
    of_segment = np.zeros((2, num_features), np.float32)
    scores = np.zeros(len(features), np.float32)
    log_total = 0.0
    start = 0
    for stop in stops:
        highest = LOWEST  # Not -inf: fast mathematics may assume that there is none.
        for row in range(start, stop):
            side = int(is_seen[row])
            score = corrections[row]
            for feature in range(num_features):
                score += features[row, feature] * exponents[side, feature]
            scores[row] = score
            highest = max(highest, score)
        total = np.float32(0.0)
        of_segment[:] = 0.0
        for row in range(start, stop):
            side = int(is_seen[row])
            odds = np.exp(scores[row] - highest)
            total += odds
            for feature in range(num_features):
                of_segment[side, feature] += odds * features[row, feature]
        log_total += np.log(total) + highest
        expected += of_segment / total
        start = stop
    return log_total / len(stops), expected / len(stops)


@njit(cache=True, nogil=True)
def softmax_covariance(
    features: npt.NDArray[np.float32],
    is_seen: npt.NDArray[np.bool_],
    corrections: npt.NDArray[np.float32],
    stops: npt.NDArray[np.int64],
    exponents: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return, over segments, the mean covariance of the features under the odds, float64 ``[2 · f, 2 · f]``.

    Features of new items come first, then those of own ones. For the arguments see ``softmax_moments``.
    """
    num_features = features.shape[1]
    covariance = np.zeros((2 * num_features, 2 * num_features))
    second, first = np.zeros_like(covariance), np.zeros(2 * num_features)
    start = 0
    for stop in stops:
        highest = -np.inf
        for row in range(start, stop):
            score = corrections[row]
            for feature in range(num_features):
                score += features[row, feature] * exponents[int(is_seen[row]), feature]
            highest = max(highest, score)
        total = 0.0
        second[:] = 0.0
        first[:] = 0.0
        for row in range(start, stop):
            side = int(is_seen[row])
            score = corrections[row]
            for feature in range(num_features):
                score += features[row, feature] * exponents[side, feature]
            odds = np.exp(score - highest)
            total += odds
            shift = side * num_features
            for one in range(num_features):
                scaled = odds * features[row, one]
                first[shift + one] += scaled
                for other in range(num_features):
                    second[shift + one, shift + other] += scaled * features[row, other]
        for one in range(2 * num_features):
            for other in range(2 * num_features):
                covariance[one, other] += second[one, other] / total - first[one] * first[other] / total**2
        start = stop
    return covariance / len(stops)
