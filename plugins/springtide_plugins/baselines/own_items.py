"""What the user had already, again: by how often, how lately, or at all; then what is popular."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import History
from springtide_plugins.baselines.popularity import Popularity, RecentPopularity
from springtide_plugins.baselines.taken import Taken, below_one, first_then


class OwnCounts(Popularity):
    """How often the user had an item, ties by popularity; then the others by popularity."""

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return counts of the histories plus popularity below one."""
        popularity = below_one(self.num_users_of)
        own = Taken.of(histories, self.num_items).sums()
        own.data += popularity[own.indices]
        return first_then(own, popularity)


class DecayedOwnCounts(RecentPopularity):
    """How often the user had an item, the later the more; then the others by recent popularity.

    Args:
        half_life_days: After how many days an interaction counts half.
        days: Window of the recent popularity.
    """

    def __init__(self, half_life_days: PositiveFloat = 60.0, days: PositiveFloat = 28.0) -> None:
        super().__init__(days)
        self.half_life_days = half_life_days

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return 1 plus the decayed counts of the histories, and recent popularity below one."""
        taken = Taken.of(histories, self.num_items)
        ages_days = np.maximum(now_ms - taken.timestamps_ms, 0) / MS_PER_DAY
        own = taken.sums(np.exp2(-ages_days / self.half_life_days))
        own.data += 1.0
        return first_then(own, below_one(self.popularity_at(now_ms)))


class EdgeBank(Popularity):
    """Whether the user ever had an item, or had it lately; then the others; each by popularity.

    Poursafaei et al. 2022, Towards Better Evaluation for Dynamic Link Prediction.

    Args:
        window_days: How long ago a user may have had it; none for ever.
    """

    def __init__(self, window_days: PositiveFloat | None = None) -> None:
        self.window_ms = None if window_days is None else round(window_days * MS_PER_DAY)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return popularity below one, and one more for what the user had."""
        popularity = below_one(self.num_users_of)
        if self.window_ms is not None:
            histories = [_after(history, now_ms - self.window_ms) for history in histories]
        own = Taken.of(histories, self.num_items).sums()
        own.data = 1.0 + popularity[own.indices]
        return first_then(own, popularity)


class MovingAverage(Popularity):
    """The exponential moving average of an item's share in what the user took, step by step; then popularity.

    A step is a span of time in which the user took anything: while a user is away, nothing fades.

    Args:
        step_days: Length of a step.
        newest_share: How much the newest step counts in the average; all before it count the rest.
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
        """Return 1 plus the average, and popularity below one."""
        taken = Taken.of(histories, self.num_items)
        steps = -(taken.timestamps_ms // self.step_ms)
        # Pairs of user and step in order: a user's newest step comes first.
        pairs, step_of, num_events = np.unique(
            np.stack([taken.owners, steps]), axis=1, return_inverse=True, return_counts=True
        )
        first_of_user = np.searchsorted(pairs[0], pairs[0])
        steps_ago = np.arange(pairs.shape[1]) - first_of_user
        shares = self.newest_share * (1.0 - self.newest_share) ** steps_ago / num_events
        own = taken.sums(shares[step_of.ravel()])
        own.data += 1.0
        return first_then(own, below_one(self.num_users_of))


def _after(history: History, timestamp_ms: int) -> History:
    """Return the part of a history that lies after a moment."""
    count = len(history.timestamps_ms) - int(np.searchsorted(history.timestamps_ms[::-1], timestamp_ms, side="right"))
    return History(history.item_rows[:count], history.timestamps_ms[:count], history.weights[:count])
