"""Edges as an encoder sees them, and the products that carry messages along them."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import Aggregation, MeanAggregation, SumAggregation

from springtide.plugins.edge_features import AGE_HALF_LIVES_DAYS
from springtide.plugins.edge_features import NUM_EDGE_FEATURES as NUM_EDGE_FEATURES  # For parts that import it here.
from springtide.plugins.edge_gradients import EndProducts, SparseProduct
from springtide.plugins.edge_products import edge_product
from springtide.plugins.edge_sampling import draw_edges, draw_probabilities, num_newer, num_stood_for

with warnings.catch_warnings():
    # Torch warns at the first sparse CSR tensor that they are in beta: users can do nothing about it.
    warnings.simplefilter("ignore", UserWarning)
    torch.eye(1).to_sparse_csr()


class EdgeAggregation(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """An aggregation that uses more than the messages: the edges' ages, types or weights.

    Example:
        >>> class LastWeek(EdgeAggregation):
        ...     def combine(self, edges, weight, carry, width):
        ...         return carry(MeanAggregation(), weight * (edges.age_days < 7))
        >>> edges = Edges(
        ...     source=torch.tensor([0, 1]),
        ...     target=torch.tensor([0, 0]),
        ...     weight=torch.ones(2),
        ...     age_days=torch.tensor([30.0, 1.0]),
        ...     source_degree=torch.ones(2),
        ...     target_degree=torch.tensor([2.0]),
        ... )
        >>> edges.aggregate(torch.tensor([[2.0], [5.0]]), LastWeek())  # [num_targets, d]
        tensor([[5.]])
    """

    def combine(
        self, edges: "Edges", weight: Tensor, carry: Callable[[Aggregation, Tensor], Tensor], width: int
    ) -> Tensor:
        """Combine the messages of the edges at each target.

        Args:
            edges: The edges.
            weight: float32 ``[num_edges]``, how much each edge counts.
            carry: Combines the same messages by another aggregation with another weight, and returns float32
                ``[num_targets, d]``. For sums and means this is fast: messages are not gathered.
            width: Width ``d`` of the messages.

        Returns:
            float32 ``[num_targets, d]``.
        """
        raise NotImplementedError

    def forward(self, *_: Any, **__: Any) -> Tensor:
        """Raise TypeError: messages cannot be combined without their edges."""
        raise TypeError(f"{type(self).__name__} needs the edges: pass it to edges.aggregate or edges.combine")


class Edges:
    """Edges from ``num_sources`` source nodes to ``num_targets`` target nodes, sorted by target.

    The edges of one target come oldest first.

    One object serves a whole graph (sources and targets are the same nodes) and a live fold-in
    (a few targets, their neighbours as sources).

    Args:
        source: int64 ``[num_edges]``, index of each edge's source.
        target: int64 ``[num_edges]``, index of each edge's target, ascending.
        weight: float32 ``[num_edges]``, strength, above 0; duplicate edges are already added up.
        age_days: float32 ``[num_edges]``, days from the edge's last event to the graph's newest.
        source_degree: float32 ``[num_sources]``, sum of the weights at each source in the whole graph.
        target_degree: float32 ``[num_targets]``, the same for each target.
        relation: int64 ``[num_edges]``, index of each edge's type in ``Schema.relations``; None for an encoder that is
            not relational and sees edges of one type only.
        source_type: int64 ``[num_sources]``, index of each source's node type in ``Schema.node_types``; or None.
        target_type: int64 ``[num_targets]``, the same for each target.
        stands_for: float32 ``[num_edges]``, how many edges each sampled edge stands for, so that the expected sum over
            sampled edges is the sum over all; None if nothing was sampled.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        weight: Tensor,
        age_days: Tensor,
        source_degree: Tensor,
        target_degree: Tensor,
        relation: Tensor | None = None,
        source_type: Tensor | None = None,
        target_type: Tensor | None = None,
        stands_for: Tensor | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.weight = weight
        self.age_days = age_days
        self.source_degree = source_degree
        self.target_degree = target_degree
        self.relation = relation
        self.source_type = source_type
        self.target_type = target_type
        self.stands_for = stands_for
        self.pointers = _pointers(target, self.num_targets)  # [num_targets + 1], where each target's edges begin
        self._transposed: tuple[Tensor, Tensor, Tensor] | None = None
        self._transposed_weight: tuple[Tensor, int, Tensor] | None = None  # The weight, its version, and it reordered.
        self._symmetric: Tensor | None = None
        self._features: Tensor | None = None
        self._by_relation: dict[int, Edges] = {}
        self._newer: Tensor | None = None
        self._latest: dict[int, Edges] = {}
        self._one_by_one: Edges | None = None
        self._probabilities_of: dict[float, tuple[Tensor, Tensor]] = {}

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return self.source.numel()

    @property
    def num_sources(self) -> int:
        """Number of source nodes."""
        return self.source_degree.numel()

    @property
    def num_targets(self) -> int:
        """Number of target nodes."""
        return self.target_degree.numel()

    def counted_weight(self) -> Tensor:
        """Return float32 ``[num_edges]``: each weight times the number of edges that the edge stands for."""
        return self.weight if self.stands_for is None else self.weight * self.stands_for

    def symmetric_weight(self) -> Tensor:
        """Return float32 ``[num_edges]``: each weight, divided by the root of the product of its ends' degrees.

        This is the normalisation of GCN (Kipf & Welling 2017, eq. 2) and LightGCN (He et al. 2020, eq. 3).
        """
        if self._symmetric is None:
            product = self.source_degree[self.source] * self.target_degree[self.target]
            self._symmetric = self.counted_weight() / product.clamp(min=1e-12).sqrt()
        return self._symmetric

    def features(self) -> Tensor:
        """Return float32 ``[num_edges, NUM_EDGE_FEATURES]``: each edge's strength, and its freshness.

        The strength is the weight. The freshness is ``2^(-age/h)`` for several half-lives ``h``: 1 for a new edge, and
        falling to 0, so that no feature grows without bound.
        """
        if self._features is None:
            half_lives = self.age_days.new_tensor(AGE_HALF_LIVES_DAYS)
            freshness = torch.exp2(-self.age_days.unsqueeze(-1) / half_lives)
            self._features = torch.cat([self.weight.unsqueeze(-1), freshness], dim=-1)
        return self._features

    def of_relation(self, relation: int) -> "Edges":
        """Return the edges of one relation, between the same nodes; cached.

        Raises:
            ValueError: If the edges have no types: see ``Encoder.is_relational``.
        """
        if self.relation is None:
            raise ValueError("wanted edges that have types, got edges of one type: set is_relational on the encoder")
        if relation not in self._by_relation:
            self._by_relation[relation] = self._select((self.relation == relation).nonzero().flatten())
        return self._by_relation[relation]

    def newer(self) -> Tensor:
        """Return int64 ``[num_edges]``: how many edges of the same target are newer. Edges of one age have the same."""
        if self._newer is None:
            self._newer = num_newer(self.pointers, self.target, self.age_days)
        return self._newer

    def latest(self, count: int) -> "Edges":
        """Return the edges that have fewer than ``count`` newer ones at their target; cached.

        These are the ``count`` latest of each target, and all that are as old as the last of these: which of a basket's
        items are taken must not depend on their order. Degrees stay those of the whole graph.
        """
        if count not in self._latest:
            self._latest[count] = self._select((self.newer() < count).nonzero().flatten())
        return self._latest[count]

    def one_by_one(self) -> "Edges":
        """Return the same edges, each from a source of its own; cached. Values of these sources are those of edges."""
        if self._one_by_one is None:
            own, ones = torch.arange(self.num_edges, device=self.source.device), torch.ones_like(self.weight)
            self._one_by_one = Edges(own, self.target, self.weight, self.age_days, ones, self.target_degree)
        return self._one_by_one

    def products(self, of_targets: Tensor, of_sources: Tensor) -> Tensor:
        """Return float32 ``[num_edges]``: the product of the vectors of both ends of each edge.

        Args:
            of_targets: float32 ``[num_targets, d]``.
            of_sources: float32 ``[num_sources, d]``.
        """
        products: Tensor = EndProducts.apply(self, of_targets, of_sources)  # type: ignore[no-untyped-call]  # torch's own
        return products

    def aggregate(self, values: Tensor, aggregator: Aggregation, weight: Tensor | None = None) -> Tensor:
        """Combine, at each target, the values of its sources.

        Sums and means are products with a sparse matrix, which is many times faster than gathering and scattering.
        Every other aggregator gets the gathered messages.

        Args:
            values: float32 ``[num_sources, d]``.
            aggregator: How to combine.
            weight: float32 ``[num_edges]``, how much each edge counts; ``counted_weight`` if None. Sums and means are
                weighted by it. Other aggregators get each message scaled by its edge's weight over the mean weight at
                the target, so that equal weights change nothing.

        Returns:
            float32 ``[num_targets, d]``; zeros at a target without edges, for sums and means.
        """
        weight = self.counted_weight() if weight is None else weight

        def carry(aggregator: Aggregation, weight: Tensor) -> Tensor:
            if isinstance(aggregator, EdgeAggregation):
                return aggregator.combine(self, weight, carry, values.shape[-1])
            if type(aggregator) is SumAggregation:
                return self._product(values, weight)
            if type(aggregator) is MeanAggregation:
                return self._product(values, weight) / self._total(weight)
            return self._reduce(values[self.source], aggregator, weight)

        return carry(aggregator, weight)

    def combine(self, messages: Tensor, aggregator: Aggregation, weight: Tensor | None = None) -> Tensor:
        """Combine, at each target, the messages of its edges: ``aggregate`` for messages that differ by edge.

        Args:
            messages: float32 ``[num_edges, d]``.
            aggregator: How to combine.
            weight: As in ``aggregate``.

        Returns:
            float32 ``[num_targets, d]``; zeros at a target without edges, for sums and means.
        """
        weight = self.counted_weight() if weight is None else weight

        def carry(aggregator: Aggregation, weight: Tensor) -> Tensor:
            if isinstance(aggregator, EdgeAggregation):
                return aggregator.combine(self, weight, carry, messages.shape[-1])
            if type(aggregator) is SumAggregation:
                return self._sum(messages * weight.unsqueeze(-1))
            if type(aggregator) is MeanAggregation:
                return self._sum(messages * weight.unsqueeze(-1)) / self._total(weight)
            return self._reduce(messages, aggregator, weight)

        return carry(aggregator, weight)

    def sample(self, fanout: int, generator: torch.Generator, half_life_days: float | None = None) -> "Edges":
        """Draw, with replacement, ``fanout`` edges of each target that has more; keep all edges of the others.

        Hamilton et al. 2017 (GraphSAGE), section 3.1: a fixed-size draw of each neighbourhood, uniform there.

        With a half-life, recent edges are drawn more often: in three draws of four, an edge's probability is halved
        with every half-life of its age, and the fourth draw is uniform. TGN (Rossi et al. 2020, section 3.1) takes only
        the latest neighbours. Here the model serves over whole neighbourhoods, so sampling must not change what it
        learns: an edge that is drawn more often stands for less. ``stands_for`` is one over the expected number of
        draws (Hansen & Hurwitz 1943), so that the expected sum is the sum over all edges, and means are weighted like
        means over all edges. The uniform share keeps any edge from standing for more than four times as much as in a
        uniform draw (defensive mixture, Hesterberg 1995). Where recent edges count more (``edge_half_life_days``,
        ``time_decay``, attention to age), most draws then fall on the edges that matter.

        Args:
            fanout: Edges drawn for each target that has more.
            generator: Source of randomness.
            half_life_days: Half-life of an edge's probability; None for a uniform draw.
        """
        degree = self.pointers.diff()
        target, chosen = draw_edges(self.pointers[:-1], degree, fanout, generator, self._cumulative(half_life_days))
        return self._select(chosen, self._stand_for(degree[target], chosen, fanout, half_life_days))

    def block(
        self, targets: Tensor, fanout: int, generator: torch.Generator, half_life_days: float | None = None
    ) -> tuple["Edges", Tensor]:
        """Draw ``fanout`` edges of some targets, as in ``sample``; sources and targets must be the same list of nodes.

        Args:
            targets: int64 ``[n]``, distinct nodes.
            fanout: Edges drawn for each target that has more.
            generator: Source of randomness.
            half_life_days: Half-life of an edge's probability; None for a uniform draw.

        Returns:
            Edges to the targets, in the order given, and int64 ``[num_sources]``, the nodes that are their sources:
            first the targets, then the neighbours that are no targets.
        """
        first, degree = self.pointers[targets], self.pointers[targets + 1] - self.pointers[targets]
        target, chosen = draw_edges(first, degree, fanout, generator, self._cumulative(half_life_days))
        source = self.source[chosen]
        index = torch.full((self.num_sources,), -1, dtype=torch.long, device=source.device)
        index[targets] = torch.arange(len(targets), device=source.device)
        is_source = torch.zeros(self.num_sources, dtype=torch.bool, device=source.device)
        is_source[source] = True
        others = (is_source & (index < 0)).nonzero().flatten()
        index[others] = torch.arange(len(targets), len(targets) + len(others), device=source.device)
        nodes = torch.cat([targets, others])
        block = Edges(
            index[source],
            target,
            self.weight[chosen],
            self.age_days[chosen],
            self.source_degree[nodes],
            self.target_degree[targets],
            None if self.relation is None else self.relation[chosen],
            None if self.source_type is None else self.source_type[nodes],
            None if self.target_type is None else self.target_type[targets],
            self._stand_for(degree[target], chosen, fanout, half_life_days),
        )
        return block, nodes

    def to(self, device: torch.device | str) -> "Edges":
        """Return the edges on a device; the same object if they are there already."""
        if self.source.device == torch.device(device):
            return self
        columns = (self.source, self.target, self.weight, self.age_days, self.source_degree, self.target_degree)
        others = (self.relation, self.source_type, self.target_type, self.stands_for)
        return Edges(
            *(column.to(device) for column in columns),
            *(None if column is None else column.to(device) for column in others),
        )

    def _select(self, chosen: Tensor, stands_for: Tensor | None = None) -> "Edges":
        """Return the edges with these indices, int64 ``[n]`` ascending, and how many edges each stands for."""
        if stands_for is None and self.stands_for is not None:
            stands_for = self.stands_for[chosen]
        return Edges(
            self.source[chosen],
            self.target[chosen],
            self.weight[chosen],
            self.age_days[chosen],
            self.source_degree,
            self.target_degree,
            None if self.relation is None else self.relation[chosen],
            self.source_type,
            self.target_type,
            stands_for,
        )

    def _probabilities(self, half_life_days: float) -> tuple[Tensor, Tensor]:
        """Return ``draw_probabilities`` and their running sum, float64 ``[num_edges]`` each; cached."""
        if half_life_days not in self._probabilities_of:
            found = draw_probabilities(self.target, self.pointers.diff(), self.age_days, half_life_days)
            self._probabilities_of[half_life_days] = found, found.cumsum(0)
        return self._probabilities_of[half_life_days]

    def _cumulative(self, half_life_days: float | None) -> Tensor | None:
        return None if half_life_days is None else self._probabilities(half_life_days)[1]

    def _stand_for(self, degree: Tensor, chosen: Tensor, fanout: int, half_life_days: float | None) -> Tensor:
        probability = None if half_life_days is None else self._probabilities(half_life_days)[0][chosen]
        return num_stood_for(degree, fanout, probability)

    def _total(self, weight: Tensor) -> Tensor:
        """Return float32 ``[num_targets, 1]``, the sum of the weights at each target, above 0 so that it can divide."""
        total = torch.zeros(self.num_targets, dtype=weight.dtype, device=weight.device)
        return total.index_add(0, self.target, weight).clamp(min=1e-12).unsqueeze(-1)

    def _sum(self, messages: Tensor) -> Tensor:
        sums = messages.new_zeros(self.num_targets, messages.shape[-1])
        return sums.index_add(0, self.target, messages)

    def _reduce(self, messages: Tensor, aggregator: Aggregation, weight: Tensor) -> Tensor:
        if self.num_edges == 0:
            # Some PyG aggregators fail without messages. The result is 0 and needs no gradient.
            return messages.new_zeros(self.num_targets, messages.shape[-1])
        count = self.pointers.diff().clamp(min=1).unsqueeze(-1)
        mean = self._total(weight) / count  # [num_targets, 1]
        scaled = messages * (weight.unsqueeze(-1) / mean[self.target])
        combined: Tensor = aggregator(scaled, index=self.target, ptr=None, dim_size=self.num_targets)
        return combined

    def _product(self, values: Tensor, weight: Tensor) -> Tensor:
        product: Tensor = SparseProduct.apply(self, weight, values)  # type: ignore[no-untyped-call]  # torch's own
        return product

    def transposed_product(self, weight: Tensor, values: Tensor) -> Tensor:
        """Add up, at each source, the values of its targets times the weights: float32 ``[num_sources, d]``."""
        if self._transposed is None:
            order = torch.argsort(self.source, stable=True)
            self._transposed = (_pointers(self.source[order], self.num_sources), self.target[order], order)
        pointers, target, order = self._transposed
        # Most encoders use the same weights at every step, and reordering them takes longer than the product.
        kept = self._transposed_weight
        if kept is None or kept[0].data_ptr() != weight.data_ptr() or kept[1] != weight._version:
            kept = self._transposed_weight = (weight.detach(), weight._version, weight.detach()[order])
        return edge_product(pointers, target, kept[2], values)


def _pointers(sorted_rows: Tensor, num_rows: int) -> Tensor:
    counts = torch.bincount(sorted_rows, minlength=num_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
