"""Edges as the serving half of an encoder sees them: ``Edges`` with numpy arrays, for folding nodes in."""

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from springtide.plugins.edge_features import AGE_HALF_LIVES_DAYS

Array = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Weights = Mapping[str, Array]
"""Parameters and buffers by their names in the ``state_dict`` of the training half."""

Carry = Callable[["ServingAggregator", Array], Array]
"""Combines the same messages by another aggregator with another weight, and returns float32 ``[num_targets, d]``."""

_HALF_LIVES_DAYS = np.array(AGE_HALF_LIVES_DAYS, np.float32)


class ServingAggregator:
    """The serving half of an aggregator.

    The factory takes these arguments and the options of the training half, with the same defaults; also ``make``
    (``MakeServingPart``), if its signature names it.

    Override ``reduce``, as the training half overrides ``forward``; or ``combine``, where that is an
    ``EdgeAggregation``. Sums and means are known to ``ServingEdges``, which computes them without gathering messages:
    ``ServingSum`` and ``ServingMean`` there.

    Args:
        width: Width ``d`` of the messages.
        weights: The aggregator's own parameters, float32.

    Example:
        >>> class Largest(ServingAggregator):
        ...     def reduce(self, messages, edges):
        ...         return edges.largest(messages)
    """

    def __init__(self, width: int, weights: Weights) -> None:
        self.width = width
        self.weights = weights

    def reduce(self, messages: Array, edges: "ServingEdges") -> Array:
        """Combine the messages at each target.

        Args:
            messages: float32 ``[num_edges, d]``, already scaled by the weights of the edges; at least one.
            edges: The edges, sorted by target.

        Returns:
            float32 ``[num_targets, d]``; zeros at a target without messages.
        """
        raise NotImplementedError

    def combine(self, edges: "ServingEdges", weight: Array, carry: Carry, width: int) -> Array | None:
        """Combine the messages of the edges at each target by what the edges are; None to leave it to ``reduce``.

        Args:
            edges: The edges.
            weight: float32 ``[num_edges]``, how much each edge counts.
            carry: Combines the same messages by another aggregator; for sums and means they are not gathered.
            width: Width ``d`` of the messages.

        Returns:
            float32 ``[num_targets, d]``.
        """
        return None


class ServingSum(ServingAggregator):
    """Sum of the messages, weighted by the edges: a matrix product."""

    def reduce(self, messages: Array, edges: "ServingEdges") -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        return edges.sum(messages)


class ServingMean(ServingAggregator):
    """Mean of the messages, weighted by the edges: a matrix product."""

    def reduce(self, messages: Array, edges: "ServingEdges") -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        return edges.sum(messages) / np.maximum(edges.counts, 1).astype(np.float32)[:, None]


class ServingEdges:
    """Edges from ``num_sources`` source nodes to ``num_targets`` target nodes, sorted by target.

    The edges of one target come oldest first. Attributes and products are those of ``plugins.edges.Edges``.

    Args:
        source: int64 ``[num_edges]``, index of each edge's source; None where edge ``i`` comes from source ``i``, as in
            a fold-in.
        target: int64 ``[num_edges]``, index of each edge's target, ascending.
        weight: float32 ``[num_edges]``, strength, above 0; duplicate edges are already added up.
        age_days: float32 ``[num_edges]``, days from the edge's last event to the graph's newest.
        source_degree: float32 ``[num_sources]``, sum of the weights at each source in the whole graph.
        target_degree: float32 ``[num_targets]``, the same for each target.
        relation: int64 ``[num_edges]``, index of each edge's type in ``Schema.relations``; None for an encoder that is
            not relational.
        source_type: int64 ``[num_sources]``, index of each source's node type in ``Schema.node_types``; or None.
        target_type: int64 ``[num_targets]``, the same for each target.
        stands_for: float32 ``[num_edges]``, how many edges each sampled edge stands for; None if nothing was sampled.
    """

    def __init__(
        self,
        source: Int64s | None,
        target: Int64s,
        weight: Array,
        age_days: Array,
        source_degree: Array,
        target_degree: Array,
        relation: Int64s | None = None,
        source_type: Int64s | None = None,
        target_type: Int64s | None = None,
        stands_for: Array | None = None,
    ) -> None:
        self._source = source
        self.target = target
        self.weight = weight
        self.age_days = age_days
        self.source_degree = source_degree
        self.target_degree = target_degree
        self.relation = relation
        self.source_type = source_type
        self.target_type = target_type
        self.stands_for = stands_for
        self._by_relation: dict[int, ServingEdges] = {}
        self._latest: dict[int, ServingEdges] = {}

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return len(self.target)

    @property
    def num_sources(self) -> int:
        """Number of source nodes."""
        return len(self.source_degree)

    @property
    def num_targets(self) -> int:
        """Number of target nodes."""
        return len(self.target_degree)

    @cached_property
    def source(self) -> Int64s:
        """Index of each edge's source, int64 ``[num_edges]``."""
        return np.arange(self.num_edges) if self._source is None else self._source

    @cached_property
    def counts(self) -> Int64s:
        """Number of edges of each target, int64 ``[num_targets]``."""
        return np.bincount(self.target, minlength=self.num_targets)

    @cached_property
    def pointers(self) -> Int64s:
        """Where each target's edges begin, int64 ``[num_targets + 1]``."""
        pointers = np.zeros(self.num_targets + 1, np.int64)
        np.cumsum(self.counts, out=pointers[1:])
        return pointers

    def counted_weight(self) -> Array:
        """Return float32 ``[num_edges]``: each weight times the number of edges that the edge stands for."""
        return self.weight if self.stands_for is None else self.weight * self.stands_for

    def symmetric_weight(self) -> Array:
        """Return float32 ``[num_edges]``: each weight, divided by the root of the product of its ends' degrees."""
        return self._symmetric

    @cached_property
    def _symmetric(self) -> Array:
        product = self.of_sources(self.source_degree) * self.of_targets(self.target_degree)
        symmetric: Array = self.counted_weight() / np.sqrt(np.maximum(product, np.float32(1e-12)))
        return symmetric

    def features(self) -> Array:
        """Return float32 ``[num_edges, NUM_EDGE_FEATURES]``: each edge's strength, and its freshness; see ``Edges``."""
        return self._features

    @cached_property
    def _features(self) -> Array:
        freshness = np.exp2(-self.age_days[:, None] / _HALF_LIVES_DAYS)
        return np.concatenate([self.weight[:, None], freshness], axis=1)

    def of_relation(self, relation: int) -> "ServingEdges":
        """Return the edges of one relation, between the same nodes; cached.

        Raises:
            ValueError: If the edges have no types: see ``Encoder.is_relational``.
        """
        if self.relation is None:
            raise ValueError("wanted edges that have types, got edges of one type: set is_relational on the encoder")
        if relation not in self._by_relation:
            chosen = np.flatnonzero(self.relation == relation)
            # All edges, as a user's often are: then no row is gathered.
            self._by_relation[relation] = self if len(chosen) == self.num_edges else self._select(chosen)
        return self._by_relation[relation]

    def newer(self) -> Int64s:
        """Return int64 ``[num_edges]``: how many edges of the same target are newer; see ``Edges``."""
        return self._newer

    @cached_property
    def _newer(self) -> Int64s:
        if not self.num_edges:
            return np.zeros(0, np.int64)
        is_last = np.ones(self.num_edges, bool)
        is_last[:-1] = (self.target[1:] != self.target[:-1]) | (self.age_days[1:] != self.age_days[:-1])
        last = np.flatnonzero(is_last)[np.cumsum(is_last) - is_last]
        newer: Int64s = self.pointers[self.target + 1] - 1 - last
        return newer

    def latest(self, count: int) -> "ServingEdges":
        """Return the edges that have fewer than ``count`` newer ones at their target; cached. See ``Edges``."""
        if count not in self._latest:
            is_late = self.newer() < count
            self._latest[count] = self if is_late.all() else self._select(np.flatnonzero(is_late))
        return self._latest[count]

    def of_sources(self, values: Array) -> Array:
        """Return the values of each edge's source, ``[num_edges, ...]``, given those of all, ``[num_sources, ...]``.

        The same array, not a copy, where each edge has a source of its own.
        """
        return values if self._source is None else values[self._source]

    def of_targets(self, values: Array) -> Array:
        """Return the values of each edge's target, ``[num_edges, ...]``, given those of all, ``[num_targets, ...]``.

        With one target, they are returned as they are, ``[1, ...]``, which broadcasts.
        """
        return values if self.num_targets == 1 else values[self.target]

    def aggregate(self, values: Array, aggregator: ServingAggregator, weight: Array | None = None) -> Array:
        """Combine, at each target, the values of its sources.

        Args:
            values: float32 ``[num_sources, d]``.
            aggregator: How to combine.
            weight: float32 ``[num_edges]``, how much each edge counts; ``counted_weight`` if None. Sums and means are
                weighted by it. Other aggregators get each message scaled by its edge's weight over the mean weight at
                the target, so that equal weights change nothing.

        Returns:
            float32 ``[num_targets, d]``; zeros at a target without edges, for sums and means.
        """
        return self.combine(self.of_sources(values), aggregator, weight)

    def combine(self, messages: Array, aggregator: ServingAggregator, weight: Array | None = None) -> Array:
        """Combine, at each target, the messages of its edges: ``aggregate`` for messages that differ by edge.

        Args:
            messages: float32 ``[num_edges, d]``.
            aggregator: How to combine.
            weight: As in ``aggregate``.

        Returns:
            float32 ``[num_targets, d]``; zeros at a target without edges, for sums and means.
        """
        weight = self.counted_weight() if weight is None else weight

        def carry(aggregator: ServingAggregator, weight: Array) -> Array:
            if type(aggregator) is ServingSum:
                return self.sum(messages, weight)
            if type(aggregator) is ServingMean:
                return self.sum(messages, weight) / self.total(weight)
            combined = aggregator.combine(self, weight, carry, messages.shape[1])
            return self._reduce(messages, aggregator, weight) if combined is None else combined

        return carry(aggregator, weight)

    def sum(self, messages: Array, weight: Array | None = None) -> Array:
        """Return the sum of the messages at each target, float32 ``[num_targets, d]``.

        Args:
            messages: float32 ``[num_edges, d]``.
            weight: float32 ``[num_edges]``, how much each counts; None for 1.
        """
        weight = np.ones(self.num_edges, np.float32) if weight is None else weight
        if self.num_targets == 1:
            return (weight @ messages)[None]
        return segment_sums(messages, weight, self.pointers)

    def total(self, weight: Array) -> Array:
        """Return float32 ``[num_targets, 1]``, the sum of the weights at each target, above 0 so that it can divide."""
        total = np.bincount(self.target, weight, minlength=self.num_targets)
        return np.maximum(total, 1e-12).astype(np.float32)[:, None]

    def largest(self, messages: Array) -> Array:
        """Return the maximum of the messages at each target in each component; zeros at a target without edges."""
        return segment_maxima(messages, self.pointers)

    def softmax(self, values: Array) -> Array:
        """Return the softmax of values over the edges of each target, float32 as the values, ``[num_edges, k]``."""
        powers = np.exp(values - self.largest(values)[self.target])
        shares: Array = powers / (self.sum(powers) + np.float32(1e-16))[self.target]
        return shares

    def _reduce(self, messages: Array, aggregator: ServingAggregator, weight: Array) -> Array:
        if self.num_edges == 0:
            return np.zeros((self.num_targets, messages.shape[1]), np.float32)
        mean = self.total(weight) / np.maximum(self.counts, 1).astype(np.float32)[:, None]  # [num_targets, 1]
        return aggregator.reduce(messages * (weight[:, None] / mean[self.target]), self)

    def _select(self, chosen: Int64s) -> "ServingEdges":
        """Return the edges with these indices, int64 ``[n]`` ascending."""
        return ServingEdges(
            self.source[chosen],
            self.target[chosen],
            self.weight[chosen],
            self.age_days[chosen],
            self.source_degree,
            self.target_degree,
            None if self.relation is None else self.relation[chosen],
            self.source_type,
            self.target_type,
            None if self.stands_for is None else self.stands_for[chosen],
        )


def segment_sums(messages: Array, weight: Array, pointers: Int64s) -> Array:
    """Return weighted sums of consecutive rows, float32 ``[num_segments, d]``; zeros for an empty segment.

    A product for each segment: 1 µs each, and 3 to 20 times as fast as ``np.add.reduceat`` along rows. A kernel may
    take its place.

    Args:
        messages: float32 ``[n, d]``.
        weight: float32 ``[n]``.
        pointers: int64 ``[num_segments + 1]``, where each segment begins, and ``n``.
    """
    sums = np.zeros((len(pointers) - 1, messages.shape[1]), np.float32)
    begin, ends = 0, pointers[1:].tolist()
    for segment, end in enumerate(ends):
        if end > begin:
            np.dot(weight[begin:end], messages[begin:end], out=sums[segment])
        begin = end
    return sums


def segment_maxima(messages: Array, pointers: Int64s) -> Array:
    """Return the maxima of consecutive rows in each component, float32 ``[num_segments, d]``; see ``segment_sums``."""
    maxima = np.zeros((len(pointers) - 1, messages.shape[1]), np.float32)
    begin, ends = 0, pointers[1:].tolist()
    for segment, end in enumerate(ends):
        if end > begin:
            messages[begin:end].max(axis=0, out=maxima[segment])
        begin = end
    return maxima
