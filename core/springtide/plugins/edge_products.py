"""Products along edges: sums of what the sources have, and products of what both ends have."""

import numpy as np
import torch
from torch import Tensor

from springtide.plugins.edge_kernels import add_up_neighbours, multiply_ends
from springtide.plugins.thread_parts import even_bounds, share_out

_LEAST_WORK = 250_000  # Multiplications that are worth a part of their own: some 50 µs.


def edge_product(pointers: Tensor, source: Tensor, weight: Tensor, values: Tensor) -> Tensor:
    """Add up, at each target, the values of its sources times the weights of the edges.

    On a CPU it is a loop of our own, on as many threads as torch has: torch's is Intel's, which is four to five times
    as slow on processors by others. The result does not depend on the number of threads.

    Args:
        pointers: int64 ``[num_targets + 1]``, where the edges of each target begin.
        source: int64 ``[num_edges]``, the row of ``values`` for each edge.
        weight: float32 ``[num_edges]``.
        values: float32 ``[num_sources, d]``.

    Returns:
        float32 ``[num_targets, d]``; 0 at a target without edges.
    """
    num_targets, width = len(pointers) - 1, values.shape[1]
    if values.device.type != "cpu" or values.dtype != torch.float32 or weight.dtype != torch.float32:
        matrix = torch.sparse_csr_tensor(pointers, source, weight, (num_targets, len(values)), check_invariants=False)
        product: Tensor = matrix @ values
        return product
    sums = torch.empty(num_targets, width)
    begin, rows, factors, given = (each.detach().contiguous().numpy() for each in (pointers, source, weight, values))

    def add_up(first: int, stop: int) -> None:
        add_up_neighbours(begin, rows, factors, given, first, stop, sums.numpy())

    # Parts have about as many edges. Targets without edges are at the end of the parts before.
    of_edges = even_bounds(len(source), _LEAST_WORK // max(width, 1))
    share_out(add_up, [0, *np.searchsorted(begin, of_edges[1:-1]).tolist(), num_targets])
    return sums


def end_products(pointers: Tensor, source: Tensor, of_targets: Tensor, of_sources: Tensor) -> Tensor:
    """Multiply the vectors of both ends of each edge; on a CPU without a copy of them for each edge.

    Args:
        pointers: int64 ``[num_targets + 1]``, where the edges of each target begin.
        source: int64 ``[num_edges]``, the row of ``of_sources`` for each edge.
        of_targets: float32 ``[num_targets, d]``.
        of_sources: float32 ``[num_sources, d]``.

    Returns:
        float32 ``[num_edges]``.
    """
    width = of_targets.shape[1]
    if of_targets.device.type != "cpu" or of_targets.dtype != torch.float32 or of_sources.dtype != torch.float32:
        target = torch.repeat_interleave(torch.arange(len(pointers) - 1, device=pointers.device), pointers.diff())
        return (of_targets[target] * of_sources[source]).sum(-1)
    products = torch.empty(len(source))
    begin, rows, ones, others = (
        each.detach().contiguous().numpy() for each in (pointers, source, of_targets, of_sources)
    )

    def multiply(first: int, stop: int) -> None:
        multiply_ends(begin, rows, ones, others, first, stop, products.numpy())

    of_edges = even_bounds(len(source), _LEAST_WORK // max(width, 1))
    share_out(multiply, [0, *np.searchsorted(begin, of_edges[1:-1]).tolist(), len(begin) - 1])
    return products
