"""Items that the user touched within the last minutes."""

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.plugins.contracts import ContextWeight, Factor, History, Moment

_MS_PER_MINUTE = 60_000


class Session(ContextWeight):
    """What the user touched within the last minutes: whether they did, and how strongly.

    Both factors are signed: an item just bought is not bought again, an item just looked at is; edge weights tell the
    two apart. The weight has no state, since the user's edges are in the graph.

    Args:
        window_minutes: How long an interaction belongs to the session, in minutes, above 0.
    """

    factors = (Factor("touched", is_signed=True, habit="session"), Factor("strength", is_signed=True, habit="session"))

    def __init__(self, window_minutes: PositiveFloat = 30.0) -> None:
        self._window_ms = window_minutes * _MS_PER_MINUTE

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32] | None:
        """Return 1, and the log of 1 plus the summed weights, for items of the session; 0 for other items."""
        # Histories are newest first, so the session is the beginning. Events after the moment count as now.
        num_recent = int(np.searchsorted(-history.timestamps_ms, self._window_ms - moment.timestamp_ms, side="left"))
        if num_recent == 0:
            return None
        items, inverse = history.distinct()
        weights = np.bincount(inverse[:num_recent], history.weights[:num_recent], minlength=len(items))
        return np.stack([weights > 0, np.log1p(weights)]).astype(np.float32)
