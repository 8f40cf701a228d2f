"""How many threads a baseline's fit takes of torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Let torch compute with so many threads, and afterwards with as many as before.

    Sums depend on how they are shared among threads: a fit can be repeated exactly with the same number alone.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
