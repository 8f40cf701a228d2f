"""The fit recovers how much related items count, which the choices were simulated with."""

import numpy as np
import pytest

from springtide.clock import MS_PER_HOUR
from springtide.plugins.contracts import ContextWeight, Factor, Observed, RelatedItems
from springtide.testing import START_MS, observed_of
from springtide.training.exponents.fit import fit_exponents
from springtide.training.exponents.logit import ExponentSettings

NUM_USERS, NUM_ITEMS, WIDTH, NUM_EVENTS, SPLIT = 150, 120, 4, 3_000, 1_000
UNSEEN, SEEN, HAD = 1.2, 0.8, 1.0


class Next(ContextWeight):
    """The four items after those of the history."""

    factors = (Factor("useless"), Factor("near"), Factor("had", is_signed=True))

    def history_log_lifts(self, history, moment):
        lifts = np.zeros((3, len(history.distinct()[0])), np.float32)
        lifts[2] = 1.0
        return lifts

    def related(self, history, moment):
        items, _ = history.distinct()
        lifts = np.zeros(NUM_ITEMS, np.float32)
        for step in range(1, 5):
            np.maximum.at(lifts, (items + step) % NUM_ITEMS, 1.0 / step)
        rows = np.flatnonzero(lifts)
        noise = np.random.default_rng(5).normal(size=NUM_ITEMS)[rows]
        return RelatedItems(rows.astype(np.int32), np.stack([noise, lifts[rows], 0 * noise]).astype(np.float32))


def unit_vectors(num_rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num_rows, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def choices(users: np.ndarray, items: np.ndarray) -> Observed:
    """Return choices of users among all items; the first are at random, so that histories differ."""
    generator = np.random.default_rng(3)
    distinct = [np.empty(0, np.int64) for _ in range(NUM_USERS)]
    events = []
    for number in range(NUM_EVENTS):
        user = int(generator.integers(NUM_USERS))
        near = np.zeros(NUM_ITEMS)
        for step in range(1, 5):
            np.maximum.at(near, (distinct[user] + step) % NUM_ITEMS, 1.0 / step)
        is_seen = np.isin(np.arange(NUM_ITEMS), distinct[user])
        scores = 2.0 * items @ users[user] + np.where(is_seen, SEEN * near + HAD, UNSEEN * near)
        chances = scores if number >= NUM_USERS else np.zeros(NUM_ITEMS)
        item = int((chances + generator.gumbel(size=NUM_ITEMS)).argmax())
        distinct[user] = np.union1d(distinct[user], [item])
        events.append((user, item, START_MS + number * MS_PER_HOUR))
    return observed_of(events)


def test_exponents_of_related_items_are_recovered():
    users, items = unit_vectors(NUM_USERS, 1), unit_vectors(NUM_ITEMS, 2)
    settings = ExponentSettings(num_moments=250, events_per_moment=8, num_samples=60, penalty=1e-5)
    found = fit_exponents(choices(users, items), SPLIT, users, items, lambda: {"next": Next()}, settings, seed=0)
    assert found is not None
    assert found.exponents.unseen.factors["next"]["near"] == pytest.approx(UNSEEN, abs=0.2)
    assert found.exponents.unseen.factors["next"]["useless"] == pytest.approx(0.0, abs=0.05)
    assert found.exponents.seen.factors["next"]["near"] == pytest.approx(SEEN, abs=0.2)
    assert found.exponents.seen.factors["next"]["had"] == pytest.approx(HAD, abs=0.3)
