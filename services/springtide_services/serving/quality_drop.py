"""Rolling windows of live quality: metrics of the last ranks, and alerts when a version gets worse."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.metrics import K, ndcg_of_ranks

MISSED = 2**31 - 1  # The rank of an item that is not ranked.
_MAX_VERSIONS = 5  # Windows are kept for this many versions, those that ranked last.
_MIN_ERRORS = 3.0  # Standard errors of a drop: with many overlapping windows, smaller drops occur by chance.


@dataclass(frozen=True, slots=True)
class Quality:
    """Metrics of the ranks of some events' items, each among all items.

    Attributes:
        num_questions: Number of events; the metrics are 0 if there was none.
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
        """Return the metrics of ranks, int64 ``[n]``, 1 for the best."""
        if not len(ranks):
            return cls(0, 0.0, 0.0, 0.0)
        ndcg = float(ndcg_of_ranks(ranks).mean())
        return cls(len(ranks), ndcg, float((ranks <= K).mean()), float((1.0 / ranks).mean()))


@dataclass(frozen=True, slots=True)
class WindowQuality:
    """Quality over the last events measured.

    Attributes:
        version: Registry version that ranked; empty for the fallback without a model.
        all: Quality over all these events.
        unseen: Quality over the events with an item that the user had not seen.
    """

    version: str
    all: Quality
    unseen: Quality


@dataclass(frozen=True, slots=True)
class Drop:
    """An alert: a version ranks worse than at first.

    Attributes:
        version: Registry version.
        first_ndcg: NDCG of its first window.
        ndcg: NDCG of the window in which the drop was noticed.
        num_questions: Number of events in each of the two windows.
    """

    version: str
    first_ndcg: float
    ndcg: float
    num_questions: int

    @property
    def reason(self) -> str:
        """The drop in words."""
        return (
            f"live quality of {self.version} fell: NDCG@{K} {self.ndcg:.4f} over the last {self.num_questions:,} "
            f"events, {self.first_ndcg:.4f} over the first"
        )


class QualityWindows:
    """The last ranks, over all versions and for each of the latest versions.

    Args:
        size: Number of events in a window.
        max_drop: The share of its first window's NDCG that a version may lose without an alert; None for no alerts.
    """

    def __init__(self, size: int, max_drop: float | None) -> None:
        self._size = size
        self._max_drop = max_drop
        self._recent = _Window(size)
        self._by_version: OrderedDict[str, _Window] = OrderedDict()
        self._dropped: set[str] = set()

    def add(self, version: str, ranks: npt.NDArray[np.int64], is_unseen: npt.NDArray[np.bool_]) -> Drop | None:
        """Add ranks that a version gave, and return its drop if it is noticed now.

        At most one alert per version. The NDCG of the version's last window is compared with that of its first one,
        not with its best one: the best of many windows is the luckiest. The loss must be larger than ``max_drop`` and
        statistically significant.

        Args:
            version: Registry version; empty for the fallback without a model, which gives no alert.
            ranks: int64 ``[n]``, 1 for the best, oldest first.
            is_unseen: Whether each user had not seen the item, bool ``[n]``.
        """
        window = self._by_version.setdefault(version, _Window(self._size))
        self._by_version.move_to_end(version)
        if len(self._by_version) > _MAX_VERSIONS:
            self._by_version.popitem(last=False)
        for rank, unseen in zip(ranks.tolist(), is_unseen.tolist(), strict=True):
            self._recent.add(rank, unseen)
            window.add(rank, unseen)
        if not version or version in self._dropped or self._max_drop is None:
            return None
        drop = window.drop(version, self._max_drop)
        if drop is not None:
            self._dropped.add(version)
        return drop

    def recent(self, version: str) -> WindowQuality:
        """Return the quality over the last events, whichever version ranked them; ``version`` is the one served now."""
        return self._recent.quality(version)

    def versions(self) -> tuple[WindowQuality, ...]:
        """Return the quality over each version's last events, the version that ranked last first."""
        return tuple(window.quality(version) for version, window in reversed(self._by_version.items()))


class _Window:
    """The last ranks, and the NDCG of each rank in the first full window."""

    def __init__(self, size: int) -> None:
        self._ranks = np.zeros(size, np.int64)
        self._is_unseen = np.zeros(size, bool)
        self._num_added = 0
        self._first_gains = np.zeros(size)

    def add(self, rank: int, is_unseen: bool) -> None:
        size = len(self._ranks)
        self._ranks[self._num_added % size] = rank
        self._is_unseen[self._num_added % size] = is_unseen
        self._num_added += 1
        if self._num_added == size:
            self._first_gains = ndcg_of_ranks(self._ranks)

    def quality(self, version: str) -> WindowQuality:
        size = min(self._num_added, len(self._ranks))
        ranks = self._ranks[:size]
        return WindowQuality(version, Quality.of(ranks), Quality.of(ranks[self._is_unseen[:size]]))

    def drop(self, version: str, max_drop: float) -> Drop | None:
        size = len(self._ranks)
        if self._num_added < 2 * size:
            return None  # The last window overlaps the first.
        gains, first_gains = ndcg_of_ranks(self._ranks), self._first_gains
        ndcg, first = float(gains.mean()), float(first_gains.mean())
        error = math.sqrt((gains.var() + first_gains.var()) / size)
        if ndcg >= (1.0 - max_drop) * first or first - ndcg <= _MIN_ERRORS * error:
            return None
        return Drop(version, first, ndcg, size)
