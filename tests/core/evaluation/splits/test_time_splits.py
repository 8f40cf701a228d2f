"""Splits by hand."""

import pytest

from springtide.evaluation.splits.time_splits import (
    cold_items,
    cold_users,
    global_time_split,
    leave_one_out,
    walk_forward_splits,
)
from springtide.testing import interactions_of


def test_split_cuts_at_one_moment():
    interactions = interactions_of([("u0", "i0", 1), ("u1", "i0", 2), ("u0", "i0", 3), ("u1", "i0", 4)])
    split = global_time_split(interactions, test_share=0.5, min_count=1)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1], [2, 3])


def test_split_drops_whom_and_what_the_train_part_has_too_little_of():
    train = [
        *[("u0", "i0", 1), ("u0", "i1", 2), ("u1", "i0", 3), ("u1", "i1", 4)],
        *[("u2", "i0", 5), ("u2", "rare", 6)],  # An item with one user; its user is left with one item.
        *[("u1", "i1", 7), ("u1", "i1", 8)],  # Often is not many.
    ]
    test = [("u0", "i0", 9), ("u2", "i1", 10), ("u0", "rare", 11), ("new user", "i0", 12), ("u1", "i0", 13)]
    split = global_time_split(interactions_of(train + test), test_share=len(test) / 13, min_count=2)
    assert split.train.tolist() == [0, 1, 2, 3, 6, 7]
    assert split.test.tolist() == [8, 12]


def test_split_keeps_the_cold_ones_if_asked_to():
    interactions = interactions_of([("u0", "i0", 1), ("u0", "i1", 2), ("u1", "i0", 3), ("u0", "i2", 4)])
    split = global_time_split(interactions, test_share=0.5, min_count=0)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1], [2, 3])
    assert cold_users(interactions, split, min_count=2).tolist() == [False, True]
    assert cold_items(interactions, split, min_count=1).tolist() == [False, False, True]


def test_walking_forward_trains_on_all_before_each_block():
    interactions = interactions_of([("u", "i", time) for time in range(20)])
    splits = walk_forward_splits(interactions, base_share=0.6, block_share=0.1, min_count=1)
    assert [split.train.tolist() for split in splits] == [list(range(end)) for end in (12, 14, 16, 18)]
    assert [split.validation.tolist() for split in splits if split.validation is not None] == [[12], [14], [16], [18]]
    assert [split.test.tolist() for split in splits] == [[13], [15], [17], [19]]


def test_walking_forward_takes_up_users_once_they_have_enough():
    early = [("u0", "i0", 0), ("u0", "i1", 1), ("u1", "i0", 2), ("u1", "i1", 3)]
    late = [("u2", "i0", 4), ("u2", "i1", 5), ("u2", "i1", 6), ("u2", "i0", 7)]
    first, second = walk_forward_splits(interactions_of(early + late), base_share=0.5, block_share=0.25, min_count=2)
    assert (first.train.tolist(), first.test.tolist()) == ([0, 1, 2, 3], [])
    assert (second.train.tolist(), second.test.tolist()) == ([0, 1, 2, 3, 4, 5], [7])


def test_walking_forward_without_room_for_a_block_is_refused():
    with pytest.raises(ValueError, match=r"got base_share=0\.95, block_share=0\.1"):
        walk_forward_splits(interactions_of([("u", "i", 0)]), base_share=0.95)


def test_leave_one_out_tests_the_last_of_each_user():
    events = [("u0", "i0", 0), ("u0", "i1", 1), ("u1", "i0", 2), ("u2", "i0", 3), ("u1", "i1", 4), ("u0", "i0", 5)]
    split = leave_one_out(interactions_of(events), min_count=1)
    assert split.train.tolist() == [0, 1, 2, 3]  # The only one of u2 stays.
    assert split.test.tolist() == [4, 5]


def test_leave_one_out_drops_what_the_train_part_has_too_little_of():
    events = [("u0", "i0", 0), ("u1", "i0", 1), ("u0", "rare", 2), ("u0", "i0", 3), ("u1", "rare", 4)]
    split = leave_one_out(interactions_of(events), min_count=1)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1, 2], [3, 4])
    assert leave_one_out(interactions_of(events), min_count=2).test.tolist() == []
