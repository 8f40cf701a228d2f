"""Bets on whose mean is higher: they are settled early where it is clear, and hardly ever wrongly."""

import math

import numpy as np
import pytest

from springtide.evaluation.measures.betting import Lead
from springtide.evaluation.measures.metrics import ndcg_of_ranks

NUM_QUESTIONS = 1_000


def metric(rng: np.random.Generator, share: float, size: int = NUM_QUESTIONS) -> np.ndarray:
    """NDCG of questions, of which a share has its item among the first twenty."""
    ranks = np.where(rng.random(size) < share, rng.integers(1, 21, size), 21)
    return ndcg_of_ranks(ranks)


def settled(
    ours: np.ndarray, theirs: np.ndarray, error: float, order: np.ndarray, at_once: int = 25
) -> tuple[int, int]:
    """The sign that was certain, and after how many questions."""
    lead = Lead(ours, error)
    for start in range(0, len(order), at_once):
        asked = order[start : start + at_once]
        lead.add(asked, theirs[asked])
        if lead.sign:
            return lead.sign, start + len(asked)
    return 0, len(order)


def test_a_clear_lead_is_settled_early_on_either_side() -> None:
    rng = np.random.default_rng(0)
    good, bad, order = metric(rng, 0.5), metric(rng, 0.1), rng.permutation(NUM_QUESTIONS)
    assert settled(good, bad, 0.001, order) == (1, pytest.approx(100, abs=75))
    assert settled(bad, good, 0.001, order) == (-1, pytest.approx(100, abs=75))


def test_money_grows_by_what_is_bet_and_a_look_needs_no_batch() -> None:
    # Of ten questions the first: ours 1, theirs 0. Mean of ours .1, so the differences are .5 · 1 + .5 · .1 and 1.
    ours = np.zeros(10)
    ours[0] = 1.0
    lead = Lead(ours, 0.5)
    lead.add(np.array([0]), np.array([0.0]))
    grown = [1 + stake * difference for difference in (0.55, 1.0) for stake in (0.1, 0.3, 0.9)]
    assert np.exp(lead._money[0]).ravel() * 6 == pytest.approx(grown)
    assert lead.sign == 0, f"{sum(grown) / 6} is less than 2"
    rng = np.random.default_rng(1)
    ours, theirs, order = metric(rng, 0.3), metric(rng, 0.25), rng.permutation(NUM_QUESTIONS)
    one, many = Lead(ours, 0.01), Lead(ours, 0.01)
    many.add(order, theirs[order])
    for question in order:
        one.add(np.array([question]), theirs[[question]])
    assert (one.sign, one._money) == (many.sign, pytest.approx(many._money))


def test_nothing_is_certain_of_equal_means() -> None:
    rng = np.random.default_rng(2)
    ours = metric(rng, 0.3)
    assert settled(ours, ours.copy(), 0.01, rng.permutation(NUM_QUESTIONS)) == (0, NUM_QUESTIONS)


@pytest.mark.parametrize("error", [0.2, 0.05])
def test_a_lead_is_wrong_no_more_often_than_is_said(error: float) -> None:
    """Means that are as good as equal are the worst case: in theory the share of wrong signs is at most the error."""
    rng = np.random.default_rng(3)
    num_wrong, num_trials = 0, 400
    for _ in range(num_trials):
        ours = metric(rng, 0.2)
        theirs = rng.permutation(ours)  # The same mean,
        theirs[theirs.argmax()] -= 1e-9  # but for this.
        sign, _ = settled(ours, theirs, error, rng.permutation(NUM_QUESTIONS))
        num_wrong += sign < 0
    assert num_wrong / num_trials < error + 2 * math.sqrt(error / num_trials)


def test_a_lead_that_is_certain_stays() -> None:
    ours = np.ones(NUM_QUESTIONS)
    theirs = np.concatenate([np.zeros(200), np.ones(800)])
    lead = Lead(ours, 0.01)
    lead.add(np.arange(200), theirs[:200])
    assert lead.sign == 1
    lead.add(np.arange(200, NUM_QUESTIONS), theirs[200:])
    assert lead.sign == 1
