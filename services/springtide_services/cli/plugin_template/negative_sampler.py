"""A negative sampler between all items alike and popular ones first."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from springtide.plugins.contracts import NegativeSampler, NegativeSamplerFactory
from springtide.plugins.hookspecs import hookimpl

Rows = npt.NDArray[np.int64]


class MyPart(NegativeSampler):
    """With some chance any item alike, else an item by its number of interactions.

    Args:
        uniform_share: The chance that a draw is of all items alike; above 0, so that each item has some.
    """

    def __init__(self, uniform_share: Annotated[float, Field(gt=0, le=1)] = 0.5) -> None:
        self.uniform_share = uniform_share

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Find the chance of each item, of its interactions, float64 ``[num_items]``."""
        popular = counts / max(counts.sum(), 1.0)
        chances = self.uniform_share / len(counts) + (1 - self.uniform_share) * popular
        self.chances = chances / chances.sum()
        self.log_q = torch.from_numpy(np.log(self.chances).astype(np.float32))

    def draw(self, positives: Rows, count: int, generator: np.random.Generator) -> Rows:
        """Return item rows, int64 ``[count]``."""
        return generator.choice(len(self.chances), count, p=self.chances)


@hookimpl
def register_negative_samplers(register: Callable[[str, NegativeSamplerFactory], None]) -> None:
    """Register the negative sampler."""
    register("my_part", MyPart)
