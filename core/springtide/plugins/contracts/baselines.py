"""Baselines: rankings without a graph neural network, which every model has to beat."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, Observed


class Baseline:
    """Ranks items without a graph neural network, and serves where no model is better.

    It is fitted on interactions. Each request brings the user's history up to that moment, so that it knows the last
    click, too. The same class is measured beside the models and served in their place.

    Example:
        >>> from springtide.testing import history_of, observed_of
        >>> class Counts(Baseline):
        ...     def fit(self, interactions, num_users, num_items):
        ...         self.counts = np.bincount(interactions.item_rows, minlength=num_items).astype(np.float32)
        ...
        ...     def scores(self, user_rows, histories, now_ms):
        ...         return np.tile(self.counts, (len(user_rows), 1))
        ...
        ...     def state(self):
        ...         return {"counts": self.counts.copy()}
        ...
        ...     def restore(self, state):
        ...         self.counts = state["counts"]
        >>> counts = Counts()
        >>> counts.fit(observed_of([(0, 2, 0), (1, 2, 1), (1, 0, 2)]), num_users=2, num_items=3)  # User, item, time.
        >>> counts.scores(np.array([0]), [history_of([(2, 0)])], now_ms=3)  # [n, num_items]
        array([[1., 0., 2.]], dtype=float32)
    """

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Learn from interactions, and forget what was learned before.

        Args:
            interactions: Positive interactions, oldest first, at least one; the newest one's time counts as now.
            num_users: Number of user rows.
            num_items: Number of item rows.

        Raises:
            TrainingError: If it cannot be fitted on so many, or so few, interactions.
        """
        raise NotImplementedError

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Score all items for each user; higher is better. Items that the user had are scored, too.

        Args:
            user_rows: int64 ``[n]``; -1 for users that came after the fit.
            histories: History of each user up to now; items that came after the fit have rows of ``num_items`` or more.
            now_ms: The time now, milliseconds since the Unix epoch.

        Returns:
            float32 ``[n, num_items]``, finite; the caller may write to it.
        """
        raise NotImplementedError

    def forget_users(self, user_rows: npt.NDArray[np.int64]) -> None:
        """Forget what is kept of some users of the fit, int64 ``[n]``; their rows stay, and the others keep theirs.

        Called after ``restore``, when a user was deleted. By default it does nothing, which is right for a baseline
        that keeps nothing by user.
        """

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned, as named numeric arrays for the model registry; copies."""
        raise NotImplementedError

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore what ``state`` returned."""
        raise NotImplementedError
