"""What people come back to, with numbers worked by hand."""

import math

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ItemGroups, Moment
from springtide.testing import observed_of
from springtide_plugins.context_weights.pair_set import SeenPairs
from springtide_plugins.context_weights.reorder import Reorder

DAY = MS_PER_DAY


def pairs_of(*pairs: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.array(pairs, np.int32).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def test_pair_came_before_from_its_second_time_on():
    seen = SeenPairs(100)
    assert seen.add(*pairs_of((0, 0), (0, 1), (0, 0), (1, 0))).tolist() == [False, False, True, False]
    assert seen.add(*pairs_of((1, 0), (1, 1), (0, 1))).tolist() == [True, False, True]


def test_pairs_are_told_apart_through_growth():
    seen, generator = SeenPairs(1_000_000), np.random.default_rng(0)
    users, items = generator.integers(0, 1_000, (2, 20_000)).astype(np.int32)
    codes = users.astype(np.int64) * 1_000 + items
    first = np.zeros(len(codes), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    came = np.concatenate([seen.add(users[part], items[part]) for part in np.array_split(np.arange(20_000), 7)])
    assert np.array_equal(came, ~first)


def test_pairs_are_remembered_for_a_generation_and_forgotten_after_two():
    seen = SeenPairs(3)
    seen.add(*pairs_of((0, 0), (0, 1), (0, 2)))  # A whole generation.
    seen.add(*pairs_of((0, 3), (0, 4)))
    assert seen.add(*pairs_of((0, 1))).tolist() == [True]
    seen.add(*pairs_of((0, 5), (0, 6)))
    assert seen.add(*pairs_of((0, 1), (0, 2))).tolist() == [True, False]
    assert sum(array.nbytes for array in seen.state().values()) <= 2 * 3 * 12


def test_restored_pairs_go_on():
    seen, again = SeenPairs(1_000), SeenPairs(1_000)
    seen.add(*pairs_of(*((user, user % 7) for user in range(600))))
    again.restore(seen.state())
    assert again.add(*pairs_of((5, 5), (5, 6), (599, 599 % 7))).tolist() == [True, False, True]


def test_a_pair_is_left_until_it_was_taken_back_as_often_as_it_occurred():
    seen = SeenPairs(2)
    seen.add(*pairs_of((0, 0), (0, 0), (0, 1)))  # A whole generation: both pairs are in the old table.
    seen.add(*pairs_of((0, 0)))
    again = SeenPairs(2)
    again.restore(seen.state())
    for each in (seen, again):
        assert each.remove(*pairs_of((0, 0), (0, 0), (0, 1))).tolist() == [True, True, False]
        assert each.remove(*pairs_of((0, 0))).tolist() == [False]
        assert each.remove(*pairs_of((7, 7))).tolist() == [True], "never seen"
        assert each.add(*pairs_of((0, 0), (0, 1))).tolist() == [False, False]


def test_a_rate_without_deleted_users_is_as_if_they_had_never_come():
    events = [(user, item, user) for user in range(6) for item in range(3) for _ in range(1 + (user + item) % 3)]
    weight, expected = Reorder(), Reorder()
    weight.observe(observed_of(events))
    weight.unobserve(observed_of(event for event in events if event[0] in (1, 4)))
    expected.observe(observed_of(event for event in events if event[0] not in (1, 4)))
    assert weight.item_log_lifts(Moment(0), 4).tobytes() == expected.item_log_lifts(Moment(0), 4).tobytes()


def test_rate_is_the_share_that_came_again_over_that_of_all():
    weight = Reorder(prior=1.0)
    assert weight.item_log_lifts(Moment(0), 2) is None
    # Item 0: three times by one user, so twice again. Item 1: by three users.
    weight.observe(observed_of([(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 1, 3), (2, 1, 4), (3, 1, 5)]))
    lifts = weight.item_log_lifts(Moment(0), 3)
    # Two of six again: one of three is as usual for each item.
    assert lifts.tolist() == [pytest.approx([math.log(3 / 2), math.log(1 / 2), 0.0])]


def test_order_of_arrival_within_a_pair_does_not_matter():
    events = [(0, 0, 0), (0, 0, DAY), (1, 0, 2 * DAY), (1, 1, 3 * DAY), (0, 1, 4 * DAY)]
    one, other = Reorder(), Reorder()
    one.observe(observed_of(events))
    for event in reversed(events):
        other.observe(observed_of([event]))
    assert one.item_log_lifts(Moment(0), 2).tolist() == other.item_log_lifts(Moment(0), 2).tolist()


def test_item_never_seen_borrows_from_its_kind():
    weight = Reorder(prior=1.0)
    weight.regroup(ItemGroups(("type",), (np.array([0, 1, 0], np.int32),), (2,)))
    weight.observe(observed_of([(user, item, 0) for user in range(9) for item in (0, 0, 0, 1)]))
    lifts = weight.item_log_lifts(Moment(0), 3)[0]
    assert lifts[2] == pytest.approx(lifts[0], abs=0.05)
    assert lifts[2] > 0.2 > lifts[1]
