"""The fit recovers how much dislikes counted in simulated choices, and trusts what it had where there are few."""

import dataclasses

import numpy as np
import pytest

from springtide.clock import MS_PER_HOUR
from springtide.model.artifact import exponents_of, exponents_to_manifest
from springtide.model.exponents import DislikeExponents, Exponents, TermExponents
from springtide.model.manifest import ModelManifest
from springtide.plugins.contracts import Observed
from springtide.ranking.dislikes import direction, disliked_at, standing
from springtide.testing import START_MS, history_of, observed_of
from springtide.training.exponents.dislikes import fit_dislikes

NUM_USERS, NUM_ITEMS, WIDTH = 200, 40, 4
NUM_EVENTS, SPLIT = 5_000, 2_000
EXPONENTS = Exponents(unseen=TermExponents(4.0), seen=TermExponents(4.0))
UNTIL_MS = START_MS + NUM_EVENTS * 60_000


def unit_vectors(num_rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num_rows, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


USERS, ITEMS = unit_vectors(NUM_USERS, 1), unit_vectors(NUM_ITEMS, 2)


def choices(true: DislikeExponents, num_events: int = NUM_EVENTS) -> tuple[Observed, Observed]:
    """Return choices by the model of the ranking, and dislikes of two of the items that suit each user best."""
    generator = np.random.default_rng(3)
    disliked = [
        (user, int(item), START_MS - MS_PER_HOUR)
        for user in range(NUM_USERS)
        for item in np.argsort(-(ITEMS @ USERS[user]))[:2]
    ]
    scores = np.empty((NUM_USERS, NUM_ITEMS))
    for user in range(NUM_USERS):
        history = history_of((item, time_ms) for who, item, time_ms in disliked if who == user)
        away = direction(history, ITEMS, START_MS)
        assert away is not None
        scores[user] = 4.0 * (ITEMS @ (USERS[user] - true.like * away))
        scores[user][disliked_at(history, START_MS).rows] -= true.item
    liked = []
    for number in range(num_events):
        user = int(generator.integers(NUM_USERS))
        item = int((scores[user] + generator.gumbel(size=NUM_ITEMS)).argmax())
        # Nothing is taken back: that a disliked item was chosen is not held against the dislike.
        liked.append((user, item, START_MS + number * 60_000))
    light = observed_of(liked, weight=1e-6)
    return light, observed_of(disliked)


def fitted(true: DislikeExponents, num_events: int = NUM_EVENTS, prior: DislikeExponents | None = None):
    liked, disliked = choices(true, num_events)
    exponents = EXPONENTS if prior is None else dataclasses.replace(EXPONENTS, dislikes=prior)
    return fit_dislikes(liked, min(SPLIT, num_events // 2), disliked, (USERS, ITEMS), {}, exponents, seed=0)


@pytest.mark.parametrize("true", [DislikeExponents(3.0, 0.5), DislikeExponents(1.5, 1.0), DislikeExponents(1.0, 0.25)])
def test_exponents_are_recovered(true: DislikeExponents) -> None:
    found = fitted(true)
    assert found.item == pytest.approx(true.item, abs=0.5)
    assert found.like == pytest.approx(true.like, abs=0.25)


def test_few_choices_change_nothing() -> None:
    prior = DislikeExponents(2.0, 0.3)
    assert fitted(DislikeExponents(0.0, 0.0), num_events=60, prior=prior) == prior


def test_a_dislike_always_means_something() -> None:
    found = fitted(DislikeExponents(-3.0, -1.0))
    assert (found.item, found.like) == (0.5, 0.05)


def test_what_was_taken_back_is_no_dislike() -> None:
    liked, disliked = choices(DislikeExponents(3.0, 0.5))
    heavy = dataclasses.replace(liked, weights=np.ones(len(liked), np.float32))
    first = standing(history_of([(1, 10)]), [history_of([(1, 20)])])
    assert not len(first.item_rows)
    found = fit_dislikes(heavy, SPLIT, disliked, (USERS, ITEMS), {}, EXPONENTS, seed=0)
    assert found.item > 1.0


@pytest.mark.parametrize("dislikes", [DislikeExponents(), DislikeExponents(1.25, 0.5)])
def test_manifest_keeps_what_was_learned(dislikes: DislikeExponents) -> None:
    exponents = dataclasses.replace(EXPONENTS, dislikes=dislikes)
    written = exponents_to_manifest(exponents)
    assert ("dislikes" in written) == (dislikes != DislikeExponents())
    manifest = ModelManifest("", 0, "retrain", {}, {}, {}, exponents=written)
    assert exponents_of(manifest) == exponents
