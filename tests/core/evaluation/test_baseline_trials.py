"""Baselines beside models: asked until it is certain what they say of the verdict, and no longer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from springtide.errors import TrainingError
from springtide.evaluation.baseline_trials import BaselineScores, Rivals, ask_baselines
from springtide.evaluation.measures.metrics import ndcg_of_ranks
from springtide.evaluation.protocols.past_questions import PastQuestions
from springtide.interactions import NO_EVENTS, NO_HISTORY
from springtide.plugins.contracts import Baseline, History, Observed

NUM_ITEMS = 40
NUM_QUESTIONS = 1_000


class Sure(Baseline):
    """Gives the item of each question, which is item 0, the rank of a list; its questions are told apart by time."""

    def __init__(self, ranks: npt.NDArray[np.int64]) -> None:
        self.ranks = ranks

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        pass

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        scores = np.zeros((1, NUM_ITEMS), np.float32)
        scores[0, 1 : self.ranks[now_ms]] = 2.0
        scores[0, 0] = 1.0
        return scores


class Unfit(Baseline):
    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        raise TrainingError("too few")


def questions(size: int = NUM_QUESTIONS) -> PastQuestions:
    zeros = np.zeros(size, np.int64)
    return PastQuestions(
        np.arange(size), zeros, zeros.astype(np.int32), zeros.astype(bool), [NO_HISTORY] * size, zeros, [NO_EVENTS], 1,
        NUM_ITEMS, zeros[:0],
    )  # fmt: skip


def ranks_of(rng: np.random.Generator, share: float, size: int = NUM_QUESTIONS) -> npt.NDArray[np.int64]:
    """Ranks of which a share is among the first twenty."""
    ranks: npt.NDArray[np.int64] = np.where(rng.random(size) < share, rng.integers(1, 21, size), 30)
    return ranks


def asked(
    candidate: npt.NDArray[np.int64],
    baselines: dict[str, npt.NDArray[np.int64]],
    champion: npt.NDArray[np.int64] | None = None,
    *,
    is_rejected: bool = False,
    may_serve: bool = True,
    seed: int = 0,
) -> dict[str, BaselineScores]:
    theirs = None if champion is None else ndcg_of_ranks(champion)
    everything = np.ones(len(candidate), bool)
    rivals = Rivals(everything, False, ndcg_of_ranks(candidate), theirs, is_rejected, may_serve)
    makers = {name: lambda ranks=ranks: Sure(ranks) for name, ranks in baselines.items()}
    return ask_baselines(questions(len(candidate)), makers, rivals, seed=seed)[0]


def test_who_is_clearly_behind_is_asked_little_and_who_is_near_is_asked_all() -> None:
    rng = np.random.default_rng(0)
    good, poor = ranks_of(rng, 0.4), ranks_of(rng, 0.1)
    near = np.where(np.arange(NUM_QUESTIONS) == 7, 30, good)
    found = asked(good, {"poor": poor, "near": near})
    assert found["poor"].lead == found["near"].lead == 1
    assert len(found["poor"].ndcg) < 300
    assert len(found["near"].ndcg) == NUM_QUESTIONS
    assert found["near"].ndcg.mean() == ndcg_of_ranks(near).mean()


def test_answers_are_those_to_the_questions_that_were_asked() -> None:
    rng = np.random.default_rng(1)
    good, poor = ranks_of(rng, 0.4), ranks_of(rng, 0.1)
    [found] = asked(good, {"poor": poor}).values()
    assert len(np.unique(found.judged)) == len(found.judged)
    assert found.judged_ndcg.tolist() == ndcg_of_ranks(poor[found.judged]).tolist() == found.ndcg.tolist()


def test_who_is_ahead_is_asked_until_it_is_certain_whether_it_serves() -> None:
    rng = np.random.default_rng(2)
    poor, good = ranks_of(rng, 0.05), ranks_of(rng, 0.5)
    alone = asked(poor, {"good": good})["good"]
    assert alone.lead == -1
    assert len(alone.ndcg) < 300
    beside = asked(poor, {"good": good}, champion=good)["good"]
    assert (beside.lead, beside.champion_lead) == (-1, 1), "the champion is as good: it goes on serving"
    assert len(beside.ndcg) == NUM_QUESTIONS
    left_out = asked(poor, {"good": good}, may_serve=False)["good"]
    assert len(left_out.ndcg) == len(alone.ndcg)


def test_of_several_that_are_ahead_the_best_of_all_questions_is_known() -> None:
    rng = np.random.default_rng(3)
    poor, good = ranks_of(rng, 0.05), ranks_of(rng, 0.5)
    better = good.copy()
    better[np.flatnonzero(good == 30)[0]] = 1
    found = asked(poor, {"good": good, "better": better})
    assert {len(each.ndcg) for each in found.values()} == {NUM_QUESTIONS}
    assert found["better"].ndcg.mean() > found["good"].ndcg.mean()


def test_a_rejected_candidate_leaves_open_only_who_serves() -> None:
    rng = np.random.default_rng(4)
    poor, fair, good = ranks_of(rng, 0.05), ranks_of(rng, 0.2), ranks_of(rng, 0.5)
    behind = asked(poor, {"fair": fair}, champion=good, is_rejected=True)["fair"]
    assert behind.champion_lead == 1
    assert len(behind.ndcg) < 400
    ahead = asked(poor, {"good": good}, champion=fair, is_rejected=True)["good"]
    assert ahead.champion_lead == -1
    nobody = asked(poor, {"good": good}, champion=None, is_rejected=True, may_serve=False)["good"]
    assert len(nobody.ndcg) == 0


def test_a_baseline_that_cannot_be_fitted_gives_its_reason() -> None:
    rivals = Rivals(np.ones(10, bool), False, np.ones(10), None, False, True)
    assert ask_baselines(questions(10), {"unfit": Unfit}, rivals, seed=0) == ({}, {"unfit": "too few"})


@pytest.mark.parametrize("share", [0.18, 0.2, 0.25])
def test_verdicts_are_those_of_all_questions(share: float) -> None:
    """The candidate has a fifth of the items in its first twenty; the baseline is a little worse, equal, or better."""
    rng = np.random.default_rng(5)
    num_other, num_asked = 0, 0
    for seed in range(60):
        candidate, baseline = ranks_of(rng, 0.2, 400), ranks_of(rng, share, 400)
        [found] = asked(candidate, {"baseline": baseline}, seed=seed).values()
        is_behind = ndcg_of_ranks(candidate).mean() >= ndcg_of_ranks(baseline).mean()
        num_other += (found.lead > 0) != is_behind
        num_asked += len(found.ndcg)
    assert num_other <= 2, "at most one of a hundred"
    assert num_asked < 60 * 400
