"""What a measurement says of one model: means for each segment of the questions, and what they are the means of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

K = 20
"""How many items an answer holds."""

NEW, REPEAT, ALL = "new", "repeat", "all"
SEGMENTS = (NEW, REPEAT, ALL)
"""Items that the user never had, that the user had, and both."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class SegmentMetrics:
    """Means over the questions of a segment.

    Attributes:
        metrics: By name, such as ``ndcg@20``; all zero if nobody was asked.
        num_users: How many questions there were; each user is asked once, but in a replay.
        low: Lower bound of the 95 % interval of NDCG@20.
        high: Upper bound.
    """

    metrics: Mapping[str, float]
    num_users: int
    low: float = 0.0
    high: float = 0.0

    @property
    def ndcg(self) -> float:
        """NDCG@20."""
        return self.metrics["ndcg@20"]

    @property
    def recall(self) -> float:
        """Recall@20."""
        return self.metrics["recall@20"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """How good one model is.

    Attributes:
        segments: By name: ``SEGMENTS``, and finer ones such as ``new: user activity 10-49``.
        fit_seconds: Wall time of fitting, the exponents' included.
    """

    segments: Mapping[str, SegmentMetrics]
    fit_seconds: float

    @property
    def new(self) -> SegmentMetrics:
        """Items that the user had are left out of the answers and not asked for."""
        return self.segments[NEW]

    @property
    def all(self) -> SegmentMetrics:
        """Everything is ranked, and asked for."""
        return self.segments[ALL]


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement, and what it is made of, so that models can be compared question by question later.

    Attributes:
        measurement: The means.
        arrays: For each of ``SEGMENTS`` that was asked for, ``new.users`` int32 ``[n]`` and ``new.ndcg`` float32
            ``[n]``, in the same order for all models; ``all.times`` int64 ``[n]``, milliseconds, where each question
            has a time of its own; ``reliability`` float64 ``[3, num_bins]`` where scores are chances.
    """

    measurement: Measurement
    arrays: Arrays = field(default_factory=dict)
