"""A baseline: the most recently popular items come first, for every user."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Baseline, BaselineFactory, History, Observed
from springtide.plugins.hookspecs import hookimpl


class MyPart(Baseline):
    """Recent popularity: the sum over an item's interactions, each of which counts 1 and loses half in a half-life.

    Args:
        half_life_days: Half-life of an interaction, in days.
    """

    def __init__(self, half_life_days: PositiveFloat = 7.0) -> None:
        self.half_life_days = half_life_days

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Sum up each item's interactions, as of the newest one."""
        age_days = (interactions.timestamps_ms[-1] - interactions.timestamps_ms) / MS_PER_DAY
        weight = np.exp2(-age_days / self.half_life_days)
        self.popularity = np.bincount(interactions.item_rows, weight, num_items).astype(np.float32)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return float32 ``[num_users, num_items]``, the same for every user."""
        return np.tile(self.popularity, (len(user_rows), 1))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what ``fit`` has learned."""
        return {"popularity": self.popularity.copy()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set what ``fit`` had learned."""
        self.popularity = state["popularity"]


@hookimpl
def register_baselines(register: Callable[[str, BaselineFactory], None]) -> None:
    """Register the baseline."""
    register("my_part", MyPart)
