"""Edges as an encoder sees them, and the products that carry messages along them."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import Aggregation, MeanAggregation, SumAggregation

with warnings.catch_warnings():
    # Torch warns once, at the first of them, that sparse CSR tensors are in beta: nothing that a user can act on.
    warnings.simplefilter("ignore", UserWarning)
    torch.eye(1).to_sparse_csr()


AGE_HALF_LIVES_DAYS = (1.0, 7.0, 30.0, 180.0)
NUM_EDGE_FEATURES = 1 + len(AGE_HALF_LIVES_DAYS)
"""Width of ``Edges.features``: the strength, and the age at several half-lives."""
_UNIFORM_SHARE = 0.25  # Of draws by age: so no edge stands for more than four times what it does in a uniform draw.


class EdgeAggregation(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """An aggregation that looks at more than the messages: at the edges' ages, types or weights."""

    def combine(
        self, edges: "Edges", weight: Tensor, carry: Callable[[Aggregation, Tensor], Tensor], width: int
    ) -> Tensor:
        """Combine what comes along the edges.

        Args:
            edges: The edges.
            weight: float32 ``[num_edges]``, how much each edge counts so far.
            carry: Lets another aggregation combine the same messages under another weight: float32
                ``[num_targets, d]``. This is the fast way, since messages need not be gathered for sums and means.
            width: Width ``d`` of the messages.

        Returns:
            float32 ``[num_targets, d]``.
        """
        raise NotImplementedError

    def forward(self, *_: Any, **__: Any) -> Tensor:
        """Refuse: it cannot combine messages without their edges."""
        raise TypeError(f"{type(self).__name__} looks at edges: call edges.aggregate or edges.combine with it")


class Edges:
    """Edges from ``num_sources`` source nodes to ``num_targets`` target nodes, sorted by target.

    The edges of one target come oldest first.

    One object serves a whole graph (sources and targets are the same nodes) and a live fold-in
    (a few targets, their neighbours as sources).

    Args:
        source: int64 ``[num_edges]``, position of each edge's source.
        target: int64 ``[num_edges]``, position of each edge's target, ascending.
        weight: float32 ``[num_edges]``, strength, above 0; duplicate edges are already added up.
        age_days: float32 ``[num_edges]``, days from the edge's last event to the graph's newest.
        source_degree: float32 ``[num_sources]``, sum of the weights at each source in the whole graph.
        target_degree: float32 ``[num_targets]``, the same at each target.
        relation: int64 ``[num_edges]``, position of each edge's type in ``Schema.relations``; None where an encoder
            is not relational, and so sees edges of one type only.
        source_type: int64 ``[num_sources]``, position of each source's node type in ``Schema.node_types``; or None.
        target_type: int64 ``[num_targets]``, the same of each target.
        stands_for: float32 ``[num_edges]``, how many edges each one that was drawn stands for, so that sums over drawn
            edges expect what sums over all are; None where all are there.
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
        self._transposed_weight: tuple[Tensor, int, Tensor] | None = None  # Of which, in which version; in its order.
        self._symmetric: Tensor | None = None
        self._features: Tensor | None = None
        self._by_relation: dict[int, Edges] = {}
        self._drawn_by: dict[float, tuple[Tensor, Tensor]] = {}

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
        """Return float32 ``[num_edges]``: each weight, times how many edges the edge stands for."""
        return self.weight if self.stands_for is None else self.weight * self.stands_for

    def symmetric_weight(self) -> Tensor:
        """Return float32 ``[num_edges]``: each weight over the root of the product of its ends' degrees.

        This is the normalisation of GCN (Kipf & Welling 2017, eq. 2) and LightGCN (He et al. 2020, eq. 3).
        """
        if self._symmetric is None:
            product = self.source_degree[self.source] * self.target_degree[self.target]
            self._symmetric = self.counted_weight() / product.clamp(min=1e-12).sqrt()
        return self._symmetric

    def features(self) -> Tensor:
        """Return float32 ``[num_edges, NUM_EDGE_FEATURES]``: each edge's strength, and its age as shares of freshness.

        The strength is the weight; the age stands as ``2^(-age/h)`` for several half-lives ``h``, which is 1 at once
        and tends to 0, so that no feature grows without bound.
        """
        if self._features is None:
            half_lives = self.age_days.new_tensor(AGE_HALF_LIVES_DAYS)
            freshness = torch.exp2(-self.age_days.unsqueeze(-1) / half_lives)
            self._features = torch.cat([self.weight.unsqueeze(-1), freshness], dim=-1)
        return self._features

    def of_relation(self, relation: int) -> "Edges":
        """Return the edges of one type, between the same nodes; found once and kept.

        Raises:
            ValueError: If the edges have no types: see ``Encoder.is_relational``.
        """
        if self.relation is None:
            raise ValueError("wanted edges that have types, got edges of one type: set is_relational on the encoder")
        if relation not in self._by_relation:
            self._by_relation[relation] = self._chosen((self.relation == relation).nonzero().flatten())
        return self._by_relation[relation]

    def aggregate(self, values: Tensor, aggregator: Aggregation, weight: Tensor | None = None) -> Tensor:
        """Combine, at each target, what its sources hold.

        Sums and means are products with a sparse matrix, many times faster here than gathering and scattering;
        every other aggregator gets the gathered messages.

        Args:
            values: float32 ``[num_sources, d]``.
            aggregator: How to combine.
            weight: float32 ``[num_edges]``, how much each edge counts; ``counted_weight`` if absent. Sums multiply by
                it, means divide by its total; for others each message is scaled by its edge's weight over the mean
                weight at its target, so that equal weights change nothing.

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
        """Draw, with replacement, ``fanout`` edges of each target that has more; keep all of the others'.

        Hamilton et al. 2017 (GraphSAGE), section 3.1: a fixed-size draw of each neighbourhood, uniform there.

        With a half-life, the latest are drawn most: three draws of four go by age, an edge's chance halved with every
        half-life, and the fourth is uniform. TGN (Rossi et al. 2020, section 3.1) takes the latest neighbours for all
        that there are. Here the model is to stay the same, since it serves over whole neighbourhoods: what is drawn
        more often stands for less (``stands_for`` is one over the expected number of draws; Hansen & Hurwitz 1943), so
        that sums expect the sums over all edges, and means are weighted as means over all are. The uniform share keeps
        any edge from standing for more than four times what it does under a uniform draw (defensive mixture, Hesterberg
        1995). Where recent edges count more (``edge_half_life_days``, ``time_decay``, attention to age), draws then
        land where the messages are. That an old edge is to count for less is for those to say, in training and serving.

        Args:
            fanout: Edges drawn of a target that has more.
            generator: The source of chance.
            half_life_days: Half-life of the chance; None for a uniform draw.
        """
        degree = self.pointers.diff()
        target, chosen = _draw(self.pointers[:-1], degree, fanout, generator, self._cumulative(half_life_days))
        return self._chosen(chosen, self._stand_for(degree[target], chosen, fanout, half_life_days))

    def block(
        self, targets: Tensor, fanout: int, generator: torch.Generator, half_life_days: float | None = None
    ) -> tuple["Edges", Tensor]:
        """Draw ``fanout`` edges of each of some targets, as in ``sample``, for edges over one list of nodes.

        Args:
            targets: int64 ``[n]``, nodes, each once.
            fanout: Edges drawn of a target that has more.
            generator: The source of chance.
            half_life_days: Half-life of an edge's chance; None for a uniform draw.

        Returns:
            Edges to the targets in their order, and int64 ``[num_sources]``, the nodes that are their sources: the
            targets first, then those that only the edges lead to.
        """
        first, degree = self.pointers[targets], self.pointers[targets + 1] - self.pointers[targets]
        target, chosen = _draw(first, degree, fanout, generator, self._cumulative(half_life_days))
        source = self.source[chosen]
        place = torch.full((self.num_sources,), -1, dtype=torch.long, device=source.device)
        place[targets] = torch.arange(len(targets), device=source.device)
        is_met = torch.zeros(self.num_sources, dtype=torch.bool, device=source.device)
        is_met[source] = True
        others = (is_met & (place < 0)).nonzero().flatten()
        place[others] = torch.arange(len(targets), len(targets) + len(others), device=source.device)
        nodes = torch.cat([targets, others])
        block = Edges(
            place[source],
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
        """Return the edges on a device; the same object if they are there."""
        if self.source.device == torch.device(device):
            return self
        columns = (self.source, self.target, self.weight, self.age_days, self.source_degree, self.target_degree)
        others = (self.relation, self.source_type, self.target_type, self.stands_for)
        return Edges(
            *(column.to(device) for column in columns),
            *(None if column is None else column.to(device) for column in others),
        )

    def _chosen(self, chosen: Tensor, stands_for: Tensor | None = None) -> "Edges":
        """Return some edges, given by their positions, ascending, and by how many each stands for."""
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

    def _chances(self, half_life_days: float) -> tuple[Tensor, Tensor]:
        """Return how likely each edge is among those of its target, and the running sum, float64 ``[num_edges]`` each.

        Found once and kept: every training step draws.
        """
        if half_life_days not in self._drawn_by:
            degree = self.pointers.diff()
            newest = self.age_days.new_full((self.num_targets,), torch.inf)
            newest = newest.scatter_reduce(0, self.target, self.age_days, "amin")
            # Ages from the newest edge of the target: chances never all vanish, however old they are.
            recency = torch.exp2(-(self.age_days - newest[self.target]).double() / half_life_days)
            by_age = recency / recency.new_zeros(self.num_targets).index_add(0, self.target, recency)[self.target]
            chances = (1 - _UNIFORM_SHARE) * by_age + _UNIFORM_SHARE / degree[self.target]
            self._drawn_by[half_life_days] = chances, chances.cumsum(0)
        return self._drawn_by[half_life_days]

    def _cumulative(self, half_life_days: float | None) -> Tensor | None:
        return None if half_life_days is None else self._chances(half_life_days)[1]

    def _stand_for(self, degree: Tensor, chosen: Tensor, fanout: int, half_life_days: float | None) -> Tensor:
        """Return float32 ``[num_drawn]``: how many edges of its target, of which there are ``degree``, each stands for.

        One, where all of the target's are there; else one over how often it is expected among the draws.
        """
        if half_life_days is None:
            return (degree / fanout).clamp(min=1.0)
        stands_for = 1 / (fanout * self._chances(half_life_days)[0][chosen])
        return torch.where(degree > fanout, stands_for, 1.0).float()

    def _total(self, weight: Tensor) -> Tensor:
        """Return float32 ``[num_targets, 1]``, the sum of the weights at each target, never quite 0."""
        total = torch.zeros(self.num_targets, dtype=weight.dtype, device=weight.device)
        return total.index_add(0, self.target, weight).clamp(min=1e-12).unsqueeze(-1)

    def _sum(self, messages: Tensor) -> Tensor:
        sums = messages.new_zeros(self.num_targets, messages.shape[-1])
        return sums.index_add(0, self.target, messages)

    def _reduce(self, messages: Tensor, aggregator: Aggregation, weight: Tensor) -> Tensor:
        if self.num_edges == 0:
            # Some of PyG's fail on no messages at all; what they make of none is 0, and no gradient is wanted.
            return messages.new_zeros(self.num_targets, messages.shape[-1])
        count = self.pointers.diff().clamp(min=1).unsqueeze(-1)
        mean = self._total(weight) / count  # [num_targets, 1]
        scaled = messages * (weight.unsqueeze(-1) / mean[self.target])
        combined: Tensor = aggregator(scaled, index=self.target, ptr=None, dim_size=self.num_targets)
        return combined

    def _product(self, values: Tensor, weight: Tensor) -> Tensor:
        product: Tensor = _SparseProduct.apply(self, weight, values)  # type: ignore[no-untyped-call]  # torch's own
        return product

    def _matrix(self, weight: Tensor) -> Tensor:
        size = (self.num_targets, self.num_sources)
        return torch.sparse_csr_tensor(self.pointers, self.source, weight, size, check_invariants=False)

    def _transposed_matrix(self, weight: Tensor) -> Tensor:
        if self._transposed is None:
            order = torch.argsort(self.source, stable=True)
            self._transposed = (_pointers(self.source[order], self.num_sources), self.target[order], order)
        pointers, target, order = self._transposed
        # Most encoders give the same weights at every step: a million of them take longer to order than to multiply by.
        kept = self._transposed_weight
        if kept is None or kept[0].data_ptr() != weight.data_ptr() or kept[1] != weight._version:
            kept = self._transposed_weight = (weight.detach(), weight._version, weight.detach()[order])
        size = (self.num_sources, self.num_targets)
        return torch.sparse_csr_tensor(pointers, target, kept[2], size, check_invariants=False)


class _SparseProduct(torch.autograd.Function):
    """Sparse times dense; its gradient is a product with the transposed matrix, which is kept, not made each time."""

    @staticmethod
    def forward(ctx: Any, edges: Edges, weight: Tensor, values: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weight, values)
        return edges._matrix(weight.detach()) @ values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        edges: Edges = ctx.edges
        weight, values = ctx.saved_tensors
        (gradient,) = gradients
        of_weight = of_values = None
        if ctx.needs_input_grad[1]:
            of_weight = (gradient[edges.target] * values[edges.source]).sum(-1)
        if ctx.needs_input_grad[2]:
            of_values = edges._transposed_matrix(weight) @ gradient
        return None, of_weight, of_values


def _draw(
    first: Tensor, degree: Tensor, fanout: int, generator: torch.Generator, cumulative: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Draw edges of targets, given by where their edges begin and how many they are.

    Args:
        first: int64 ``[num_targets]``.
        degree: int64 ``[num_targets]``.
        fanout: Edges drawn of a target that has more.
        generator: The source of chance.
        cumulative: float64 ``[num_edges]``, running sum of the edges' chances; None where they are equal.

    Returns:
        int64 ``[num_drawn]`` each: the target's position, ascending, and the edge's; a target's edges in their order.
    """
    device = first.device
    count = degree.clamp(max=fanout)
    target = torch.repeat_interleave(torch.arange(len(first), device=device), count)
    position = torch.arange(len(target), device=device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    points = torch.rand(len(target), generator=generator).to(device)
    if cumulative is None:
        draw = (points * degree[target]).long()
    else:
        before = torch.cat([cumulative.new_zeros(1), cumulative])  # [num_edges + 1], sum of all before each edge.
        low, high = before[first[target]], before[first[target] + degree[target]]
        draw = torch.searchsorted(cumulative, low + points * (high - low), right=True) - first[target]
        # A point may round up to the end of its range, or down to the beginning: it stays with its target all the same.
        draw = torch.minimum(draw.clamp(min=0), degree[target] - 1)
    # Sorted within each target: targets ascend already, so the sum of the target's start and the draw does it.
    offset = degree.cumsum(0) - degree
    drawn = torch.where(degree[target] > fanout, draw, position) + offset[target]
    return target, drawn.sort().values - offset[target] + first[target]


def _pointers(sorted_rows: Tensor, num_rows: int) -> Tensor:
    counts = torch.bincount(sorted_rows, minlength=num_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
