"""What users take next, with numbers worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import History, Moment
from springtide.testing import observed_of
from springtide_plugins.context_weights.transitions import Transitions

NOW_MS = 1_700_000_000_000
MINUTE = 60_000
NO_ROWS = np.empty(0, np.int32)


def history_of(*items: int) -> History:
    """Return a history, newest first."""
    times = NOW_MS - np.arange(len(items), dtype=np.int64) * MINUTE
    return History(np.array(items, np.int32), times, np.ones(len(items), np.float32))


def lifts_of(weight: Transitions, *items: int) -> dict[int, float]:
    related = weight.related(history_of(*items), Moment(NOW_MS))
    if related is None:
        return {}
    return dict(zip(related.rows.tolist(), np.exp(related.log_lifts[0].astype(float)).round(6).tolist(), strict=True))


def learned(*events: tuple[int, int, int], **options: float) -> Transitions:
    """Return a weight that has seen events: user, item, and minutes before the newest."""
    weight = Transitions(**{"half_life_days": 1e9, "prior": 1.0, "fading": 0.5, **options})
    weight.observe(observed_of([(user, item, NOW_MS - minutes * MINUTE) for user, item, minutes in events]))
    return weight


def test_what_followed_is_likelier_than_usual():
    weight = learned((0, 1, 9), (0, 2, 8), (1, 1, 9), (1, 2, 8), (2, 3, 9), (2, 4, 8), window=1)
    # Of 3 transitions 2 left item 1, and 2 came to item 2: 4 / 3 were to be expected.
    assert lifts_of(weight, 1) == {2: pytest.approx(3 / (4 / 3 + 1), abs=1e-5)}
    assert lifts_of(weight, 2) == {}


def test_lift_of_a_history_is_the_mean_of_its_latest_items():
    weight = learned((0, 1, 9), (0, 2, 8), (1, 1, 9), (1, 2, 8), (2, 3, 9), (2, 4, 8), window=1)
    after_3 = 2 / (1 / 3 + 1)
    neutral_2, neutral_4 = 1 / (2 / 3 + 1), 1 / (2 / 3 + 1)  # Of the other item: expected, and never seen.
    expected = {2: 9 / 7 / 3 + neutral_2 * 2 / 3, 4: after_3 * 2 / 3 + neutral_4 / 3}
    found = lifts_of(weight, 3, 1)
    assert found == {row: pytest.approx(lift, abs=1e-5) for row, lift in expected.items() if lift > 1}
    assert 4 in found


def test_items_of_one_basket_do_not_follow_each_other():
    weight = learned((0, 1, 9), (0, 2, 9), (0, 3, 5), (1, 5, 9), (1, 6, 5))
    assert set(lifts_of(weight, 1)) == {3}
    assert set(lifts_of(weight, 2)) == {3}


def test_an_item_beyond_the_window_is_not_followed():
    events = [(0, 1, 9), (0, 2, 8), (0, 3, 7)]
    assert learned(*events, window=1).state()["followers"].tolist() == [2, 3]
    assert learned(*events, window=2).state()["followers"].tolist() == [2, 3, 3]


def test_an_older_transition_counts_less():
    weight = Transitions(half_life_days=10.0, prior=1.0)
    old, new = NOW_MS - 30 * MS_PER_DAY, NOW_MS
    weight.observe(observed_of([(0, 1, old - MINUTE), (0, 2, old), (1, 1, new - MINUTE), (1, 3, new)]))
    weight.observe(observed_of([(2, 4, new - MINUTE), (2, 5, new)]))
    total = 2 + 1 / 8
    assert lifts_of(weight, 1)[3] == pytest.approx(2 / ((1 + 1 / 8) / total + 1), abs=1e-4)
    assert lifts_of(weight, 1).get(2, 1.0) < lifts_of(weight, 1)[3]


def test_counts_outlive_a_landmark_that_moves():
    weight = Transitions(half_life_days=1.0, prior=1.0)
    for day in range(0, 100, 2):
        at = NOW_MS - (100 - day) * MS_PER_DAY
        weight.observe(observed_of([(day, 1, at - MINUTE), (day, 2, at)]))
        weight.observe(observed_of([(day + 1, 3, at - MINUTE), (day + 1, 4, at)]))
    lifts = lifts_of(weight, 1)
    assert all(math.isfinite(lift) for lift in lifts.values())
    assert lifts[2] > 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 12)), max_size=40), st.randoms())
def test_late_events_count_as_if_they_had_come_in_time(events, random):
    in_time = learned(*sorted(events, key=lambda event: -event[2]), kept_events=64)
    shuffled = list(events)
    random.shuffle(shuffled)
    late = learned(kept_events=64)
    late.observe(observed_of([(9, 9, NOW_MS)]))
    for event in shuffled:
        late.observe(observed_of([(event[0], event[1], NOW_MS - event[2] * MINUTE)]))
    for item in range(6):
        assert lifts_of(late, item) == pytest.approx(lifts_of(in_time, item), abs=1e-4)


def test_an_event_older_than_all_that_are_kept_is_not_counted():
    weight = learned((0, 1, 5), (0, 2, 4), (0, 3, 3), (0, 4, 2), window=1, kept_events=2)
    before = weight.state()
    weight.observe(observed_of([(0, 7, NOW_MS - 50 * MINUTE)]))
    assert weight.state()["followers"].tolist() == before["followers"].tolist()
    assert weight.state()["latest_items"].tolist() == [3, 4]


def test_the_weakest_follower_makes_room():
    weight = learned((0, 1, 99), (0, 2, 98), (1, 1, 97), (1, 2, 96), (2, 1, 9), (2, 3, 8), followers=1, window=1)
    assert weight.state()["followers"].tolist() == [2]
    assert weight.state()["leaving"].sum() == pytest.approx(3)


def test_a_forgotten_item_is_nowhere():
    weight = learned((0, 1, 9), (0, 2, 8), (0, 3, 7), (1, 1, 9), (1, 3, 8))
    weight.forget_rows(NO_ROWS, np.array([2], np.int32))
    state = weight.state()
    assert 2 not in state["followers"]
    assert 2 not in state["latest_items"]
    assert state["leaving"][2:3].sum() == state["coming"][2:3].sum() == 0
    other = learned((0, 1, 9), (0, 3, 7), (1, 1, 9), (1, 3, 8))
    assert lifts_of(weight, 1) == pytest.approx(lifts_of(other, 1), abs=1e-5)


def test_a_window_as_long_as_what_is_kept_is_refused():
    with pytest.raises(ValueError, match="more latest events than the window"):
        Transitions(window=8, kept_events=8)


def test_a_state_that_does_not_fit_is_refused():
    state = learned((0, 1, 9), (0, 2, 8)).state()
    with pytest.raises(ValueError, match="fit each other"):
        Transitions().restore({**state, "followers": state["followers"] + 50})
