"""What any baseline must do."""

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
    """As many rows as users are asked for, and none if there are none."""
    baseline = _fitted(subject)
    _asked(baseline, *_everybody())
    _asked(baseline, [], [])


def scores_may_be_written_to(subject: Subject) -> None:
    """Whoever asks leaves out what it does not want, in place."""
    baseline = _fitted(subject)
    first = _asked(baseline, *_everybody())
    kept = first.copy()
    first.fill(-1.0)
    expect_same_array(_asked(baseline, *_everybody()), kept, "scores after the last ones were written to", 0.0)


def users_asked_for_together_get_what_each_gets_alone(subject: Subject) -> None:
    """Requests are answered in batches as they come."""
    baseline = _fitted(subject)
    rows, histories = _everybody()
    together = _asked(baseline, rows, histories)
    for row, history, scores in zip(rows, histories, together, strict=True):
        expect_same_array(_asked(baseline, [row], [history])[0], scores, "scores when asked for alone", _TOLERANCE)


def who_is_not_known_or_did_nothing_has_scores(subject: Subject) -> None:
    """A new user asks before the next fit, and a known one may have asked to be forgotten."""
    baseline = _fitted(subject)
    _asked(baseline, [-1, -1, 3], [_history([]), _history([4, 0]), _history([])])


def items_that_came_later_do_no_harm(subject: Subject) -> None:
    """Histories are live: their items may have rows beyond those of the fit."""
    _asked(_fitted(subject), [2, -1], [_history([NUM_ITEMS + 3, 4]), _history([NUM_ITEMS])])


def what_most_users_have_comes_first_for_a_stranger(subject: Subject) -> None:
    """Nothing else is known of one who did nothing yet: item 0, which all but one user took, at all times."""
    scores = _asked(_fitted(subject), [-1], [_history([])])[0]
    expect(scores.argmax() == 0 and (scores == scores.max()).sum() == 1, "item 0 first, alone", scores.tolist())


def the_same_interactions_give_the_same_scores(subject: Subject) -> None:
    """Fits can be repeated, and a fit replaces the one before."""
    once, again = _fitted(subject), subject.make()
    again.fit(_interactions(seed=2), NUM_USERS + 1, NUM_ITEMS + 2)
    again.fit(_interactions(), NUM_USERS, NUM_ITEMS)
    for _ in range(2):
        _expect_same(again, once, "when fitted again")


def its_state_comes_back_the_same(subject: Subject) -> None:
    """It is kept in a registry, and serves elsewhere."""
    before, after = _fitted(subject), subject.make()
    after.restore(safetensors.numpy.load(safetensors.numpy.save(before.state())))
    _expect_same(after, before, "after its state was kept and taken up")


def its_state_is_a_copy(subject: Subject) -> None:
    """It is written later, while the baseline serves."""
    baseline, other = _fitted(subject), _fitted(subject)
    for array in baseline.state().values():
        array.fill(0)
    _expect_same(baseline, other, "after an array of its state was written to")


def items_that_nobody_had_have_scores(subject: Subject) -> None:
    """They are in the graph by their attributes; so are users who did nothing."""
    baseline = subject.make()
    baseline.fit(_interactions(), NUM_USERS + 3, NUM_ITEMS + 4)
    _asked(baseline, *_everybody(), num_items=NUM_ITEMS + 4)


def one_interaction_is_enough_or_refused(subject: Subject) -> None:
    """A stream begins with one: scores that are finite, or a ``TrainingError``."""
    baseline = subject.make()
    one = Observed(np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([NOW_MS]), np.ones(1, np.float32))
    try:
        baseline.fit(one, 1, 1)
    except TrainingError:
        return
    _asked(baseline, [0, -1], [_history([0]), _history([])], num_items=1)


CHECKS = checks_of(
    scores_are_finite_float32_of_each_user_and_item,
    scores_may_be_written_to,
    users_asked_for_together_get_what_each_gets_alone,
    who_is_not_known_or_did_nothing_has_scores,
    items_that_came_later_do_no_harm,
    what_most_users_have_comes_first_for_a_stranger,
    the_same_interactions_give_the_same_scores,
    its_state_comes_back_the_same,
    its_state_is_a_copy,
    items_that_nobody_had_have_scores,
    one_interaction_is_enough_or_refused,
)


def _interactions(seed: int = 1) -> Observed:
    """Return what 12 users did with 9 items in 600 hours, oldest first: all but user 11 took item 0, three times each.

    Item 0 is taken throughout, and more often than any other.
    """
    generator = np.random.default_rng(seed)
    users = np.concatenate([np.repeat(np.arange(NUM_USERS - 1), 3), generator.integers(0, NUM_USERS, 60)])
    items = np.concatenate([np.zeros(3 * (NUM_USERS - 1), np.int64), generator.integers(1, NUM_ITEMS, 60)])
    order = generator.permutation(len(users))
    times = NOW_MS - np.sort(generator.integers(0, 600, len(users)))[::-1] * MS_PER_HOUR
    return Observed(
        users[order].astype(np.int32), items[order].astype(np.int32), times, np.ones(len(users), np.float32)
    )


def _everybody() -> tuple[list[int], list[History]]:
    """Return a few users, the last of them not known, and what each of them did up to now."""
    interactions = _interactions()
    histories = []
    for row in range(4):
        own = np.flatnonzero(interactions.user_rows == row)[::-1]
        histories.append(
            History(interactions.item_rows[own], interactions.timestamps_ms[own], interactions.weights[own])
        )
    return [0, 1, 2, 3, -1], [*histories, _history([5, 2])]


def _history(item_rows: list[int]) -> History:
    times = NOW_MS - np.arange(len(item_rows), dtype=np.int64) * MS_PER_HOUR
    return History(np.array(item_rows, np.int32), times, np.ones(len(item_rows), np.float32))


def _fitted(subject: Subject) -> Baseline:
    baseline: Baseline = subject.make()
    baseline.fit(_interactions(), NUM_USERS, NUM_ITEMS)
    return baseline


def _asked(
    baseline: Baseline, user_rows: list[int], histories: list[History], num_items: int = NUM_ITEMS
) -> npt.NDArray[np.float32]:
    """Return the scores, refused if they are not as they must be."""
    scores = baseline.scores(np.array(user_rows, np.int64), histories, NOW_MS)
    expect(isinstance(scores, np.ndarray), "an array of scores", type(scores).__name__)
    expect(scores.dtype == np.float32, "float32 scores", scores.dtype)
    shape = (len(user_rows), num_items)
    expect(scores.shape == shape, f"scores of shape {list(shape)}", list(scores.shape))
    expect(bool(np.isfinite(scores).all()), "scores that are finite", scores.tolist())
    return scores


def _expect_same(found: Baseline, expected: Baseline, when: str) -> None:
    expect_same_array(_asked(found, *_everybody()), _asked(expected, *_everybody()), f"scores {when}", _TOLERANCE)
