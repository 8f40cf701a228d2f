"""Intervals and p-values of rates that hold at all times together: a result may be looked at any time.

**Two groups** are compared by who converts. Users are in the other group with a known probability ``share``, drawn by
a hash that knows nothing of them. If both groups convert alike, then each user who converts is in the other group with
that probability, whenever they do and however many there are. If the odds of a conversion are ``ratio`` times as high
in the other group, it is ``share * ratio / (share * ratio + 1 - share)``. Against each such value bets a mixture, which
is drawn from a Beta distribution around ``share``: its likelihood over that of the true value is 1 in the mean at any
time, and reaches ``1 / error`` ever with a probability of at most ``error`` (Ville's inequality, 1939; Robbins,
"Statistical methods related to the law of the iterated logarithm", 1970; for experiments, Johari, Koomen, Pekelis &
Walsh, "Always valid inference", 2022). What it is that high against is ruled out. Nothing is approximated for large
numbers, and it does not matter that users who came lately have had little time to convert. It needs that the
proportion of the groups stays as it is.

**One group's rate** has an interval in the same way, by the mixture Beta(1/2, 1/2). A user who has not converted yet
counts as one who did not: so it is the rate until now.

``make prove-experiments`` replays experiments whose truth is known.
"""

import math
from collections.abc import Callable

# As if so many conversions had come by the shares: half of what the mixture tries are ratios from 0.83 to 1.21, for two
# groups of one size. Other ratios are found, too, only a bit later.
_STRENGTH = 50.0
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


def ratio_interval(first: int, other: int, share: float, error: float) -> tuple[float, float]:
    """Return the least and the highest ratio of the other group's rate to the first's that are not ruled out.

    Args:
        first: Users of the first group who converted.
        other: Users of the other group who did.
        share: Share of the other group's users among those of both, above 0 and below 1.
        error: The probability that the ratio is ever outside, above 0 and below 1.
    """
    total = first + other
    least = _log_mixture(first, other, share) + math.log(error)
    best = other / total if total else share
    low, high = _ends(lambda part: _times_log(other, part) + _times_log(first, 1.0 - part), least, best, 0.0, 1.0)

    def ratio(part: float) -> float:
        return math.inf if part >= 1.0 else part / (1.0 - part) * (1.0 - share) / share

    return ratio(low), ratio(high)


def difference_interval(first: Counts, other: Counts, share: float, error: float) -> tuple[float, float]:
    """Return the least and the highest difference of the other group's rate to the first's.

    A third of the error each is for the ratio of the rates and for both rates; what any of them rules out is out.

    Args:
        first: The first group.
        other: The other group.
        share: Share of the other group's users among those of both, above 0 and below 1.
        error: The probability that the difference is ever outside, above 0 and below 1.
    """
    low, high = ratio_interval(first.converted, other.converted, share, error / 3)
    first_low, first_high = rate_interval(first, error / 3)
    other_low, other_high = rate_interval(other, error / 3)
    lowest = (low - 1.0) * (first_low if low > 1.0 else first_high)
    highest = 1.0 if high == math.inf else (high - 1.0) * (first_high if high > 1.0 else first_low)
    return max(lowest, other_low - first_high), min(highest, other_high - first_low)


def p_value(first: int, other: int, share: float) -> float:
    """Return a p-value against equal rates: it is ever at most ``error`` with a probability of at most ``error``.

    Args:
        first: Users of the first group who converted.
        other: Users of the other group who did.
        share: Share of the other group's users among those of both, above 0 and below 1.
    """
    log_equal = other * math.log(share) + first * math.log(1.0 - share)
    return math.exp(min(0.0, log_equal - _log_mixture(first, other, share)))


def _log_mixture(first: int, other: int, share: float) -> float:
    before, others = _STRENGTH * share, _STRENGTH * (1.0 - share)
    return _log_beta(before + other, others + first) - _log_beta(before, others)


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
