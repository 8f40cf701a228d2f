"""Baselines asked as models are: fitted on the train part, each user with the history that it has there."""

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.measurement import K
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions
from springtide.interactions import History, Observed
from springtide.plugins.contracts import Baseline

_NOTHING = History(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32))


class FittedBaseline:
    """A baseline fitted on the train part; like the models, it ranks what occurs there and nothing else.

    Args:
        baseline: Not fitted yet.
        interactions: In time order.
        split: Which of them may be looked at.

    Raises:
        TrainingError: If they are too many or too few for it.
    """

    def __init__(self, baseline: Baseline, interactions: Interactions, split: Split) -> None:
        self._user_codes, users = np.unique(interactions.user_codes[split.train], return_inverse=True)
        self._item_codes, items = np.unique(interactions.item_codes[split.train], return_inverse=True)
        times = interactions.timestamps_ms[split.train]
        self._now_ms = int(times[-1])
        self._baseline = baseline
        ones = np.ones(len(times), np.float32)
        observed = Observed(users.astype(np.int32), items.astype(np.int32), times, ones)
        baseline.fit(observed, len(self._user_codes), len(self._item_codes))
        latest_first = np.argsort(users[::-1], kind="stable")
        self._items, self._times = observed.item_rows[::-1][latest_first], times[::-1][latest_first]
        self._ones = ones
        self._bounds = np.searchsorted(users[::-1][latest_first], np.arange(len(self._user_codes) + 1))

    def __call__(self, users: npt.NDArray[np.int64], is_new_only: bool) -> npt.NDArray[np.int64]:
        """Return int64 ``[n, K]``, item codes, of users given by their codes; see ``RankItems``."""
        rows = np.searchsorted(self._user_codes, users)
        is_known = self._user_codes[np.minimum(rows, len(self._user_codes) - 1)] == users
        rows = np.where(is_known, rows, -1).astype(np.int64)
        histories = [self._history(row) for row in rows.tolist()]
        scores = self._baseline.scores(rows, histories, self._now_ms)  # [n, num_items]
        if is_new_only:
            for of_user, history in zip(scores, histories, strict=True):
                of_user[history.item_rows] = -np.inf
        count = min(K, scores.shape[1])
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        best_scores = np.take_along_axis(scores, best, 1)
        order = np.argsort(-best_scores, axis=1, kind="stable")
        codes = self._item_codes[np.take_along_axis(best, order, 1)]
        ranked = np.full((len(users), K), -1, np.int64)
        ranked[:, :count] = np.where(np.isfinite(np.take_along_axis(best_scores, order, 1)), codes, -1)
        return ranked

    def _history(self, row: int) -> History:
        if row < 0:
            return _NOTHING
        mine = slice(self._bounds[row], self._bounds[row + 1])
        return History(self._items[mine], self._times[mine], self._ones[mine])
