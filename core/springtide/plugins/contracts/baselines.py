"""What a baseline is: a ranking without a graph network, which every model has to beat."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, Observed


class Baseline:
    """Ranks items by what can be counted or factorised, and serves where no model is better.

    It is fitted on interactions, then asked with histories as they are at that moment: so it knows the last click too.
    The same class is measured beside the models and served in their place.
    """

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Learn from interactions, replacing all that was learned before.

        Args:
            interactions: Positive interactions, oldest first, at least one; the newest says what "now" is.
            num_users: Number of user rows.
            num_items: Number of item rows.

        Raises:
            TrainingError: If they are too many or too few for it.
        """
        raise NotImplementedError

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return how much each item suits each user, higher is better; what the user had is ranked too.

        Args:
            user_rows: int64 ``[n]``; -1 for users that the fit did not know.
            histories: What each of them did up to now; items that came after the fit have rows beyond its own.
            now_ms: The moment, milliseconds since the Unix epoch.

        Returns:
            float32 ``[n, num_items]``, finite, which the caller may write to.
        """
        raise NotImplementedError

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned, as named numeric arrays for the model registry: copies, safe to write later."""
        raise NotImplementedError

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``state`` gave."""
        raise NotImplementedError
