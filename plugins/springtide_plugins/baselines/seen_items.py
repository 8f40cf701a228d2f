"""Seen items first, by how often or how recently the user chose them; then popular items."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import History
from springtide_plugins.baselines.histories import HistoryEvents, known_items, scaled_below_one, with_fallback
from springtide_plugins.baselines.popularity import Popularity, RecentPopularity


class OwnCounts(Popularity):
    """Number of the user's interactions with an item, ties by popularity; then unseen items by popularity."""

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return counts in the histories, plus popularity scaled below 1."""
        popularity = scaled_below_one(self.num_users_of)
        own = HistoryEvents.of(histories, self.num_items).sums()
        own.data += popularity[own.indices]
        return with_fallback(own, popularity)


class DecayedOwnCounts(RecentPopularity):
    """Decayed number of the user's interactions with an item; then unseen items by recent popularity.

    Args:
        half_life_days: Half-life of an interaction in days.
        days: Length of the window of recent popularity, in days.
    """

    def __init__(self, half_life_days: PositiveFloat = 60.0, days: PositiveFloat = 28.0) -> None:
        super().__init__(days)
        self.half_life_days = half_life_days

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return 1 plus the decayed counts in the histories, and recent popularity scaled below 1."""
        scores = np.tile(scaled_below_one(self.popularity_at(now_ms)), (len(histories), 1))  # [n, num_items]
        for of_user, history in zip(scores, histories, strict=True):
            items, item_of, timestamps_ms = known_items(history, self.num_items)
            ages_days = np.maximum(now_ms - timestamps_ms, 0) / MS_PER_DAY
            own = np.bincount(item_of, np.exp2(-ages_days / self.half_life_days), len(items))
            of_user[items] = own.astype(np.float32) + np.float32(1.0)
        return scores


class EdgeBank(Popularity):
    """Seen items, or those seen recently, by popularity; then the other items by popularity.

    Poursafaei et al. 2022, Towards Better Evaluation for Dynamic Link Prediction.

    Args:
        window_days: Length of the window in days; None for the whole history.
    """

    def __init__(self, window_days: PositiveFloat | None = None) -> None:
        self.window_ms = None if window_days is None else round(window_days * MS_PER_DAY)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return popularity scaled below 1, plus 1 for seen items."""
        popularity = scaled_below_one(self.num_users_of)
        if self.window_ms is not None:
            histories = [_after(history, now_ms - self.window_ms) for history in histories]
        own = HistoryEvents.of(histories, self.num_items).sums()
        own.data = 1.0 + popularity[own.indices]
        return with_fallback(own, popularity)


class MovingAverage(Popularity):
    """Exponential moving average of an item's share of the user's interactions, step by step; then popularity.

    Only steps with an interaction of the user count, so that nothing decays while a user is away.

    Args:
        step_days: Length of a step in days.
        newest_share: Weight of the newest step in the average; all earlier ones share the rest.
    """

    def __init__(
        self,
        step_days: PositiveFloat = 7.0,
        newest_share: Annotated[float, Field(gt=0, le=1)] = 0.2,
    ) -> None:
        self.step_ms = max(round(step_days * MS_PER_DAY), 1)
        self.newest_share = newest_share

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return 1 plus the average, and popularity scaled below 1."""
        events = HistoryEvents.of(histories, self.num_items)
        steps = -(events.timestamps_ms // self.step_ms)
        # Sorted pairs of user and step: the newest step of a user comes first.
        pairs, step_of, num_events = np.unique(
            np.stack([events.users, steps]), axis=1, return_inverse=True, return_counts=True
        )
        first_of_user = np.searchsorted(pairs[0], pairs[0])
        steps_ago = np.arange(pairs.shape[1]) - first_of_user
        shares = self.newest_share * (1.0 - self.newest_share) ** steps_ago / num_events
        own = events.sums(shares[step_of.ravel()])
        own.data += 1.0
        return with_fallback(own, scaled_below_one(self.num_users_of))


def _after(history: History, timestamp_ms: int) -> History:
    """Return the events of a history after a time."""
    count = len(history.timestamps_ms) - int(np.searchsorted(history.timestamps_ms[::-1], timestamp_ms, side="right"))
    return History(history.item_rows[:count], history.timestamps_ms[:count], history.weights[:count])
