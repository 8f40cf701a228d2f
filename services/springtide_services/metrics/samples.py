"""Values of metrics."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buckets:
    """The value of a histogram.

    Attributes:
        edges: Upper edges, ascending.
        upto: How many values there are up to each edge, and in all: one more.
        total: Their sum.

    Raises:
        ValueError: If there is not one count for each edge and one for all.
    """

    edges: Sequence[float]
    upto: Sequence[int]
    total: float

    def __post_init__(self) -> None:
        if len(self.upto) != len(self.edges) + 1:
            raise ValueError(f"upto: wanted {len(self.edges) + 1} counts, got {len(self.upto)}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric.

    Attributes:
        name: Name of the metric.
        value: Its value.
        labels: Values of its labels, in the order of the catalogue.
    """

    name: str
    value: float | Buckets
    labels: tuple[str, ...] = ()
