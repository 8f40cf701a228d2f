"""Whether an item is due again, with numbers worked by hand."""

import math

import pytest

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Moment
from springtide.testing import check_context_weight, history_of
from springtide_plugins.context_weights.repeat import Cycle

NOW_MS = 1_700_000_000_000


def due(weight: Cycle, days_ago: list[tuple[int, float]], days_on: float = 0.0) -> list[float]:
    """Return the factor for each item, of pairs (item, days before now), seen some days on."""
    history = history_of([(item, int(NOW_MS - days * MS_PER_DAY)) for item, days in days_ago])
    lifts = weight.history_log_lifts(history, Moment(int(NOW_MS + days_on * MS_PER_DAY)))
    assert lifts is not None
    return lifts[0].tolist()


def test_due_is_highest_when_the_usual_gap_has_passed():
    weight = Cycle(usual_gap_days=12.0, width=0.5)
    history = [(0, 0.0), (0, 12.0), (0, 24.0)]
    found = {days: due(weight, history, days)[0] for days in (0.0, 1.0, 6.0, 12.0, 24.0, 120.0)}
    assert found[12.0] == pytest.approx(1.0)
    # Half the gap and twice the gap lie as far from it: one doubling.
    assert found[6.0] == pytest.approx(math.exp(-0.5 * (math.log(2) / 0.5) ** 2))
    assert found[24.0] == pytest.approx(found[6.0])
    assert found[0.0] == pytest.approx(0.0, abs=1e-6)
    assert found[0.0] < found[1.0] < found[6.0]
    assert found[120.0] < found[24.0]


def test_few_gaps_are_drawn_to_those_of_the_users_other_items():
    weight = Cycle(usual_gap_days=30.0, prior=1.0)
    history = [(0, 0.0), (1, 0.0), (0, 10.0), (0, 20.0), (0, 30.0)]
    # The user's: (30 + 30) / (1 + 3) = 15 days. Item 0: (15 + 30) / (1 + 3) = 11.25 days; item 1 has no gap: 15 days.
    assert due(weight, history, 11.25)[0] == pytest.approx(1.0)
    assert due(weight, history, 15.0)[1] == pytest.approx(1.0)


def test_item_had_twice_on_one_day_has_no_gap():
    weight = Cycle(usual_gap_days=30.0)
    assert due(weight, [(0, 0.0), (0, 0.01)], 30.0) == pytest.approx([1.0])


def test_what_lies_after_the_moment_is_not_due():
    assert due(Cycle(), [(0, 0.0)], -5.0) == pytest.approx([0.0], abs=1e-6)


def test_due_may_count_against_an_item():
    assert all(factor.is_signed for factor in Cycle().factors)


def test_contract_is_kept():
    check_context_weight(Cycle)
