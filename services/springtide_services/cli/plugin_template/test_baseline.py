"""The baseline passes the checks of every baseline, and computes what it is meant to."""

import numpy as np
from my_part import MyPart

from springtide.clock import MS_PER_DAY
from springtide.testing import check_baseline, history_of, observed_of


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_baseline(MyPart)
    check_baseline(MyPart, half_life_days=1.0)


def test_later_interactions_count_more() -> None:
    """Item 0 was bought once now, item 1 twice a half-life ago, item 2 never."""
    baseline = MyPart(half_life_days=7.0)
    baseline.fit(observed_of([(0, 1, 0), (0, 1, 0), (1, 0, 7 * MS_PER_DAY)]), num_users=2, num_items=3)

    scores = baseline.scores(np.array([1]), [history_of([])], now_ms=7 * MS_PER_DAY)

    assert scores.tolist() == [[1.0, 1.0, 0.0]]
