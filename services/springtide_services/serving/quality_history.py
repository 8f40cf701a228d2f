"""Live quality over time: points of a minute or more, each of one version, in constant memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_SECOND
from springtide.evaluation.measures.metrics import K, ndcg_of_ranks
from springtide_services.serving.quality_drop import Quality

MAX_POINTS = 2_000
"""Then neighbours are joined: at a minute each, after 33 hours."""

_SPAN_MS = 60 * MS_PER_SECOND
_NDCG = [0.0, *ndcg_of_ranks(np.arange(1, K + 1)).tolist()]  # By rank, from 1.


@dataclass(frozen=True, slots=True)
class PointQuality:
    """Quality in a span of time.

    Attributes:
        start_ms: When its first questions were asked, by the wall clock, milliseconds since the Unix epoch.
        end_ms: When its last ones were.
        version: Registry version that ranked; empty for the fallback without a model.
        all: Quality over all its events.
        unseen: Quality over the events with an item that the user had not seen.
    """

    start_ms: int
    end_ms: int
    version: str
    all: Quality
    unseen: Quality


@dataclass(slots=True)
class _Sums:
    """Sums over some ranks, which can be added up."""

    count: int = 0
    ndcg: float = 0.0
    hits: int = 0
    reciprocal: float = 0.0

    def add(self, rank: int) -> None:
        self.count += 1
        self.reciprocal += 1.0 / rank
        if rank <= K:
            self.hits += 1
            self.ndcg += _NDCG[rank]

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.count + other.count,
            self.ndcg + other.ndcg,
            self.hits + other.hits,
            self.reciprocal + other.reciprocal,
        )

    def quality(self) -> Quality:
        count = max(self.count, 1)
        return Quality(self.count, self.ndcg / count, self.hits / count, self.reciprocal / count)


@dataclass(slots=True)
class _Point:
    start_ms: int
    end_ms: int
    version: str
    all: _Sums = field(default_factory=_Sums)
    unseen: _Sums = field(default_factory=_Sums)

    def __add__(self, later: "_Point") -> "_Point":
        return _Point(self.start_ms, later.end_ms, self.version, self.all + later.all, self.unseen + later.unseen)

    def quality(self) -> PointQuality:
        return PointQuality(self.start_ms, self.end_ms, self.version, self.all.quality(), self.unseen.quality())


class QualityHistory:
    """What live quality was over time. One thread adds and others read, under a lock of the caller.

    A point is of a minute at first. When there are too many, neighbours of one version are joined, and points are of
    twice the time from then on.

    Args:
        max_points: Most points, 2 or more.
    """

    def __init__(self, max_points: int = MAX_POINTS) -> None:
        self._max_points = max_points
        self._span_ms = _SPAN_MS
        self._points: list[_Point] = []

    def add(self, version: str, ranks: npt.NDArray[np.int64], is_unseen: npt.NDArray[np.bool_], now_ms: int) -> None:
        """Add ranks that a version gave.

        Args:
            version: Registry version; empty for the fallback without a model.
            ranks: int64 ``[n]``, 1 for the best.
            is_unseen: Whether each user had not seen the item, bool ``[n]``.
            now_ms: The wall clock, milliseconds since the Unix epoch.
        """
        last = self._points[-1] if self._points else None
        # A clock that was set back begins a new point, too: its time would be before that of the one before.
        if last is None or last.version != version or not 0 <= now_ms - last.start_ms < self._span_ms:
            self._points.append(last := _Point(now_ms, now_ms, version))
            if len(self._points) > self._max_points:
                self._join()
                last = self._points[-1]
        last.end_ms = max(last.end_ms, now_ms)
        for rank, unseen in zip(ranks.tolist(), is_unseen.tolist(), strict=True):  # Few: NumPy would take longer.
            last.all.add(rank)
            if unseen:
                last.unseen.add(rank)

    def points(self) -> Callable[[], Sequence[PointQuality]]:
        """Return what returns the points of now, the oldest first; to be called without the lock, since it takes time.

        Only the last point changes: others are replaced when they are joined.
        """
        if not self._points:
            return list
        before, last = self._points[:-1], self._points[-1].quality()
        return lambda: [*(point.quality() for point in before), last]

    def _join(self) -> None:
        """Join each point with the one after it, if one version ranked in both; if none can be, drop the oldest."""
        self._span_ms *= 2
        joined: list[_Point] = []
        may_take = False  # Each point takes in one at most: points of one age are of about the same length then.
        for point in self._points:
            if may_take and joined[-1].version == point.version:
                joined[-1] += point
                may_take = False
            else:
                joined.append(point)
                may_take = True
        self._points = joined[-self._max_points :]
