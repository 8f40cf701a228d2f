"""How well what is served foretells what comes in: ranks in rolling windows, and whether they have got worse."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

K = 20
MISSED = 2**31 - 1  # The rank of an item that is not there, however few there are.
_MAX_VERSIONS = 5  # Windows are kept of as many versions, those asked last.
_MIN_ERRORS = 3.0  # Of the difference: a smaller one is chance too often, among so many windows.


@dataclass(frozen=True, slots=True)
class Quality:
    """Of some questions, each with one right item, ranked among all.

    Attributes:
        num_questions: How many; all else is 0 if there was none.
        ndcg: Mean of ``1 / log2(1 + rank)`` where the rank is 20 or better, else 0.
        hit_rate: Share of ranks of 20 or better.
        mrr: Mean of ``1 / rank``.
    """

    num_questions: int
    ndcg: float
    hit_rate: float
    mrr: float

    @classmethod
    def of(cls, ranks: npt.NDArray[np.int64]) -> "Quality":
        """Return the quality that ranks are of, int64 ``[n]``, 1 for the best."""
        if not len(ranks):
            return cls(0, 0.0, 0.0, 0.0)
        return cls(len(ranks), float(_gains(ranks).mean()), float((ranks <= K).mean()), float((1.0 / ranks).mean()))


@dataclass(frozen=True, slots=True)
class WindowQuality:
    """Of the last questions.

    Attributes:
        version: What was asked; empty for the fallback without a model.
        all: Of all questions.
        new: Of those about items that were new to the user.
    """

    version: str
    all: Quality
    new: Quality


@dataclass(frozen=True, slots=True)
class Drop:
    """A version that has got worse.

    Attributes:
        version: Of the registry.
        first_ndcg: Of its first window.
        ndcg: Of the window in which it was noticed.
        num_questions: Of either window.
    """

    version: str
    first_ndcg: float
    ndcg: float
    num_questions: int

    @property
    def reason(self) -> str:
        """In words."""
        return (
            f"live quality of {self.version} fell: NDCG@{K} {self.ndcg:.4f} over the last {self.num_questions:,} "
            f"events, {self.first_ndcg:.4f} over the first"
        )


class QualityWindows:
    """The last ranks, of everything and of each version.

    Args:
        size: How many questions a window holds.
        max_drop: The share of the NDCG of its first window that a version may lose; None for all of it.
    """

    def __init__(self, size: int, max_drop: float | None) -> None:
        self._size = size
        self._max_drop = max_drop
        self._recent = _Window(size)
        self._by_version: OrderedDict[str, _Window] = OrderedDict()
        self._dropped: set[str] = set()

    def add(self, version: str, ranks: npt.NDArray[np.int64], is_new: npt.NDArray[np.bool_]) -> Drop | None:
        """Take the ranks that a version gave, oldest first, and return its drop if it is noticed now.

        A version drops once, if at all. Its NDCG over the last window is held against that over the first, which is one
        sample: the best of many windows would be the luckiest. The loss must be more than ``max_drop``, and more than
        chance explains.
        """
        window = self._by_version.setdefault(version, _Window(self._size))
        self._by_version.move_to_end(version)
        if len(self._by_version) > _MAX_VERSIONS:
            self._by_version.popitem(last=False)
        for rank, new in zip(ranks.tolist(), is_new.tolist(), strict=True):
            self._recent.add(rank, new)
            window.add(rank, new)
        if not version or version in self._dropped or self._max_drop is None:
            return None
        drop = window.drop(version, self._max_drop)
        if drop is not None:
            self._dropped.add(version)
        return drop

    def recent(self, version: str) -> WindowQuality:
        """Return the quality of the last questions, whatever was asked; ``version`` is what is asked now."""
        return self._recent.quality(version)

    def versions(self) -> tuple[WindowQuality, ...]:
        """Return the quality of each version's last questions, the version asked last first."""
        return tuple(window.quality(version) for version, window in reversed(self._by_version.items()))


class _Window:
    """The last ranks, and what the first full window gained."""

    def __init__(self, size: int) -> None:
        self._ranks = np.zeros(size, np.int64)
        self._is_new = np.zeros(size, bool)
        self._num_added = 0
        self._first_gains = np.zeros(size)

    def add(self, rank: int, is_new: bool) -> None:
        size = len(self._ranks)
        self._ranks[self._num_added % size] = rank
        self._is_new[self._num_added % size] = is_new
        self._num_added += 1
        if self._num_added == size:
            self._first_gains = _gains(self._ranks)

    def quality(self, version: str) -> WindowQuality:
        size = min(self._num_added, len(self._ranks))
        ranks = self._ranks[:size]
        return WindowQuality(version, Quality.of(ranks), Quality.of(ranks[self._is_new[:size]]))

    def drop(self, version: str, max_drop: float) -> Drop | None:
        size = len(self._ranks)
        if self._num_added < 2 * size:
            return None  # The last window overlaps the first.
        gains, first_gains = _gains(self._ranks), self._first_gains
        ndcg, first = float(gains.mean()), float(first_gains.mean())
        error = math.sqrt((gains.var() + first_gains.var()) / size)
        if ndcg >= (1.0 - max_drop) * first or first - ndcg <= _MIN_ERRORS * error:
            return None
        return Drop(version, first, ndcg, size)


def _gains(ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    gains: npt.NDArray[np.float64] = np.where(ranks <= K, 1.0 / np.log2(1.0 + ranks), 0.0)
    return gains
