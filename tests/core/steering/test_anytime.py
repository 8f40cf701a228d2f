"""Intervals that may be looked at any time: they hold, and they find what there is."""

import math
import random

import pytest

from springtide.steering.anytime import Counts, difference_interval, p_value, rate_interval, ratio_interval


def test_nothing_is_known_of_an_empty_group() -> None:
    empty = Counts(0, 0)

    assert rate_interval(empty, 0.05) == (0.0, 1.0)
    assert ratio_interval(0, 0, 0.3, 0.05) == (0.0, math.inf)
    assert difference_interval(empty, empty, 0.5, 0.05) == (-1.0, 1.0)
    assert p_value(0, 0, 0.3) == 1.0


def test_interval_of_one_trial_is_worked_out_by_hand() -> None:
    # The mixture gives one success 1/2; so rates below error / 2 are ruled out.
    assert rate_interval(Counts(1, 1), 0.05) == (pytest.approx(0.025), 1.0)
    assert rate_interval(Counts(0, 1), 0.05) == (0.0, pytest.approx(0.975))


def test_p_value_of_few_conversions_is_worked_out_by_hand() -> None:
    # As if 25 of each had come before: the first conversion has 25 / 50 in the mixture, as without a difference.
    assert p_value(0, 1, 0.5) == pytest.approx(1.0)
    # The next ones have 26 / 51, 27 / 52 …, which is the more the more there were.
    mixture = math.prod((25 + number) / (50 + number) for number in range(40))
    assert p_value(0, 40, 0.5) == pytest.approx(2**-40 / mixture, rel=1e-9)
    assert p_value(40, 0, 0.5) == pytest.approx(2**-40 / mixture, rel=1e-9)


@pytest.mark.parametrize(("first", "other", "share"), [(100, 160, 0.5), (40, 25, 0.2), (500, 520, 0.5), (90, 10, 0.4)])
def test_interval_and_p_value_agree(first: int, other: int, share: float) -> None:
    p = p_value(first, other, share)

    for error in (0.9 * p, 1.1 * p):
        low, high = ratio_interval(first, other, share, min(error, 0.999))
        assert low <= other * (1 - share) / (first * share) <= high
        assert (low > 1.0 or high < 1.0) == (error > p and p < 0.9)


def test_ratios_of_swapped_groups_are_inverse() -> None:
    low, high = ratio_interval(30, 55, 0.3, 0.05)

    assert ratio_interval(55, 30, 0.7, 0.05) == (pytest.approx(1 / high), pytest.approx(1 / low))


def test_difference_has_the_signs_of_the_ratio() -> None:
    assert difference_interval(Counts(100, 1000), Counts(200, 1000), 0.5, 0.05)[0] > 0.0
    assert difference_interval(Counts(200, 1000), Counts(100, 1000), 0.5, 0.05)[1] < 0.0
    low, high = difference_interval(Counts(100, 1000), Counts(101, 1000), 0.5, 0.05)
    assert low < 0.0 < high


def test_p_value_is_low_at_some_time_in_few_runs_without_a_difference() -> None:
    chance, num_low = random.Random(2), 0
    for _ in range(300):
        counts, lowest = [0, 0], 1.0
        for _ in range(1_000):
            counts[chance.random() < 0.3] += 1
            lowest = min(lowest, p_value(*counts, 0.3))
        num_low += lowest <= 0.1

    assert num_low <= 46  # Of 300 at 10 %: more than that by chance in one of 1,000 at most.


def test_rate_is_in_its_interval_at_all_times_in_most_runs() -> None:
    chance, num_out = random.Random(1), 0
    for _ in range(200):
        converted, is_out = 0, False
        for total in range(1, 400):
            converted += chance.random() < 0.1
            # An end is as far as the likelihood says: no need to look for it.
            counts = Counts(converted, total)
            is_out |= counts.log_likelihood(0.1) < counts.log_mixture + math.log(0.1)
        num_out += is_out

    assert num_out <= 33  # Of 200 at 10 %: more than that by chance in one of 1,000 at most.


def test_counts_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted 0 to 3"):
        Counts(4, 3)
