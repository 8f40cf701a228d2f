"""The product of a sparse matrix of edges and a dense one of values."""

import numpy as np
import torch
from torch import Tensor

from springtide.plugins.edge_kernels import add_up_neighbours
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
