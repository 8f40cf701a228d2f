"""Products along edges as functions that torch can differentiate, without a copy of a vector for each edge."""

from typing import Any, Protocol

import torch
from torch import Tensor

from springtide.plugins.edge_products import edge_product, end_products


class Along(Protocol):
    """The edges of a product, as ``Edges`` has them.

    Attributes:
        pointers: int64 ``[num_targets + 1]``, where the edges of each target begin.
        source: int64 ``[num_edges]``, index of each edge's source.
    """

    pointers: Tensor
    source: Tensor

    def transposed_product(self, weight: Tensor, values: Tensor) -> Tensor:
        """Add up, at each source, the values of its targets times the weights: float32 ``[num_sources, d]``."""


class SparseProduct(torch.autograd.Function):
    """Sparse matrix times dense matrix; the gradient is a product with the transposed matrix, which is cached."""

    @staticmethod
    def forward(ctx: Any, edges: Along, weight: Tensor, values: Tensor) -> Tensor:
        """Return float32 ``[num_targets, d]``, of weights ``[num_edges]`` and values ``[num_sources, d]``."""
        ctx.edges = edges
        ctx.save_for_backward(weight, values)
        return edge_product(edges.pointers, edges.source, weight.detach(), values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        """Return the gradients of the weights and the values."""
        edges: Along = ctx.edges
        weight, values = ctx.saved_tensors
        (gradient,) = gradients
        weight_gradient = values_gradient = None
        if ctx.needs_input_grad[1]:
            weight_gradient = end_products(edges.pointers, edges.source, gradient, values)
        if ctx.needs_input_grad[2]:
            values_gradient = edges.transposed_product(weight, gradient)
        return None, weight_gradient, values_gradient


class EndProducts(torch.autograd.Function):
    """Products of the vectors of both ends of each edge; their gradients are sums of neighbours."""

    @staticmethod
    def forward(ctx: Any, edges: Along, of_targets: Tensor, of_sources: Tensor) -> Tensor:
        """Return float32 ``[num_edges]``, of vectors ``[num_targets, d]`` and ``[num_sources, d]``."""
        ctx.edges = edges
        ctx.save_for_backward(of_targets, of_sources)
        return end_products(edges.pointers, edges.source, of_targets, of_sources)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        """Return the gradients of the vectors of the targets and of the sources."""
        edges: Along = ctx.edges
        of_targets, of_sources = ctx.saved_tensors
        (gradient,) = gradients
        targets_gradient = sources_gradient = None
        if ctx.needs_input_grad[1]:
            targets_gradient = edge_product(edges.pointers, edges.source, gradient, of_sources)
        if ctx.needs_input_grad[2]:
            sources_gradient = edges.transposed_product(gradient, of_targets)
        return None, targets_gradient, sources_gradient
