"""Intervals of rates, and of their differences, that hold at all times together: a result may be looked at any time.

The model of each group is a mixture: before anything is seen, its rate is drawn from Beta(1/2, 1/2). Under rates that
are the true ones, the likelihood of the mixture over theirs is on average 1, at any time, and reaches ``1 / error``
ever with a probability of at most ``error`` (Ville's inequality, 1939; Robbins, "Statistical methods related to the
law of the iterated logarithm", 1970). So rates under which it is that high are ruled out, and those that remain are an
interval that holds at all times with that error. For a difference of two rates, the likelihood is the highest that any
two rates with that difference have (Wasserman, Ramdas & Balakrishnan, "Universal inference", PNAS 2020):
what is left out then is no less sure. Nothing is assumed of how many are in which group, nor of when somebody
looks, and nothing is approximated for large numbers.

A user who has not converted yet counts as one who did not. So rates are those until now. Of a variant that changes
nothing, conversions come as late as of the other one, and the guarantee of the difference is kept; ``make bench`` has
the replays that show it.
"""

import math
from collections.abc import Callable

_HALVINGS = 60  # Then an end is known to 10^-16.


class Counts:
    """How many of a group converted.

    Args:
        converted: How many did, 0 to ``total``.
        total: How many there are.

    Raises:
        ValueError: If ``converted`` is out of range.
    """

    __slots__ = ("converted", "log_mixture", "rate", "total")

    def __init__(self, converted: int, total: int) -> None:
        if not 0 <= converted <= total:
            raise ValueError(f"wanted 0 to {total} conversions, got {converted}")
        self.converted = converted
        self.total = total
        self.rate = converted / total if total else 0.0
        self.log_mixture = _log_beta(converted + 0.5, total - converted + 0.5) - _log_beta(0.5, 0.5)

    def log_likelihood(self, rate: float) -> float:
        """Return the log of how likely a sequence with these counts is."""
        return _times_log(self.converted, rate) + _times_log(self.total - self.converted, 1.0 - rate)


def rate_interval(counts: Counts, error: float) -> tuple[float, float]:
    """Return the least and the highest rate that are not ruled out.

    Args:
        counts: The group.
        error: The probability that the rate is ever outside, above 0 and below 1.
    """
    least = counts.log_mixture + math.log(error)
    return _ends(counts.log_likelihood, least, counts.rate, 0.0, 1.0)


def difference_interval(first: Counts, other: Counts, error: float) -> tuple[float, float]:
    """Return the least and the highest difference of the other group's rate to the first's that are not ruled out.

    Args:
        first: The first group.
        other: The other group.
        error: The probability that the difference is ever outside, above 0 and below 1.
    """
    least = first.log_mixture + other.log_mixture + math.log(error)
    return _ends(lambda difference: _log_profile(first, other, difference), least, other.rate - first.rate, -1.0, 1.0)


def p_value(first: Counts, other: Counts) -> float:
    """Return a p-value against no difference: it is ever at most ``error`` with a probability of at most ``error``."""
    return min(1.0, math.exp(min(0.0, _log_profile(first, other, 0.0) - first.log_mixture - other.log_mixture)))


def _log_profile(first: Counts, other: Counts, difference: float) -> float:
    """Return the highest log-likelihood of two rates of a difference; it is concave in the first rate."""
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        if _slope(first, rate) + _slope(other, rate + difference) > 0:
            low = rate
        else:
            high = rate
    rate = (low + high) / 2
    return first.log_likelihood(rate) + other.log_likelihood(rate + difference)


def _slope(counts: Counts, rate: float) -> float:
    slope, others = 0.0, counts.total - counts.converted
    if counts.converted:
        slope += math.inf if rate <= 0.0 else counts.converted / rate
    if others:
        slope -= math.inf if rate >= 1.0 else others / (1.0 - rate)
    return slope


def _ends(
    log_likelihood: Callable[[float], float], least: float, best: float, low: float, high: float
) -> tuple[float, float]:
    """Return where a concave function that is highest at ``best`` falls below a bound, on either side."""

    def end(inside: float, outside: float) -> float:
        if log_likelihood(outside) >= least:
            return outside
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            if log_likelihood(middle) >= least:
                inside = middle
            else:
                outside = middle
        return outside  # On the safe side.

    return end(best, low), end(best, high)


def _times_log(times: int, of: float) -> float:
    if not times:
        return 0.0
    return -math.inf if of <= 0.0 else times * math.log(of)


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)
