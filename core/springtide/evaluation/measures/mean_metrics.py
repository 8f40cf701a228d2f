"""The measurement of one model: mean metrics for each segment of the queries, and the arrays behind the means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

NEW, REPEAT, ALL = "new", "repeat", "all"
SEGMENTS = (NEW, REPEAT, ALL)
"""Items that the user has not interacted with before, items that the user has, and both."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class MeanMetrics:
    """Means over queries.

    Attributes:
        metrics: Means by name, such as ``ndcg@20``; all zero if there were no queries.
        num_users: Number of queries: one for each user, or one for each sampled event in a replay.
    """

    metrics: Mapping[str, float]
    num_users: int

    @property
    def ndcg(self) -> float:
        """NDCG@20."""
        return self.metrics["ndcg@20"]

    @property
    def recall(self) -> float:
        """Recall@20."""
        return self.metrics["recall@20"]


@dataclass(frozen=True, slots=True)
class SegmentMetrics(MeanMetrics):
    """Means over the queries of a segment.

    Attributes:
        low: Lower bound of the 95 % confidence interval of NDCG@20.
        high: Upper bound.
    """

    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, slots=True)
class FittedExponent:
    """The exponent of one factor of a context weight, or of the cosine, as the fit gave it.

    Attributes:
        unseen: For items that the user never had.
        unseen_error: Its standard error; None where it was not fitted.
        seen: For items that the user has had.
        seen_error: Its standard error; None where it was not fitted.
    """

    unseen: float
    unseen_error: float | None
    seen: float
    seen_error: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """How good one model is.

    Attributes:
        segments: Metrics by segment: ``SEGMENTS``, and finer ones such as ``new: user activity 10-49``.
        fit_seconds: Wall time of fitting, exponents included.
        answers_per_second: Rankings of new items that one thread gave in a second, in batches; None where it was not
            measured.
        live_share: Share of users whose answer changed with an event of a moment ago, 0 to 1; None where it was not
            measured.
        exponents: Exponents of a model by factor, such as ``weather`` or ``calendar: year``; empty for a baseline.
    """

    segments: Mapping[str, SegmentMetrics]
    fit_seconds: float
    answers_per_second: float | None = None
    live_share: float | None = None
    exponents: Mapping[str, FittedExponent] = field(default_factory=dict)

    @property
    def new(self) -> SegmentMetrics:
        """Metrics of unseen items: seen items are neither ranked nor relevant."""
        return self.segments[NEW]

    @property
    def all(self) -> SegmentMetrics:
        """Metrics of all items: every item is ranked."""
        return self.segments[ALL]


@dataclass(frozen=True, slots=True)
class DetailedMeasurement:
    """A measurement with the metrics of each query, so that models can be compared query by query later.

    Attributes:
        measurement: The means.
        arrays: For each of ``SEGMENTS`` with queries: ``new.users`` int32 ``[n]`` and ``new.ndcg`` float32 ``[n]``, in
            the same order for all models; ``all.times`` int64 ``[n]``, milliseconds, where each query has its own
            time; ``reliability`` float64 ``[3, num_bins]`` where scores are logits.
    """

    measurement: Measurement
    arrays: Arrays = field(default_factory=dict)
