"""The context weight does what every context weight must do, and what this one is for."""

import pytest
from my_part import MyPart

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Moment
from springtide.testing import check_context_weight, history_of


def test_it_does_what_every_context_weight_must_do() -> None:
    """With its defaults and without."""
    check_context_weight(MyPart)
    check_context_weight(MyPart, half_life_days=1.0)


def test_the_last_time_counts() -> None:
    """Item 4 was had a half-life ago and long before; item 9 two half-lives ago."""
    history = history_of([(4, 0), (4, 93 * MS_PER_DAY), (9, 86 * MS_PER_DAY)])

    lifts = MyPart(half_life_days=7.0).history_log_lifts(history, Moment(100 * MS_PER_DAY))

    assert lifts.tolist() == [pytest.approx([0.5, 0.25])]
