"""What is explored is drawn with the probability that the answer gives; what was ignored sinks, and comes back."""

import collections
import dataclasses
import math

import numpy as np
import pytest
from tests.core.ranking.reordering.conftest import NOW, SIZE

from springtide.ranking.reordering import exploration
from springtide.ranking.rotation import rotation
from springtide.steering.values import Rule, Steering

NUM_DRAWN = SIZE - 11  # The ten best, and one more that says that there is a next page, are left to the scores.
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def at(offset_ms):
    return dataclasses.replace(NOW, timestamp_ms=NOW.timestamp_ms + offset_ms)


def test_share_of_the_slots_is_explored_and_the_rest_is_by_score(ask):
    best = ask.ids()
    ranking = ask(exploration=0.3)
    explored = [item for item, by in zip(ranking.items.ids, ranking.extras.placed_by, strict=True) if by]
    assert set(ranking.extras.placed_by) == {"", "exploration"}
    assert len(explored) == 3
    assert not set(explored) & set(best)
    rest = [item for item in ranking.items.ids if item not in explored]
    assert rest == best[:7]
    given = [p for p, by in zip(ranking.extras.propensities, ranking.extras.placed_by, strict=True) if by]
    assert given == pytest.approx([3 / (10 * NUM_DRAWN)] * 3)
    assert [p for p, by in zip(ranking.extras.propensities, ranking.extras.placed_by, strict=True) if not by] == [0] * 7


def test_same_request_has_the_same_draw_for_ten_minutes(ask):
    first = ask.ids(exploration=0.5)
    assert ask.ids(exploration=0.5) == first
    assert ask.ids(exploration=0.5, moment=at(exploration.BUCKET_MS)) != first
    other = ask(user="u2", exploration=0.5).extras.placed_by
    assert other != ask(exploration=0.5).extras.placed_by


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_items_get_slots_as_often_as_the_propensity_says(ask, share):
    """Each count is binomial, so that of 370 none should be 5 standard deviations off."""
    num_asked, slots = 1_500, 10
    counts, propensities = collections.Counter(), set()
    for number in range(num_asked):
        ranking = ask(count=slots, exploration=share, moment=at(number * exploration.BUCKET_MS))
        for slot, (item, by, propensity) in enumerate(
            zip(ranking.items.ids, ranking.extras.placed_by, ranking.extras.propensities, strict=True)
        ):
            if by:
                counts[slot, item] += 1
                propensities.add(propensity)
    [propensity] = propensities
    assert propensity == pytest.approx(share / NUM_DRAWN)
    assert len({item for _, item in counts}) == NUM_DRAWN
    total = sum(counts.values())
    expected = num_asked * share * slots
    assert abs(total - expected) < 5 * math.sqrt(expected)
    deviation = math.sqrt(num_asked * propensity * (1 - propensity))
    worst = max(
        abs(counts[slot, item] - num_asked * propensity) for slot in range(slots) for item in {i for _, i in counts}
    )
    assert worst < 5 * deviation


@pytest.mark.parametrize(("num_slots", "num_items", "share"), [(5, 3, 0.9), (4, 10, 0.3), (1, 1, 0.5), (7, 2, 1.0)])
def test_draw_is_as_likely_as_it_says(num_slots, num_items, share):
    counts, num_draws = np.zeros((num_slots, num_items)), 20_000
    for seed in range(num_draws):
        drawn = exploration.draw(range(num_slots), num_items, share, seed)
        assert len(set(drawn.items.values())) == len(drawn.items)
        for slot, item in drawn.items.items():
            counts[slot, item] += 1
    deviation = math.sqrt(drawn.propensity * (1 - drawn.propensity) / num_draws)
    assert np.abs(counts / num_draws - drawn.propensity).max() < 5 * max(deviation, 1e-9)


def test_nothing_that_is_left_out_is_explored(ask):
    blocked = Steering(rules=(Rule("gone", "block", tuple(f"i{item}" for item in range(1, SIZE, 2))),))
    for hour in range(50):
        ranking = ask(exploration=0.8, steering=blocked, moment=at(hour * HOUR_MS))
        assert all(int(item[1:]) % 2 == 0 for item in ranking.items.ids)
        assert "exploration" in ranking.extras.placed_by
        assert len(set(ranking.items.ids)) == 10


def test_bounds_and_pins_hold_beside_exploration(ask):
    pins = Steering(rules=(Rule("promo", "pin", ("i1",), slot=3),))
    for hour in range(50):
        ids = ask.ids(
            exploration=0.6, max_per=(("brand", 2),), count=8, steering=pins, moment=at(hour * HOUR_MS), diversity=0.3
        )
        assert ids[2] == "i1"
        values = collections.Counter(4 if int(item[1:]) % 2 else int(item[1:]) // 2 % 4 for item in ids)
        assert max(values.values()) <= 2
        assert len(set(ids)) == len(ids) == 8


def test_least_known_items_are_those_with_the_fewest_events_and_then_the_newest(ask):
    view, rules = ask.state.graph.view(), ask.state.rules
    ask.take("u0", "i9")
    ask.take("u2", "i9")
    ask.take("u0", "i11")
    rows = exploration.least_known(ask.state.graph.view(), rules, None, SIZE)
    assert rows.tolist()[-2:] == [11, 9]
    assert rows.tolist()[0] == 47
    allowed = np.zeros(SIZE, bool)
    allowed[[9, 11, 20]] = True
    assert exploration.least_known(ask.state.graph.view(), rules, allowed, SIZE).tolist() == [20, 11, 9]
    assert exploration.least_known(view, rules, None, SIZE).tolist()[0] == 47


def show(ask, item, age_ms=0, user="u0"):
    ask.take(user, item, "impression", NOW.timestamp_ms - age_ms)


def rotated(ask, rate=0.5, time_ms=DAY_MS, user_row=0, now_ms=NOW.timestamp_ms):
    found = rotation(ask.state.graph.view(), ask.state.rules, user_row, now_ms, rate, time_ms, SIZE)
    return dict(zip(found.rows.tolist(), found.logs.tolist(), strict=True))


def test_each_show_that_was_ignored_halves_the_odds_and_fades(ask):
    show(ask, "i3")
    show(ask, "i5", DAY_MS // 4)
    show(ask, "i7")
    show(ask, "i7", DAY_MS // 2)
    show(ask, "i9", DAY_MS)
    show(ask, "i11", user="u2")
    log = math.log(0.5)
    assert rotated(ask) == pytest.approx({3: log, 5: 0.75 * log, 7: 1.5 * log})
    assert rotated(ask, time_ms=2 * DAY_MS)[9] == pytest.approx(0.5 * log)
    assert rotated(ask, rate=0.0) == {}
    assert rotated(ask, user_row=-1) == {}
    assert rotated(ask, rate=1.0)[3] == -30.0
    assert set(rotated(ask, now_ms=NOW.timestamp_ms - 1)) == {5, 7, 9}, "later shows do not count"


def test_what_was_taken_since_does_not_sink(ask):
    show(ask, "i3", HOUR_MS)
    show(ask, "i5", HOUR_MS)
    ask.take("u0", "i3", at_ms=NOW.timestamp_ms - HOUR_MS // 2)
    ask.take("u0", "i5", at_ms=NOW.timestamp_ms - 2 * HOUR_MS)
    assert set(rotated(ask)) == {5}, "i5 was taken before it was shown again"
    ask.take("u0", "i5", "view", at_ms=NOW.timestamp_ms - 60_000)
    assert rotated(ask) == {}, "who looks at it has not ignored it"


def test_items_that_were_shown_leave_the_answer_and_come_back(ask):
    plain = ask.ids(exclude_seen=("purchase",), count=5)
    for item in plain:
        show(ask, item)
    assert not set(ask.ids(exclude_seen=("purchase",), count=5, rotation_rate=1.0)) & set(plain)
    assert ask.ids(exclude_seen=("purchase",), count=5) == plain, "who does not ask for it has the usual answer"
    back = ask.ids(exclude_seen=("purchase",), count=5, rotation_rate=1.0, moment=at(DAY_MS + 1))
    assert back == plain


def test_rotation_is_a_weight_of_the_item(ask):
    show(ask, "i4", DAY_MS // 2)
    [shown] = [item for item in ask(count=48, rotation_rate=0.5, weights=True).items if item.item_id == "i4"]
    [usual] = [item for item in ask(count=48, weights=True).items if item.item_id == "i4"]
    assert shown.weights["rotation"] == pytest.approx(math.sqrt(0.5), rel=1e-5)
    assert "rotation" not in usual.weights
    assert shown.score == pytest.approx(usual.score + math.log(shown.weights["rotation"]), rel=1e-5)


def test_all_that_was_shown_is_still_there_if_nothing_else_is(ask):
    for item in range(SIZE):
        show(ask, f"i{item}")
    assert len(ask.ids(count=48, rotation_rate=1.0)) == 48
