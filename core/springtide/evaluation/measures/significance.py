"""How certain a metric is, and whether two models differ significantly on the same queries."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit  # scipy.stats has all that is wanted here, and takes a second to import.

_DRAWS_AT_ONCE = 2_000_000  # 16 MB of indices and as much of values; all at once would be 400 MB at 25,000 users.

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: Mean over the queries.
        low: Lower end of the interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference between two models on the same queries.

    Attributes:
        difference: Mean of our metric minus theirs.
        low: Lower end of the difference's confidence interval.
        high: Upper end.
        p_value: Two-sided p-value: probability of a difference at least this large if there were none.
        num_queries: Number of queries.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_queries: int

    @property
    def is_better(self) -> bool:
        """Whether our model is significantly better: the whole interval is above 0."""
        return self.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether our model is significantly worse: the whole interval is below 0."""
        return self.high < 0


def mean_interval(values: Float64s, *, seed: int, confidence: float = 0.95, num_resamples: int = 2_000) -> Interval:
    """Return the mean of a metric and its percentile bootstrap interval (Efron 1979).

    Each resample draws n queries with replacement.

    Args:
        values: float64 ``[n]``, the metric of each query.
        seed: Seed of the resampling: the same seed and values give the same interval.
        confidence: Confidence level, between 0 and 1.
        num_resamples: Number of resamples.

    Raises:
        ValueError: If there are no values.
    """
    if len(values) == 0:
        raise ValueError("wanted the metric of at least one query, got none")
    mean = float(values.mean())
    generator, num_at_once = np.random.default_rng(seed), max(1, _DRAWS_AT_ONCE // len(values))
    means = np.empty(num_resamples)
    for start in range(0, num_resamples, num_at_once):
        resamples = means[start : start + num_at_once]
        resamples[:] = values[generator.integers(0, len(values), (len(resamples), len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1.0 - confidence) / 2, (1.0 + confidence) / 2])
    return Interval(mean, float(low), float(high))


def compare(
    ours: Float64s, theirs: Float64s, *, seed: int, confidence: float = 0.95, num_resamples: int = 2_000
) -> Comparison:
    """Compare two models on the same queries.

    The interval is the bootstrap of the paired differences. The p-value is that of the paired two-sided t-test, which
    agrees with the randomisation test on ranking metrics and needs no draws (Smucker, Allan & Carterette 2007).

    Args:
        ours: float64 ``[n]``, our metric of each query.
        theirs: float64 ``[n]``, theirs of the same queries, in the same order.
        seed: Seed of the resampling.
        confidence: Confidence level, between 0 and 1.
        num_resamples: Number of resamples.

    Raises:
        ValueError: If there are no queries, or the two differ in length.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"wanted the same queries for both models, got {len(ours)} and {len(theirs)}")
    differences = ours - theirs
    interval = mean_interval(differences, seed=seed, confidence=confidence, num_resamples=num_resamples)
    if np.ptp(differences) == 0:  # Without variance the t-test is undefined.
        p_value = 1.0 if interval.mean == 0 or len(differences) == 1 else 0.0
    else:
        count = len(differences)
        t = differences.mean() / (differences.std(ddof=1) / np.sqrt(count))
        p_value = float(2.0 * stdtr(count - 1, -abs(t)))
    return Comparison(interval.mean, interval.low, interval.high, p_value, len(differences))


def blocks_interval(block_means: Float64s, *, confidence: float = 0.95) -> Interval | None:
    """Return the mean over the blocks of a walk forward and its t interval; None for fewer than two blocks.

    A block, not a question, is what is drawn: the questions of one block share its fashions, so pooled questions would
    make the interval too narrow. The interval is mean ± t(n - 1) · s / √n, with the blocks taken as independent.
    Their training sets overlap, so for the score of one model it is too narrow, too; for the difference between two
    models on the same blocks, which is what decides, most of what is shared cancels.

    Args:
        block_means: float64 ``[n]``, the metric's mean of each block.
        confidence: Confidence level, between 0 and 1.
    """
    count = len(block_means)
    if count < 2:
        return None
    mean = float(block_means.mean())
    reach = float(stdtrit(count - 1, 0.5 + confidence / 2) * block_means.std(ddof=1) / np.sqrt(count))
    return Interval(mean, mean - reach, mean + reach)


def compare_blocks(
    ours: Float64s, theirs: Float64s, num_queries: int, *, confidence: float = 0.95
) -> Comparison | None:
    """Compare two models on the same blocks: t interval and paired two-sided t-test of the differences of the means.

    Args:
        ours: float64 ``[n]``, our mean of each block.
        theirs: float64 ``[n]``, theirs of the same blocks, in the same order.
        num_queries: Number of queries of all blocks, for the comparison.
        confidence: Confidence level, between 0 and 1.

    Returns:
        The comparison; None for fewer than two blocks.

    Raises:
        ValueError: If the two differ in length.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"wanted the same blocks for both models, got {len(ours)} and {len(theirs)}")
    differences = ours - theirs
    interval = blocks_interval(differences, confidence=confidence)
    if interval is None:
        return None
    deviation = float(differences.std(ddof=1))
    if deviation == 0:  # Without variance the t-test is undefined.
        p_value = 1.0 if interval.mean == 0 else 0.0
    else:
        p_value = float(2.0 * stdtr(len(ours) - 1, -abs(interval.mean / deviation * np.sqrt(len(ours)))))
    return Comparison(interval.mean, interval.low, interval.high, p_value, num_queries)
