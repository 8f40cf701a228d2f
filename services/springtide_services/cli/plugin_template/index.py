"""An index: items are grouped around some of them, and a search looks at the groups that are nearest."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from springtide.plugins.contracts import Index, IndexFactory
from springtide.plugins.hookspecs import hookimpl

_AT_ONCE = 4_096  # Items that are looked at together while it is built.


class MyPart(Index):
    """Groups of near items: each item belongs to the nearest of some that are drawn as centres.

    Args:
        num_searched: Groups that a search looks at, at least.
        seed: Seed of the centres.
    """

    def __init__(self, num_searched: PositiveInt = 8, seed: int = 0) -> None:
        self.num_searched = num_searched
        self.seed = seed

    def build(
        self, vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int32], is_wanted: Callable[[], bool]
    ) -> None:
        """Draw as many centres as a group has items, about, and put each item into the group of the nearest."""
        generator = np.random.default_rng(self.seed)
        drawn = generator.choice(rows, max(1, round(len(rows) ** 0.5)), replace=False)
        self.vectors, self.centres = vectors, vectors[drawn]
        group = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), _AT_ONCE):
            if not is_wanted():
                return
            part = slice(start, start + _AT_ONCE)
            group[part] = (vectors[rows[part]] @ self.centres.T).argmax(axis=1)
        by_group = np.argsort(group, kind="stable")
        self.groups = np.split(rows[by_group], np.cumsum(np.bincount(group, minlength=len(drawn)))[:-1])

    def search(self, vector: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.integer[Any]]:
        """Look at the nearest groups, and at more of them until there are enough items."""
        nearest = np.argsort(-(self.centres @ vector), kind="stable")
        enough = np.cumsum([len(self.groups[group]) for group in nearest]).searchsorted(count) + 1
        found = np.concatenate([self.groups[group] for group in nearest[: max(self.num_searched, enough)]])
        kept: npt.NDArray[np.int32] = found[np.argsort(-(self.vectors[found] @ vector), kind="stable")[:count]]
        return kept


@hookimpl
def register_indexes(register: Callable[[str, IndexFactory], None]) -> None:
    """Register the index."""
    register("my_part", MyPart)
