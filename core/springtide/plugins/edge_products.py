"""The product of a sparse matrix of edges and a dense one of values."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.plugins.edge_kernels import add_up_neighbours

_LEAST_WORK = 1_000_000  # Multiplications that are worth a second thread: about a quarter of a millisecond.
_PARTS_PER_THREAD = 4  # So that a thread that has to wait for a core is not waited for until the end.


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

    num_threads = torch.get_num_threads() if len(source) * width >= _LEAST_WORK else 1
    if num_threads == 1:
        add_up(0, num_targets)
    else:
        _share_out(add_up, _parts(begin, num_threads * _PARTS_PER_THREAD), num_threads)
    return sums


def _parts(pointers: npt.NDArray[np.int64], count: int) -> Iterator[tuple[int, int]]:
    """Yield the first target of each part, and where it stops: parts have about as many edges."""
    wanted = np.linspace(0, pointers[-1], count + 1)[1:-1]
    bounds = [0, *np.searchsorted(pointers, wanted).clip(max=len(pointers) - 1).tolist(), len(pointers) - 1]
    yield from pairwise(bounds)


def _share_out(work: Callable[[int, int], None], parts: Iterator[tuple[int, int]], num_threads: int) -> None:
    """Do the parts of a work on some threads, of which this is one; each takes the next part when it is done with one.

    Which thread does a part is left to the moment, since the cores may have other work.
    """
    left = list(parts)

    def help_out() -> None:
        while left:
            try:
                part = left.pop()
            except IndexError:  # Another thread was faster.
                return
            work(*part)

    helpers = [_threads(num_threads - 1).submit(help_out) for _ in range(num_threads - 1)]
    help_out()
    for helper in helpers:
        helper.result()


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="edge-product")
