"""Intervals that may be looked at any time: they hold, and they find what there is."""

import math
import random

import pytest

from springtide.steering.anytime import Counts, difference_interval, p_value, rate_interval


def test_nothing_is_known_of_an_empty_group() -> None:
    empty = Counts(0, 0)

    assert rate_interval(empty, 0.05) == (0.0, 1.0)
    assert difference_interval(empty, empty, 0.05) == (-1.0, 1.0)
    assert p_value(empty, empty) == 1.0


def test_interval_of_one_trial_is_worked_out_by_hand() -> None:
    # The mixture gives one success 1/2; so rates below error / 2 are ruled out.
    assert rate_interval(Counts(1, 1), 0.05) == (pytest.approx(0.025), 1.0)
    assert rate_interval(Counts(0, 1), 0.05) == (0.0, pytest.approx(0.975))


def test_p_value_of_two_trials_is_worked_out_by_hand() -> None:
    # Mixtures give 1/2 each; the best common rate, 1/2, gives 1/4: nothing speaks against it.
    assert p_value(Counts(0, 1), Counts(1, 1)) == 1.0
    # 10 of 10 against 0 of 10: the mixture of each is 0.1762, that of a common rate of 1/2 is 2^-20.
    mixture = math.exp(Counts(10, 10).log_mixture)
    assert mixture == pytest.approx(0.17620, abs=1e-5)
    assert p_value(Counts(0, 10), Counts(10, 10)) == pytest.approx(2**-20 / mixture**2, rel=1e-6)


@pytest.mark.parametrize(("first", "other"), [((30, 400), (55, 390)), ((0, 50), (3, 60)), ((40, 40), (10, 10))])
def test_interval_and_p_value_agree(first: tuple[int, int], other: tuple[int, int]) -> None:
    a, b = Counts(*first), Counts(*other)
    p = p_value(a, b)

    for error in (0.9 * p, 1.1 * p):
        low, high = difference_interval(a, b, min(error, 0.999))
        assert low <= b.rate - a.rate <= high
        assert (low > 0.0 or high < 0.0) == (error > p and p < 0.9)


def test_intervals_are_mirrored() -> None:
    a, b = Counts(30, 400), Counts(55, 390)
    low, high = difference_interval(a, b, 0.05)

    assert difference_interval(b, a, 0.05) == (pytest.approx(-high), pytest.approx(-low))


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
