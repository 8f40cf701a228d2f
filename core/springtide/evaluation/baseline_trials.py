"""Baselines beside a candidate: each is asked only until it is certain that it does not change the gate's verdict.

The gate compares means over all questions. What a baseline's mean says of the verdict is often certain after a part of
them, which are asked in random order (``measures.betting``). The order is the same for all baselines: those that are
asked equally often have answered the same questions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError
from springtide.evaluation.measures.betting import Lead
from springtide.evaluation.measures.metrics import K, ndcg_of_ranks
from springtide.evaluation.protocols.past_questions import PastAnswers, PastQuestions
from springtide.plugins.contracts import Baseline
from springtide.training.loop import OnProgress, Progress

_ERROR = 0.01  # The most that the chance of another verdict than that of all questions may be.
_ASKED_AT_ONCE = 25  # Questions, between two looks at what they say.

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rivals:
    """The models that baselines are compared with; they were asked all questions.

    Attributes:
        is_judged: bool ``[n]``, which questions count.
        is_unseen_only: Whether items are ranked among those that are new to the user.
        candidate: float64 ``[j]``, NDCG@K of the candidate for the questions that count.
        champion: The same of the model that serves; None if there is none to compare with.
        is_rejected: Whether the candidate is rejected, whatever the baselines answer.
        may_serve: Whether a baseline may serve in their place.
    """

    is_judged: npt.NDArray[np.bool_]
    is_unseen_only: bool
    candidate: Float64s
    champion: Float64s | None
    is_rejected: bool
    may_serve: bool


@dataclass(frozen=True, slots=True)
class BaselineScores:
    """What a baseline answered to the questions that it was asked.

    Attributes:
        ndcg: float64 ``[m]``, NDCG@K of each question.
        unseen_ndcg: float64 ``[u]``, the same among unseen items, of questions whose item was new to the user.
        judged: int64 ``[j]``, which of the questions that count it was asked, as positions among these, ascending.
        judged_ndcg: float64 ``[j]``, what counts of its answers to them.
        lead: 1 if the candidate's mean over all questions that count is at least the baseline's, -1 if it is below,
            known or certain; 0 if that does not matter.
        champion_lead: The same of the champion's mean; 0 also if there is none.
    """

    ndcg: Float64s
    unseen_ndcg: Float64s
    judged: Int64s
    judged_ndcg: Float64s
    lead: int
    champion_lead: int


def ask_baselines(
    questions: PastQuestions,
    makers: Mapping[str, Callable[[], Baseline]],
    rivals: Rivals,
    *,
    seed: int,
    on_progress: OnProgress | None = None,
) -> tuple[dict[str, BaselineScores], dict[str, str]]:
    """Ask each baseline until it is certain what it says of the verdict; return scores, and why others could not fit.

    The verdict that follows is that of all questions, except with a probability of ``_ERROR`` or less. Where several
    baselines are ahead of both models, they are asked all questions, since the best of them serves.

    Args:
        questions: The questions.
        makers: For each baseline, what makes it, not fitted.
        rivals: The models.
        seed: Seed of the order of the questions.
        on_progress: Called with the number of questions that are asked or need not be asked.
    """
    # Questions and candidates are drawn with the seed itself.
    order = np.random.default_rng([seed, len(questions)]).permutation(len(questions))
    num_pairs = len(makers) * (1 if rivals.champion is None else 2)
    trials: dict[str, _Trial] = {}
    failures: dict[str, str] = {}
    for number, (name, make) in enumerate(makers.items()):
        trial = _Trial(PastAnswers(questions, make), questions, order, rivals, _ERROR / num_pairs)
        try:
            while not trial.is_settled:
                if on_progress is not None:
                    done = number * len(questions) + trial.num_asked
                    on_progress(Progress("baselines", done, len(makers) * len(questions)))
                trial.ask()
        except TrainingError as error:
            failures[name] = str(error)
            continue
        trials[name] = trial
        if not trial.may_be_best:
            trial.forget_fits()
    best = [trial for trial in trials.values() if trial.may_be_best]
    if len(best) > 1:
        for trial in best:
            while not trial.has_asked_all:
                trial.ask()
    return {name: trial.scores() for name, trial in trials.items()}, failures


class _Trial:
    """One baseline beside the models."""

    def __init__(
        self, answers: PastAnswers, questions: PastQuestions, order: Int64s, rivals: Rivals, error: float
    ) -> None:
        self._answers: PastAnswers | None = answers
        self._questions = questions
        self._order = order
        self._rivals = rivals
        self._of_candidate = Lead(rivals.candidate, error)
        self._of_champion = None if rivals.champion is None else Lead(rivals.champion, error)
        self._judged_at = np.cumsum(rivals.is_judged) - 1  # Of each question, the position among those that count.
        self._ranks = np.zeros(len(questions), np.int64)
        self._unseen_ranks = np.zeros(len(questions), np.int64)
        self.num_asked = 0

    @property
    def has_asked_all(self) -> bool:
        return self.num_asked == len(self._order)

    @property
    def lead(self) -> int:
        """As in ``BaselineScores``."""
        return self._lead(self._of_candidate, self._rivals.candidate)

    @property
    def champion_lead(self) -> int:
        """As in ``BaselineScores``."""
        if self._of_champion is None or self._rivals.champion is None:
            return 0
        return self._lead(self._of_champion, self._rivals.champion)

    @property
    def is_settled(self) -> bool:
        """Whether no further question changes what is known of the verdict."""
        if self.has_asked_all:
            return True
        if self._rivals.is_rejected:  # Because the champion is better: all that is open is whether a baseline serves.
            return not self._rivals.may_serve or self.champion_lead != 0
        if self.lead >= 0:
            return self.lead > 0
        return not self._rivals.may_serve or self._of_champion is None or self.champion_lead != 0

    @property
    def may_be_best(self) -> bool:
        """Whether it may serve: it is ahead of both models."""
        is_ahead = self.lead < 0 or self._rivals.is_rejected
        return self._rivals.may_serve and is_ahead and (self._of_champion is None or self.champion_lead < 0)

    def ask(self) -> None:
        """Ask the next questions.

        Raises:
            TrainingError: If the baseline cannot be fitted.
        """
        assert self._answers is not None, "its fits were forgotten"
        asked = self._order[self.num_asked : self.num_asked + _ASKED_AT_ONCE]
        self._ranks[asked], self._unseen_ranks[asked] = self._answers.ranks(asked)
        self.num_asked += len(asked)
        judged = asked[self._rivals.is_judged[asked]]
        if len(judged):
            theirs = self._ndcg(judged)
            for lead in (self._of_candidate, self._of_champion):
                if lead is not None:
                    lead.add(self._judged_at[judged], theirs)

    def forget_fits(self) -> None:
        """Give the memory of the fits back; nothing is asked any more."""
        self._answers = None

    def scores(self) -> BaselineScores:
        """Return what it answered so far."""
        asked = np.sort(self._order[: self.num_asked])
        judged = asked[self._rivals.is_judged[asked]]
        unseen = asked[self._questions.is_unseen[asked]]
        return BaselineScores(
            ndcg_of_ranks(self._ranks[asked], K),
            ndcg_of_ranks(self._unseen_ranks[unseen], K),
            self._judged_at[judged],
            self._ndcg(judged),
            self.lead,
            self.champion_lead,
        )

    def _ndcg(self, judged: Int64s) -> Float64s:
        """Return what counts of the answers to some questions that count, float64 ``[k]``."""
        return ndcg_of_ranks((self._unseen_ranks if self._rivals.is_unseen_only else self._ranks)[judged], K)

    def _lead(self, lead: Lead, ours: Float64s) -> int:
        if not self.has_asked_all:
            return lead.sign
        theirs = self._ndcg(np.flatnonzero(self._rivals.is_judged))
        return 1 if float(ours.mean()) >= float(theirs.mean()) else -1
