"""Edges as an encoder sees them, and the products that carry messages along them."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import Aggregation, MeanAggregation, SumAggregation

with warnings.catch_warnings():
    # Torch warns once, at the first of them, that sparse CSR tensors are in beta: nothing that a user can act on.
    warnings.simplefilter("ignore", UserWarning)
    torch.eye(1).to_sparse_csr()


class Edges:
    """Edges from ``num_sources`` source nodes to ``num_targets`` target nodes, sorted by target.

    One object serves a whole graph (sources and targets are the same nodes) and a live fold-in
    (a few targets, their neighbours as sources).

    Args:
        source: int64 ``[num_edges]``, position of each edge's source.
        target: int64 ``[num_edges]``, position of each edge's target, ascending.
        weight: float32 ``[num_edges]``, strength, above 0; duplicate edges are already added up.
        age_days: float32 ``[num_edges]``, days from the edge's last event to the graph's newest.
        source_degree: float32 ``[num_sources]``, sum of the weights at each source in the whole graph.
        target_degree: float32 ``[num_targets]``, the same at each target.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        weight: Tensor,
        age_days: Tensor,
        source_degree: Tensor,
        target_degree: Tensor,
    ) -> None:
        self.source = source
        self.target = target
        self.weight = weight
        self.age_days = age_days
        self.source_degree = source_degree
        self.target_degree = target_degree
        self.pointers = _pointers(target, self.num_targets)  # [num_targets + 1], where each target's edges begin
        self._transposed: tuple[Tensor, Tensor, Tensor] | None = None
        self._symmetric: Tensor | None = None

    @property
    def num_sources(self) -> int:
        """Number of source nodes."""
        return self.source_degree.numel()

    @property
    def num_targets(self) -> int:
        """Number of target nodes."""
        return self.target_degree.numel()

    def symmetric_weight(self) -> Tensor:
        """Return float32 ``[num_edges]``: each weight over the root of the product of its ends' degrees.

        This is the normalisation of GCN (Kipf & Welling 2017, eq. 2) and LightGCN (He et al. 2020, eq. 3).
        """
        if self._symmetric is None:
            product = self.source_degree[self.source] * self.target_degree[self.target]
            self._symmetric = self.weight / product.clamp(min=1e-12).sqrt()
        return self._symmetric

    def aggregate(self, values: Tensor, aggregator: Aggregation, weight: Tensor | None = None) -> Tensor:
        """Combine, at each target, what its sources hold.

        Sums and means are products with a sparse matrix, twenty times faster here than gathering and scattering;
        every other aggregator gets the gathered messages.

        Args:
            values: float32 ``[num_sources, d]``.
            aggregator: How to combine.
            weight: float32 ``[num_edges]``, factors of a sum or a mean; the edges' own if absent. Others ignore it.

        Returns:
            float32 ``[num_targets, d]``; zeros at a target without edges, for sums and means.
        """
        weight = self.weight if weight is None else weight
        if type(aggregator) is SumAggregation:
            return self._product(values, weight)
        if type(aggregator) is MeanAggregation:
            total = torch.zeros(self.num_targets, dtype=weight.dtype, device=weight.device)
            total.index_add_(0, self.target, weight)
            return self._product(values, weight) / total.clamp(min=1e-12).unsqueeze(-1)
        combined: Tensor = aggregator(values[self.source], index=self.target, ptr=None, dim_size=self.num_targets)
        return combined

    def sample(self, fanout: int, generator: torch.Generator) -> "Edges":
        """Draw, with replacement, ``fanout`` edges of each target that has more; keep all of the others'.

        Hamilton et al. 2017 (GraphSAGE), section 3.1: a fixed-size uniform draw of each neighbourhood.
        """
        degree = self.pointers.diff()
        count = degree.clamp(max=fanout)
        device = self.target.device
        target = torch.repeat_interleave(torch.arange(self.num_targets, device=device), count)  # [num_drawn]
        first = self.pointers[:-1][target]
        position = torch.arange(len(target), device=device) - torch.repeat_interleave(count.cumsum(0) - count, count)
        draw = (torch.rand(len(target), generator=generator).to(device) * degree[target]).long()
        chosen = first + torch.where(degree[target] > fanout, draw, position)
        return Edges(
            self.source[chosen],
            target,
            self.weight[chosen],
            self.age_days[chosen],
            self.source_degree,
            self.target_degree,
        )

    def to(self, device: torch.device | str) -> "Edges":
        """Return the edges on a device; the same object if they are there."""
        if self.source.device == torch.device(device):
            return self
        columns = (self.source, self.target, self.weight, self.age_days, self.source_degree, self.target_degree)
        return Edges(*(column.to(device) for column in columns))

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
        size = (self.num_sources, self.num_targets)
        return torch.sparse_csr_tensor(pointers, target, weight[order], size, check_invariants=False)


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


def _pointers(sorted_rows: Tensor, num_rows: int) -> Tensor:
    counts = torch.bincount(sorted_rows, minlength=num_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
