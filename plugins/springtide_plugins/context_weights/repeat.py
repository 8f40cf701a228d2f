"""What a user's own history with an item says about having it again."""

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, Factor, History, Moment
from springtide_plugins.context_weights.counts import HalfLives

_DECAYED_FLOOR = 0.05  # A single event 4.3 half-lives ago: what is fainter counts as gone.


class Repeat(ContextWeight):
    """A user's own habit with an item: whether, how often and how lately they had it.

    All factors are signed: groceries are bought again, films are not watched again, and the learned exponents say
    which. It keeps nothing of its own, since the user's edges are in the graph.

    Args:
        half_lives_days: One factor of decayed counts for each; above 0.
    """

    def __init__(self, half_lives_days: HalfLives = (30.0, 90.0)) -> None:
        self._half_lives_ms = tuple(days * MS_PER_DAY for days in half_lives_days)
        self.factors = (
            Factor("had", is_signed=True),
            Factor("count", is_signed=True),
            *(Factor(f"recent_{days:g}d", is_signed=True) for days in half_lives_days),
        )

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32] | None:
        """Return 1, the log of the count, and the log of each decayed count over its floor."""
        if len(history.item_rows) == 0:
            return None
        items, inverse = history.distinct()
        counts = np.bincount(inverse, minlength=len(items))
        ages_ms = np.maximum(moment.timestamp_ms - history.timestamps_ms, 0)
        terms = [np.ones(len(items)), np.log(counts)]
        for half_life_ms in self._half_lives_ms:
            decayed = np.bincount(inverse, 2.0 ** (-ages_ms / half_life_ms), minlength=len(items))
            terms.append(np.log1p(decayed / _DECAYED_FLOOR))
        return np.stack(terms).astype(np.float32)
