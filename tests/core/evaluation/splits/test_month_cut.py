"""Cuts at the end of a month, by hand."""

from datetime import UTC, datetime

import pytest

from springtide.clock import MS_PER_DAY
from springtide.evaluation.splits.month_cut import cut_at_month
from springtide.testing import interactions_of


def ms(month: int, day: int) -> int:
    return int(datetime(2020, month, day, tzinfo=UTC).timestamp() * 1000)


def test_months_are_cut_where_they_end():
    events = [("u", "a", ms(1, 1)), ("u", "b", ms(1, 31)), ("u", "a", ms(2, 1)), ("u", "b", ms(2, 29))]
    shown, split = cut_at_month(interactions_of([*events, ("u", "a", ms(3, 1))]), 1, min_count=1)
    assert len(shown) == 4
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1], [2, 3])


def test_december_is_what_november_is_asked_for():
    events = [("u", "a", ms(11, 30)), ("u", "a", ms(12, 1)), ("u", "a", ms(12, 31) + MS_PER_DAY)]
    shown, split = cut_at_month(interactions_of(events), 11, min_count=1)
    assert (len(shown), split.train.tolist(), split.test.tolist()) == (2, [0], [1])


def test_every_cut_is_exact():
    """The split takes a share, and rounds: it must not be off by one, at any size."""
    events = [("u", "a", ms(1, 1) + number) for number in range(97)]
    for num_test in (1, 2, 3, 50, 96):
        later = [("u", "a", ms(2, 1) + number) for number in range(num_test)]
        for num_train in (1, 2, 49, 97):
            _, split = cut_at_month(interactions_of([*events[:num_train], *later]), 1, min_count=1)
            assert (len(split.train), len(split.test)) == (num_train, num_test)


def test_month_without_interactions_is_refused():
    with pytest.raises(ValueError, match="month 1 of 2020"):
        cut_at_month(interactions_of([("u", "a", ms(1, 1)), ("u", "a", ms(3, 1))]), 1, min_count=1)
