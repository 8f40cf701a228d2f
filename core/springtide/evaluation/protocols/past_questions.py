"""The questions of a replay, kept for baselines: any of them can be asked when the replay is over, in any order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, Observed
from springtide.plugins.contracts import Baseline
from springtide.ranking.top_k import ranks_of

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PastQuestions:
    """All that a baseline needs for the questions of a replay: it answers as it would have at the moment of each.

    Attributes:
        timestamps_ms: int64 ``[n]``, ascending.
        user_rows: int64 ``[n]``; -1 for a user who is gone.
        item_rows: int32 ``[n]``, the item that the user took.
        is_unseen: bool ``[n]``, whether it was new to the user.
        histories: The history of each user, as of just before the moment.
        fit_numbers: int64 ``[n]``, ascending: by which of the fits each is answered.
        fits: For each fit the interactions that it learns, all of them from before its questions.
        num_users: Number of user rows.
        num_items: Number of item rows.
        forgotten_rows: int64 ``[m]``, rows of items that are not ranked.
    """

    timestamps_ms: Int64s
    user_rows: Int64s
    item_rows: npt.NDArray[np.int32]
    is_unseen: npt.NDArray[np.bool_]
    histories: Sequence[History]
    fit_numbers: Int64s
    fits: Sequence[Observed]
    num_users: int
    num_items: int
    forgotten_rows: Int64s

    def __len__(self) -> int:
        return len(self.timestamps_ms)


class PastAnswers:
    """The answers of one baseline to questions of the past. Each fit is made when a question first needs it.

    Args:
        questions: The questions.
        make: Makes the baseline, not fitted.
    """

    def __init__(self, questions: PastQuestions, make: Callable[[], Baseline]) -> None:
        self._questions = questions
        self._make = make
        self._fitted: dict[int, Baseline] = {}

    def ranks(self, positions: Int64s) -> tuple[Int64s, Int64s]:
        """Return the rank of the item of each question, int64 ``[k]`` each: among all items, and among unseen items.

        The latter is 0 where the user had the item.

        Args:
            positions: int64 ``[k]``, which questions.

        Raises:
            TrainingError: If the baseline cannot be fitted.
        """
        asked, among_all, among_unseen = self._questions, np.empty_like(positions), np.zeros_like(positions)
        # In order of time: what a baseline keeps of a moment serves it at the next.
        for index in np.argsort(positions, kind="stable").tolist():
            position = int(positions[index])
            one = slice(position, position + 1)
            history, rows = asked.histories[position], asked.item_rows[one]
            scores = self._of(int(asked.fit_numbers[position])).scores(
                asked.user_rows[one], [history], int(asked.timestamps_ms[position])
            )  # [1, num_items]
            all_ranks, unseen_ranks = ranks_of_known(scores, rows, [history], asked.forgotten_rows)
            among_all[index] = all_ranks[0]
            among_unseen[index] = unseen_ranks[0] if asked.is_unseen[position] else 0
        return among_all, among_unseen

    def _of(self, fit_number: int) -> Baseline:
        """Return the baseline of a fit."""
        if fit_number not in self._fitted:
            baseline = self._make()
            baseline.fit(self._questions.fits[fit_number], self._questions.num_users, self._questions.num_items)
            self._fitted[fit_number] = baseline
        return self._fitted[fit_number]


def ranks_of_known(
    scores: npt.NDArray[np.float32],
    item_rows: npt.NDArray[np.int32],
    histories: Sequence[History],
    forgotten_rows: Int64s,
) -> tuple[Int64s, Int64s]:
    """Return the rank of one item in each row of scores, int64 ``[n]`` each: among all, and among unseen items.

    Args:
        scores: float32 ``[n, num_items]``, overwritten.
        item_rows: int32 ``[n]``.
        histories: For each row, the history of the user, whose items are seen.
        forgotten_rows: int64 ``[m]``, items that are not ranked.
    """
    scores[:, forgotten_rows] = -np.inf
    among_all = ranks_of(scores, item_rows)
    for of_query, history in zip(scores, histories, strict=True):
        of_query[history.distinct()[0]] = -np.inf
    return among_all, ranks_of(scores, item_rows)
