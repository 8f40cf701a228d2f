"""The objective of a search over settings, and the cut that it is measured on."""

import numpy as np
import pytest

from springtide.errors import TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.splits.time_splits import global_time_split
from springtide.evaluation.tuning.objective import (
    Trial,
    compare_trials,
    cuts_for_tuning,
    score,
    score_of_cuts,
    scores_of_each,
)
from springtide.testing import START_MS, even_odd_events, interactions_of

PRESENT = {"new": 0.05, "all": 0.4}


def arrays_of(new: dict[int, float], everything: dict[int, float]) -> dict[str, np.ndarray]:
    arrays = {}
    for segment, of in (("new", new), ("all", everything)):
        arrays[f"{segment}.users"] = np.array(list(of), np.int32)
        arrays[f"{segment}.ndcg"] = np.array(list(of.values()), np.float32)
    return arrays


def test_test_set_is_not_in_the_data_to_tune_on() -> None:
    dataset = Dataset("made up", interactions_of(even_odd_events(24)), [])
    tested = dataset.interactions.timestamps_ms[global_time_split(dataset.interactions).test]

    shown, (split,) = cuts_for_tuning(dataset)

    assert shown.interactions.timestamps_ms.max() < tested.min()
    assert len(shown.interactions) == len(global_time_split(dataset.interactions).train)
    assert set(split.train) | set(split.test) == set(range(len(shown.interactions)))


def test_validation_is_the_last_tenth_of_the_training_set() -> None:
    # 24 users with 11 or 12 items each: 264 interactions. 237 are the training set, 213 of them before validation.
    shown, (split,) = cuts_for_tuning(Dataset("made up", interactions_of(even_odd_events(24)), []))

    assert (len(shown.interactions), len(split.train), len(split.test)) == (237, 213, 24)
    assert split.train.max() < split.test.min()


def test_cuts_walk_back_in_time_by_a_tenth_and_train_on_nothing_later() -> None:
    shown, splits = cuts_for_tuning(Dataset("made up", interactions_of(even_odd_events(24)), []), num_cuts=3)

    # 237 interactions to tune on, in blocks of a tenth: validation from 213, 189 and 165 on.
    # The third drops two rows, of an item that has too few users before it.
    assert [(split.test.min(), split.test.max()) for split in splits] == [(213, 236), (189, 212), (167, 188)]
    assert [split.train.max() for split in splits] == [212, 188, 164]
    assert len(shown.interactions) == 237


def test_too_little_to_cut_is_refused() -> None:
    events = [(f"u{user}", "i0", START_MS + user) for user in range(20)]

    with pytest.raises(
        TrainingError,
        match=r"of 20 interactions, 18 are for training and 2 for the test; a user needs 5 items .* tuning needs more",
    ):
        cuts_for_tuning(Dataset("made up", interactions_of(events), []))


def test_segments_count_equally() -> None:
    assert score(PRESENT, PRESENT) == pytest.approx(1.0)
    assert score({"new": 0.055, "all": 0.4}, PRESENT) == pytest.approx(1.05)
    assert score({"new": 0.05, "all": 0.44}, PRESENT) == pytest.approx(1.05)


def test_where_the_present_settings_have_zero_ndcg_itself_counts() -> None:
    assert score({"new": 0.1, "all": 0.4}, {"new": 0.0, "all": 0.4}) == pytest.approx((0.1 + 1.0) / 2)


def test_contributions_of_users_have_the_score_as_their_mean() -> None:
    # new: (0.2 + 0.4) / 2 = 0.3; all: (0.3 + 0.6 + 0.9 + 0.0) / 4 = 0.45.
    arrays = arrays_of({3: 0.2, 9: 0.4}, {1: 0.3, 3: 0.6, 9: 0.9, 12: 0.0})

    of_each = scores_of_each(arrays, PRESENT)

    assert len(of_each) == 4
    assert of_each[0] == pytest.approx(0.3 / 0.4 / 2)  # User 1 has no new items.
    assert of_each[1] == pytest.approx((2 * 0.2 / 0.05 + 0.6 / 0.4) / 2)
    assert of_each.mean() == pytest.approx(score({"new": 0.3, "all": 0.45}, PRESENT))


def test_constant_gain_is_significant_and_a_gain_by_chance_is_not() -> None:
    users = range(100)
    theirs = arrays_of({}, dict.fromkeys(users, 0.4))
    steady = arrays_of({}, dict.fromkeys(users, 0.41))
    # Mean +0.01, standard deviation about 0.4: one standard error is 0.04.
    chance = arrays_of({}, {user: 0.81 if user % 2 else 0.01 for user in users})

    assert compare_trials([steady], [theirs], [{"all": 0.4}], seed=0).is_better
    assert not compare_trials([chance], [theirs], [{"all": 0.4}], seed=0).is_better


def test_cuts_count_equally_however_many_users_they_have() -> None:
    few, many = range(10), range(90)
    present = [{"all": 0.4}, {"all": 0.2}]
    theirs = [arrays_of({}, dict.fromkeys(few, 0.4)), arrays_of({}, dict.fromkeys(many, 0.2))]
    ours = [arrays_of({}, dict.fromkeys(few, 0.44)), arrays_of({}, dict.fromkeys(many, 0.2))]

    # +10 % in one cut of two, though nine users of ten are in the other one.
    assert compare_trials(ours, theirs, present, seed=0).difference == pytest.approx(0.05)
    first, second = Trial("s", 0, {}, tuple(present)), Trial("s", 1, {}, ({"all": 0.44}, {"all": 0.2}))
    assert score_of_cuts(second, first) == pytest.approx(1.05)
    assert second.ndcg == {"all": pytest.approx(0.32)}


def test_trial_that_was_given_up_has_the_score_of_its_cuts() -> None:
    present = Trial("s", 0, {}, ({"all": 0.4}, {"all": 0.2}))

    assert score_of_cuts(Trial("s", 1, {}, ({"all": 0.2},), is_given_up=True), present) == pytest.approx(0.5)
