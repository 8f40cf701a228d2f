"""The context weight passes the checks of every context weight, and computes what it is meant to."""

import pytest
from my_part import MyPart

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Moment
from springtide.testing import check_context_weight, history_of


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_context_weight(MyPart)
    check_context_weight(MyPart, half_life_days=1.0)


def test_the_last_interaction_counts() -> None:
    """Item 4 was bought a half-life ago and long before, item 9 two half-lives ago."""
    history = history_of([(4, 0), (4, 93 * MS_PER_DAY), (9, 86 * MS_PER_DAY)])

    lifts = MyPart(half_life_days=7.0).history_log_lifts(history, Moment(100 * MS_PER_DAY))

    assert lifts.tolist() == [pytest.approx([0.5, 0.25])]
