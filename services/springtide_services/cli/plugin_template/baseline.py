"""A baseline: what was last had, by whomever, comes first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Baseline, BaselineFactory, History, Observed
from springtide.plugins.hookspecs import hookimpl


class MyPart(Baseline):
    """How fresh an item's interactions are, all together: each counts 1 at once, halved with every half-life.

    Args:
        half_life_days: Days.
    """

    def __init__(self, half_life_days: PositiveFloat = 7.0) -> None:
        self.half_life_days = half_life_days

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Add up how fresh they are, as of the newest of them."""
        age_days = (interactions.timestamps_ms[-1] - interactions.timestamps_ms) / MS_PER_DAY
        freshness = np.exp2(-age_days / self.half_life_days)
        self.freshness = np.bincount(interactions.item_rows, freshness, num_items).astype(np.float32)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return float32 ``[num_users, num_items]``, the same for every user."""
        return np.tile(self.freshness, (len(user_rows), 1))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned."""
        return {"freshness": self.freshness.copy()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what was learned."""
        self.freshness = state["freshness"]


@hookimpl
def register_baselines(register: Callable[[str, BaselineFactory], None]) -> None:
    """Register the baseline."""
    register("my_part", MyPart)
