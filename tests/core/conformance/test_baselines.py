"""Each check of baselines finds the fault that it is there for, and says what it wanted and what came."""

import numpy as np
import pytest

from springtide.errors import ConformanceError, TrainingError
from springtide.plugins.contracts import Baseline
from springtide.testing import check_baseline


class Counts(Baseline):
    """A sound baseline: popularity, and one more for what the user had."""

    def fit(self, interactions, num_users, num_items):
        self.counts = np.bincount(interactions.item_rows, minlength=num_items).astype(np.float32)

    def scores(self, user_rows, histories, now_ms):
        scores = np.tile(self.counts, (len(user_rows), 1))
        for own, history in zip(scores, histories, strict=True):
            own[history.item_rows[history.item_rows < len(own)]] += 1.0
        return scores

    def state(self):
        return {"counts": self.counts.copy()}

    def restore(self, state):
        self.counts = state["counts"]


class Doubles(Counts):
    def scores(self, user_rows, histories, now_ms):
        return super().scores(user_rows, histories, now_ms).astype(np.float64)


class OneRow(Counts):
    def scores(self, user_rows, histories, now_ms):
        return super().scores(user_rows, histories, now_ms)[:1]


class DividesByTheUnknown(Counts):
    def scores(self, user_rows, histories, now_ms):
        sizes = np.array([float(len(history.item_rows)) for history in histories])
        with np.errstate(invalid="ignore", divide="ignore"):
            return (super().scores(user_rows, histories, now_ms) / sizes[:, None]).astype(np.float32)


class LendsItsOwn(Counts):
    def scores(self, user_rows, histories, now_ms):
        if len(user_rows) != 5:
            return super().scores(user_rows, histories, now_ms)
        if not hasattr(self, "lent"):
            self.lent = super().scores(user_rows, histories, now_ms)
        return self.lent


class ByTheBatch(Counts):
    def scores(self, user_rows, histories, now_ms):
        return super().scores(user_rows, histories, now_ms) * np.float32(len(user_rows) + 1)


class KnowsAllItems(Counts):
    def scores(self, user_rows, histories, now_ms):
        scores = np.tile(self.counts, (len(user_rows), 1))
        for own, history in zip(scores, histories, strict=True):
            own[history.item_rows] += 1.0
        return scores


class LeastPopular(Counts):
    def scores(self, user_rows, histories, now_ms):
        return -super().scores(user_rows, histories, now_ms)


class Indifferent(Counts):
    def scores(self, user_rows, histories, now_ms):
        return np.zeros_like(super().scores(user_rows, histories, now_ms))


class NeverForgets(Counts):
    def __init__(self):
        self.so_far = np.zeros(100, np.float32)

    def fit(self, interactions, num_users, num_items):
        super().fit(interactions, num_users, num_items)
        self.so_far[:num_items] += self.counts
        self.counts = self.so_far[:num_items].copy()


class Restless(Counts):
    def scores(self, user_rows, histories, now_ms):
        scores = super().scores(user_rows, histories, now_ms)
        return scores + np.random.default_rng().random(scores.shape, np.float32)


class KeepsNothing(Counts):
    def state(self):
        return {"counts": np.zeros_like(self.counts)}


class KeepsWords(Counts):
    def state(self):
        return {"counts": self.counts.copy(), "name": np.array(["counts"])}


class SharesItsState(Counts):
    def state(self):
        return {"counts": self.counts}


class CountsToTheLastItem(Counts):
    def fit(self, interactions, num_users, num_items):
        self.counts = np.bincount(interactions.item_rows).astype(np.float32)


class WantsTwo(Counts):
    def fit(self, interactions, num_users, num_items):
        super().fit(interactions, num_users, num_items)
        if len(interactions) < 2:
            raise ValueError("too few")


class RefusesOne(Counts):
    def fit(self, interactions, num_users, num_items):
        super().fit(interactions, num_users, num_items)
        if len(interactions) < 2:
            raise TrainingError("wanted at least 2 interactions, got 1")


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (Doubles, "scores are finite float32 of each user and item", "float32 scores", "float64"),
        (OneRow, "scores are finite float32 of each user and item", "scores of shape [5, 9]", "[1, 9]"),
        (LendsItsOwn, "scores may be written to", "the same scores after an array of scores was changed", "a diff"),
        (ByTheBatch, "scores do not depend on the batch", "the same scores in a batch of one", "a"),
        (DividesByTheUnknown, "unknown users and empty histories have scores", "scores that are finite", "inf"),
        (KnowsAllItems, "items newer than the fit are ignored", "no error", "IndexError"),
        (LeastPopular, "the most popular item is first for unknown users", "item 0 first, alone", "["),
        (Indifferent, "the most popular item is first for unknown users", "item 0 first, alone", "[0.0, 0.0"),
        (NeverForgets, "the same interactions give the same scores", "the same scores when fitted again", "a diff"),
        (Restless, "the same interactions give the same scores", "the same scores when fitted again", "a diff"),
        (KeepsNothing, "its state can be restored", "the same scores after its state was saved", "a difference of"),
        (KeepsWords, "its state can be restored", "no error", ""),
        (SharesItsState, "its state is a copy", "the same scores after an array of its state was changed", "a diff"),
        (CountsToTheLastItem, "items without interactions have scores", "scores of shape [5, 13]", "[5, 9]"),
        (WantsTwo, "one interaction is enough or refused", "no error", "ValueError: too few"),
    ],
)
def test_faulty_baseline_is_found(factory, check, wanted, got, failures_of):
    failures = failures_of("baseline", factory, only=check)
    assert set(failures) == {check}
    assert wanted in failures[check][0]
    assert got in failures[check][1]


@pytest.mark.parametrize("factory", [Counts, RefusesOne])
def test_sound_baseline_passes(factory, failures_of):
    assert failures_of("baseline", factory) == {}


def test_check_names_the_baseline_that_fails():
    with pytest.raises(ConformanceError, match=r"^baseline 'SharesItsState' fails 1 of 11 checks"):
        check_baseline(SharesItsState)
