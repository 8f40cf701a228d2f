"""Segments by hand."""

import numpy as np

from springtide.clock import MS_PER_DAY
from springtide.evaluation.measures.segments import Segments, item_age, user_activity, user_activity_quarters
from springtide.evaluation.splits.time_splits import Split
from springtide.testing import interactions_of


def named(segments: Segments) -> list[str]:
    return [segments.names[code] for code in segments.codes]


def test_activity_is_told_by_the_train_part():
    events = [("u0", "i0", 0), ("u1", "i0", 1), ("u1", "i0", 2), ("u1", "i1", 3), ("u1", "i1", 4), ("u0", "i0", 5)]
    split = Split(np.arange(5), np.arange(5, 6))
    found = user_activity(interactions_of(events), split, np.array([1, 0, 1]), bounds=(2, 4))
    assert found.names == ("< 2", "2-3", ">= 4")
    assert named(found) == [">= 4", "< 2", ">= 4"]
    assert {name: mask.tolist() for name, mask in found.masks().items()} == {
        "< 2": [False, True, False],
        ">= 4": [True, False, True],
    }


def test_quarters_are_of_the_users_asked():
    events = [(f"u{user}", "i0", 10 * user + time) for user in range(8) for time in range(user + 1)]
    split = Split(np.arange(36), np.zeros(0, np.int64))
    found = user_activity_quarters(interactions_of(events), split, np.array([7, 6, 5, 4, 3, 2, 1, 0]))
    assert found.codes.tolist() == [3, 3, 2, 2, 1, 1, 0, 0]
    assert named(user_activity_quarters(interactions_of(events), split, np.array([0, 0])))[0] == "1st quarter"


def test_age_is_from_the_first_interaction_to_the_cut():
    day = MS_PER_DAY
    events = [("u", "old", 0), ("u", "i28", 72 * day), ("u", "i6", 94 * day), ("u", "old", 100 * day)]
    interactions = interactions_of([*events, ("u", "later", 101 * day)])
    split = Split(np.array([0, 3]), np.array([4]))  # What was dropped from the training set was seen all the same.
    assert named(item_age(interactions, split, np.array([0, 1, 2, 3]))) == [
        ">= 90 days",
        "28-89 days",
        "< 7 days",
        "never seen",
    ]
