"""A context weight: how recently the user had an item."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, ContextWeightFactory, Factor, History, Moment
from springtide.plugins.hookspecs import hookimpl


class MyPart(ContextWeight):
    """Recency of the user's last interaction with an item: 1 at first, and half as much after each half-life.

    Args:
        half_life_days: Half-life of the recency, in days.
    """

    factors = (Factor("recency", is_signed=True),)  # Groceries are bought again, films are not: the fit finds the sign.

    def __init__(self, half_life_days: PositiveFloat = 7.0) -> None:
        self.half_life_days = half_life_days

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32]:
        """Return float32 ``[1, num_distinct]``, in the order of ``history.distinct()``."""
        items, index = history.distinct()
        newest_ms = np.zeros(len(items))
        np.maximum.at(newest_ms, index, history.timestamps_ms)
        age_days = np.maximum(moment.timestamp_ms - newest_ms, 0) / MS_PER_DAY
        recency: npt.NDArray[np.float32] = np.exp2(-age_days / self.half_life_days).astype(np.float32)
        return recency[None, :]


@hookimpl
def register_context_weights(register: Callable[[str, ContextWeightFactory], None]) -> None:
    """Register the context weight."""
    register("my_part", MyPart)
