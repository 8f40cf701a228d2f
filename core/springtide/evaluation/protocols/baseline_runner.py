"""A baseline in a train/test evaluation: fitted on the training set, with each user's history in it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.metrics import K
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions
from springtide.interactions import History, Observed
from springtide.plugins.contracts import Baseline

_EMPTY_HISTORY = History(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32))


class BaselineRunner:
    """Fits a baseline on the training set and ranks items with it, as ``RankItems`` in ``protocols.queries``.

    Like a model, the baseline ranks the items of the training set and no others.

    Args:
        baseline: A baseline that is not fitted yet.
        interactions: All interactions, in time order.
        split: Which of them are the training set.

    Raises:
        TrainingError: If the training set is too large or too small for the baseline.
    """

    def __init__(self, baseline: Baseline, interactions: Interactions, split: Split) -> None:
        # Rows of the baseline are indices into these codes: only users and items of the training set have one.
        self._user_codes, users = np.unique(interactions.user_codes[split.train], return_inverse=True)
        self._item_codes, items = np.unique(interactions.item_codes[split.train], return_inverse=True)
        times = interactions.timestamps_ms[split.train]
        self._now_ms = int(times[-1])
        self._baseline = baseline
        ones = np.ones(len(times), np.float32)
        observed = Observed(users.astype(np.int32), items.astype(np.int32), times, ones)
        baseline.fit(observed, len(self._user_codes), len(self._item_codes))
        # Histories, user by user, the latest interaction first.
        latest_first = np.argsort(users[::-1], kind="stable")
        self._items, self._times = observed.item_rows[::-1][latest_first], times[::-1][latest_first]
        self._ones = ones
        self._bounds = np.searchsorted(users[::-1][latest_first], np.arange(len(self._user_codes) + 1))

    def __call__(self, users: npt.NDArray[np.int64], is_unseen_only: bool) -> npt.NDArray[np.int64]:
        """Return the top item codes of users, int64 ``[n, K]``, the best first; -1 where there are no more.

        Args:
            users: int64 ``[n]``, user codes.
            is_unseen_only: Whether to leave out the items in the user's history.
        """
        rows = self._rows(users)
        return self.ranked(rows, [self._history(row) for row in rows.tolist()], is_unseen_only)

    def after(self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """Return the top item codes of all items for users who have just taken one; see ``costs.RankAfter``."""
        rows = self._rows(users)
        histories = [self._history(row) for row in rows.tolist()]
        if items is not None:
            taken = np.searchsorted(self._item_codes, items).astype(np.int32)
            histories = [
                History(
                    np.concatenate([[item], history.item_rows]).astype(np.int32),
                    np.concatenate([[self._now_ms], history.timestamps_ms]).astype(np.int64),
                    np.concatenate([[1.0], history.weights]).astype(np.float32),
                )
                for item, history in zip(taken, histories, strict=True)
            ]
        return self.ranked(rows, histories, False)

    def ranked(
        self, rows: npt.NDArray[np.int64], histories: Sequence[History], is_unseen_only: bool
    ) -> npt.NDArray[np.int64]:
        """Return the top item codes for some histories, int64 ``[n, K]``, the best first; -1 where there are no more.

        Args:
            rows: int64 ``[n]``, rows of the users in the fit; -1 for a user that it does not know.
            histories: Their histories, in the rows of the fit.
            is_unseen_only: Whether to leave out the items in the histories.
        """
        scores = self._baseline.scores(rows, histories, self._now_ms)  # [n, num_items]
        if is_unseen_only:
            for user_scores, history in zip(scores, histories, strict=True):
                user_scores[history.item_rows] = -np.inf
        return self._best(scores)

    def ranked_new(
        self, histories: Sequence[History], left_out: Sequence[npt.NDArray[np.int64]]
    ) -> npt.NDArray[np.int64]:
        """Return the top item codes for users that the fit does not know, int64 ``[n, K]``; as ``ranked``.

        Args:
            histories: Their histories, in the rows of the fit.
            left_out: Codes of the items that each of them is not to get, int64 each.
        """
        scores = self._baseline.scores(np.full(len(histories), -1, np.int64), histories, self._now_ms)
        for user_scores, codes in zip(scores, left_out, strict=True):
            user_scores[np.isin(self._item_codes, codes)] = -np.inf
        return self._best(scores)

    def _best(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return the codes of the items with the highest scores, int64 ``[n, K]``; -1 where there are no more."""
        count = min(K, scores.shape[1])
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        best_scores = np.take_along_axis(scores, best, 1)
        order = np.argsort(-best_scores, axis=1, kind="stable")
        codes = self._item_codes[np.take_along_axis(best, order, 1)]  # [n, count]
        ranked = np.full((len(scores), K), -1, np.int64)
        ranked[:, :count] = np.where(np.isfinite(np.take_along_axis(best_scores, order, 1)), codes, -1)
        return ranked

    def _rows(self, users: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows of users in the fit, int64 ``[n]``; -1 for those that it does not know."""
        rows = np.searchsorted(self._user_codes, users)
        is_known = self._user_codes[np.minimum(rows, len(self._user_codes) - 1)] == users
        return np.where(is_known, rows, -1).astype(np.int64)

    def _history(self, row: int) -> History:
        if row < 0:
            return _EMPTY_HISTORY
        entries = slice(self._bounds[row], self._bounds[row + 1])
        return History(self._items[entries], self._times[entries], self._ones[entries])
