"""Checks that every baseline must pass."""

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from springtide.clock import MS_PER_HOUR
from springtide.conformance.checks import Subject, checks_of, expect, expect_same_array
from springtide.errors import TrainingError
from springtide.interactions import History, Observed
from springtide.plugins.contracts import Baseline

NUM_USERS, NUM_ITEMS = 12, 9
NOW_MS = 1_700_000_000_000
_TOLERANCE = 1e-4


def scores_are_finite_float32_of_each_user_and_item(subject: Subject) -> None:
    """There is one row for each user, and none for no users."""
    baseline = _fitted(subject)
    _scores(baseline, *_users())
    _scores(baseline, [], [])


def scores_may_be_written_to(subject: Subject) -> None:
    """The caller masks items in place."""
    baseline = _fitted(subject)
    first = _scores(baseline, *_users())
    expected = first.copy()
    first.fill(-1.0)
    expect_same_array(_scores(baseline, *_users()), expected, "scores after an array of scores was changed", 0.0)


def scores_do_not_depend_on_the_batch(subject: Subject) -> None:
    """Requests are answered in batches of any size."""
    baseline = _fitted(subject)
    rows, histories = _users()
    together = _scores(baseline, rows, histories)
    for row, history, scores in zip(rows, histories, together, strict=True):
        expect_same_array(_scores(baseline, [row], [history])[0], scores, "scores in a batch of one", _TOLERANCE)


def unknown_users_and_empty_histories_have_scores(subject: Subject) -> None:
    """Requests come from users newer than the fit, and from users whose history was deleted."""
    baseline = _fitted(subject)
    _scores(baseline, [-1, -1, 3], [_history([]), _history([4, 0]), _history([])])


def items_newer_than_the_fit_are_ignored(subject: Subject) -> None:
    """Histories are live: their items may have rows that the fit did not know."""
    _scores(_fitted(subject), [2, -1], [_history([NUM_ITEMS + 3, 4]), _history([NUM_ITEMS])])


def the_most_popular_item_is_first_for_unknown_users(subject: Subject) -> None:
    """All users but one have item 0, so it comes first where nothing else is known."""
    scores = _scores(_fitted(subject), [-1], [_history([])])[0]
    expect(scores.argmax() == 0 and (scores == scores.max()).sum() == 1, "item 0 first, alone", scores.tolist())


def the_same_interactions_give_the_same_scores(subject: Subject) -> None:
    """Fits can be repeated, and each replaces the one before."""
    once, again = _fitted(subject), subject.make()
    again.fit(_interactions(seed=2), NUM_USERS + 1, NUM_ITEMS + 2)
    again.fit(_interactions(), NUM_USERS, NUM_ITEMS)
    for _ in range(2):
        _expect_same(again, once, "when fitted again")


def its_state_can_be_restored(subject: Subject) -> None:
    """It is stored in the registry, and served by another process."""
    before, after = _fitted(subject), subject.make()
    after.restore(safetensors.numpy.load(safetensors.numpy.save(before.state())))
    _expect_same(after, before, "after its state was saved and restored")


def its_state_is_a_copy(subject: Subject) -> None:
    """It is written later, while the baseline serves."""
    baseline, other = _fitted(subject), _fitted(subject)
    for array in baseline.state().values():
        array.fill(0)
    _expect_same(baseline, other, "after an array of its state was changed")


def items_without_interactions_have_scores(subject: Subject) -> None:
    """Items and users without interactions are in the graph too, by their attributes."""
    baseline = subject.make()
    baseline.fit(_interactions(), NUM_USERS + 3, NUM_ITEMS + 4)
    _scores(baseline, *_users(), num_items=NUM_ITEMS + 4)


def one_interaction_is_enough_or_refused(subject: Subject) -> None:
    """A stream starts with one interaction: scores are finite then, or a ``TrainingError`` is raised."""
    baseline = subject.make()
    one = Observed(np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([NOW_MS]), np.ones(1, np.float32))
    try:
        baseline.fit(one, 1, 1)
    except TrainingError:
        return
    _scores(baseline, [0, -1], [_history([0]), _history([])], num_items=1)


CHECKS = checks_of(
    scores_are_finite_float32_of_each_user_and_item,
    scores_may_be_written_to,
    scores_do_not_depend_on_the_batch,
    unknown_users_and_empty_histories_have_scores,
    items_newer_than_the_fit_are_ignored,
    the_most_popular_item_is_first_for_unknown_users,
    the_same_interactions_give_the_same_scores,
    its_state_can_be_restored,
    its_state_is_a_copy,
    items_without_interactions_have_scores,
    one_interaction_is_enough_or_refused,
)


def _interactions(seed: int = 1) -> Observed:
    """Return interactions of 12 users with 9 items in 600 hours, oldest first.

    All users but 11 have item 0, three times each, spread over the whole time, and more often than any other item.
    """
    generator = np.random.default_rng(seed)
    users = np.concatenate([np.repeat(np.arange(NUM_USERS - 1), 3), generator.integers(0, NUM_USERS, 60)])
    items = np.concatenate([np.zeros(3 * (NUM_USERS - 1), np.int64), generator.integers(1, NUM_ITEMS, 60)])
    order = generator.permutation(len(users))
    times = NOW_MS - np.sort(generator.integers(0, 600, len(users)))[::-1] * MS_PER_HOUR
    return Observed(
        users[order].astype(np.int32), items[order].astype(np.int32), times, np.ones(len(users), np.float32)
    )


def _users() -> tuple[list[int], list[History]]:
    """Return rows of a few users, the last of them unknown, and their histories."""
    interactions = _interactions()
    histories = []
    for row in range(4):
        events = np.flatnonzero(interactions.user_rows == row)[::-1]
        histories.append(
            History(interactions.item_rows[events], interactions.timestamps_ms[events], interactions.weights[events])
        )
    return [0, 1, 2, 3, -1], [*histories, _history([5, 2])]


def _history(item_rows: list[int]) -> History:
    times = NOW_MS - np.arange(len(item_rows), dtype=np.int64) * MS_PER_HOUR
    return History(np.array(item_rows, np.int32), times, np.ones(len(item_rows), np.float32))


def _fitted(subject: Subject) -> Baseline:
    baseline: Baseline = subject.make()
    baseline.fit(_interactions(), NUM_USERS, NUM_ITEMS)
    return baseline


def _scores(
    baseline: Baseline, user_rows: list[int], histories: list[History], num_items: int = NUM_ITEMS
) -> npt.NDArray[np.float32]:
    """Return the scores, after checking their type, shape and values."""
    scores = baseline.scores(np.array(user_rows, np.int64), histories, NOW_MS)
    expect(isinstance(scores, np.ndarray), "an array of scores", type(scores).__name__)
    expect(scores.dtype == np.float32, "float32 scores", scores.dtype)
    shape = (len(user_rows), num_items)
    expect(scores.shape == shape, f"scores of shape {list(shape)}", list(scores.shape))
    expect(bool(np.isfinite(scores).all()), "scores that are finite", scores.tolist())
    return scores


def _expect_same(found: Baseline, expected: Baseline, when: str) -> None:
    expect_same_array(_scores(found, *_users()), _scores(expected, *_users()), f"scores {when}", _TOLERANCE)
