"""How sure a figure is, and whether one model is really better than another on the same questions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

_DRAWS_AT_ONCE = 2_000_000  # 16 MB of positions and as much of values; all at once would be 400 MB at 25,000 users.

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and where it may lie.

    Attributes:
        mean: Over the questions.
        low: Lower end of the confidence interval.
        high: Its upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same questions.

    Attributes:
        difference: Mean of ours less theirs.
        low: Lower end of the difference's confidence interval.
        high: Its upper end.
        p_value: How likely a difference as large would be, either way, if there were none.
        num_questions: On how many questions.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_questions: int

    @property
    def is_better(self) -> bool:
        """Whether ours is better beyond doubt: the whole interval is above 0."""
        return self.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether ours is worse beyond doubt: the whole interval is below 0."""
        return self.high < 0


def mean_interval(values: Float64s, *, seed: int, confidence: float = 0.95, num_resamples: int = 2_000) -> Interval:
    """Return the mean of a metric and its percentile bootstrap interval.

    Efron 1979; questions (users) are drawn with replacement, as many as there are.

    Args:
        values: float64 ``[n]``, the metric of each question.
        seed: Of the draws: the same seed and values give the same interval.
        confidence: Such as 0.95.
        num_resamples: How many times all are drawn.

    Raises:
        ValueError: If there are no values.
    """
    if len(values) == 0:
        raise ValueError("wanted the metric of at least one question, got none")
    mean = float(values.mean())
    if len(values) == 1:  # Drawn again and again it stays what it is; SciPy wants two.
        return Interval(mean, mean, mean)
    ends = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=num_resamples,
        batch=max(1, _DRAWS_AT_ONCE // len(values)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(ends.low), float(ends.high))


def compare(
    ours: Float64s, theirs: Float64s, *, seed: int, confidence: float = 0.95, num_resamples: int = 2_000
) -> Comparison:
    """Compare two models on the same questions.

    The interval is the bootstrap of the differences, question by question; p is that of the paired t test, two-sided,
    which on rankings agrees with the randomisation test and needs no draws (Smucker, Allan & Carterette 2007).

    Args:
        ours: float64 ``[n]``, the metric of each question.
        theirs: float64 ``[n]``, of the same questions in the same order.
        seed: Of the draws.
        confidence: Such as 0.95.
        num_resamples: How many times all are drawn.

    Raises:
        ValueError: If there are no questions, or not as many of the one as of the other.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"wanted the same questions of both, got {len(ours)} and {len(theirs)}")
    differences = ours - theirs
    interval = mean_interval(differences, seed=seed, confidence=confidence, num_resamples=num_resamples)
    if np.ptp(differences) == 0:  # No spread, of which the t test could make nothing.
        p_value = 1.0 if interval.mean == 0 or len(differences) == 1 else 0.0
    else:
        p_value = float(stats.ttest_rel(ours, theirs).pvalue)
    return Comparison(interval.mean, interval.low, interval.high, p_value, len(differences))
