"""The user's habit with an item: how often and how lately they had it, and whether it is due."""

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, Factor, History, Moment
from springtide_plugins.context_weights.counts import HalfLives
from springtide_plugins.context_weights.habit_kernels import habits

_DECAYED_FLOOR = 0.05  # A single event 4.3 half-lives ago; fainter counts are as good as 0.
_FALLBACK_EXPONENTS = {30.0: 0.5}  # By half-life in days, before any model has learned exponents.
_SHORTEST_DAYS = 1e-3  # A minute and a half; the logarithm of 0 is not finite.


class Repeat(ContextWeight):
    """A user's habit with an item: whether, how often and how lately they had it.

    All factors are signed: groceries are bought again, films are not watched again, and the learned exponents say
    which. The weight has no state, since the user's edges are in the graph.

    Args:
        half_lives_days: Half-lives of the decayed counts, in days, above 0; each is a factor.
    """

    def __init__(self, half_lives_days: HalfLives = (30.0, 90.0)) -> None:
        self._half_lives_ms = tuple(days * MS_PER_DAY for days in half_lives_days)
        self.factors = (
            Factor("had", is_signed=True, habit="had", fallback_exponent_seen=3.0),
            Factor("count", is_signed=True, habit="had", fallback_exponent_seen=1.0),
            *(
                Factor(
                    f"recent_{days:g}d",
                    is_signed=True,
                    habit="had",
                    fallback_exponent_seen=_FALLBACK_EXPONENTS.get(days),
                )
                for days in half_lives_days
            ),
        )

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32] | None:
        """Return 1, the log of the count, and the log of each decayed count over its floor."""
        if len(history.item_rows) == 0:
            return None
        items, inverse = history.distinct()
        return habits(
            np.ascontiguousarray(inverse),
            np.ascontiguousarray(history.timestamps_ms),
            len(items),
            moment.timestamp_ms,
            self._half_lives_ms,
            _DECAYED_FLOOR,
        )


class Cycle(ContextWeight):
    """Whether an item is due: the time since the user last had it, compared with their usual gap.

    The factor is a bump over the ratio of the two: 1 where they are equal, near 0 right after and long after. The usual
    gap is the mean of the user's gaps between days with the item. If there are few gaps, it is shrunk to the mean over
    all items of the user, and that to ``usual_gap_days``. The weight has no state, since the user's edges are in the
    graph.

    Args:
        usual_gap_days: Prior mean of the gap, in days, above 0.
        prior: Weight of the prior, in gaps, above 0.
        width: Standard deviation of the bump, in units of the logarithm of the ratio, above 0.
    """

    factors = (Factor("due", is_signed=True, habit="due"),)

    def __init__(
        self, usual_gap_days: PositiveFloat = 30.0, prior: PositiveFloat = 1.0, width: PositiveFloat = 0.7
    ) -> None:
        self.usual_gap_days = usual_gap_days
        self.prior = prior
        self.width = width

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32] | None:
        """Return how near each of the user's items is to being due, 0 to 1."""
        if len(history.item_rows) == 0:
            return None
        items, inverse = history.distinct()
        newest_ms = np.full(len(items), np.iinfo(np.int64).min)
        oldest_ms = np.full(len(items), np.iinfo(np.int64).max)
        np.maximum.at(newest_ms, inverse, history.timestamps_ms)
        np.minimum.at(oldest_ms, inverse, history.timestamps_ms)
        item_days = np.unique(np.stack([inverse, history.timestamps_ms // MS_PER_DAY]), axis=1)  # [2, num_item_days]
        num_gaps = np.bincount(item_days[0], minlength=len(items)) - 1
        spans_days = np.where(num_gaps > 0, (newest_ms - oldest_ms) / MS_PER_DAY, 0.0)
        of_user = (self.prior * self.usual_gap_days + spans_days.sum()) / (self.prior + num_gaps.sum())
        gaps_days = (self.prior * of_user + spans_days) / (self.prior + num_gaps)  # [num_items]
        since_days = np.maximum((moment.timestamp_ms - newest_ms) / MS_PER_DAY, _SHORTEST_DAYS)
        off = np.log(since_days / gaps_days) / self.width
        bumps: npt.NDArray[np.float32] = np.exp(-0.5 * off**2).astype(np.float32)[None, :]  # [1, num_items]
        return bumps
