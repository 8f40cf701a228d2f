"""Types of the tables of transitions, whose meaning is told in ``transition_tables.pyx``."""

from typing import Any

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

class Transitions:
    total: float

    def __init__(self, window: int, most_followers: int, num_latest: int) -> None: ...
    def add(
        self, user_rows: Int32s, item_rows: Int32s, seconds: Int64s, growths: Floats, start: int, stop: int
    ) -> None: ...
    def remove(
        self, user_rows: Int32s, item_rows: Int32s, seconds: Int64s, growths: Floats, start: int, stop: int
    ) -> None: ...
    def scale(self, factor: float) -> None: ...
    def forget(self, user_rows: Int32s, is_item_gone: npt.NDArray[np.bool_], growths: Floats) -> None: ...
    def lifts(self, item_rows: Int32s, shares: Floats, scale: float, prior: float) -> tuple[Int32s, Floats]: ...
    def state(self) -> dict[str, npt.NDArray[Any]]: ...
    def restore(
        self,
        total: Floats,
        leaving: Floats,
        coming: Floats,
        num_followers: Int32s,
        followers: Int32s,
        counts: npt.NDArray[np.float32],
        latest_counts: Int32s,
        latest_items: Int32s,
        latest_seconds: Int64s,
    ) -> None: ...
