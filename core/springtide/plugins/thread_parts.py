"""Sharing out a compiled loop over threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

PARTS_PER_THREAD = 4  # So that a thread that has to wait for a core is not waited for until the end.


def share_out(work: Callable[[int, int], None], bounds: Iterable[int]) -> None:
    """Do the parts of a work on as many threads as torch has, of which this is one.

    Each takes the next part when it is done with one: which thread does a part is left to the moment, since the cores
    may have other work. So what a part comes to must not depend on it.

    Args:
        work: Does one part, given where it starts and stops; it lets go of Python's lock.
        bounds: Where each part starts, and where the last one stops.
    """
    left, num_threads = list(pairwise(bounds)), torch.get_num_threads()

    def help_out() -> None:
        while left:
            try:
                part = left.pop()
            except IndexError:  # Another thread was faster.
                return
            work(*part)

    helpers = [_threads(num_threads - 1).submit(help_out) for _ in range(min(num_threads, len(left)) - 1)]
    help_out()
    for helper in helpers:
        helper.result()


def even_bounds(count: int, least: int) -> npt.NDArray[np.int64]:
    """Return the bounds of parts of about the same length.

    Args:
        count: The length of all together.
        least: The least length that is worth a part.
    """
    num_threads = torch.get_num_threads()
    num_parts = 1 if num_threads == 1 else max(1, min(num_threads * PARTS_PER_THREAD, count // max(least, 1)))
    return np.linspace(0, count, num_parts + 1).astype(np.int64)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="compiled-loop")
