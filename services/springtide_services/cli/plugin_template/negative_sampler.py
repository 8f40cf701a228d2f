"""A negative sampler that mixes a uniform distribution with popularity."""

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
    """A share of the draws is uniform over all items; the others follow the items' numbers of interactions.

    Args:
        uniform_share: Share of uniform draws; above 0, so that every item can be drawn.
    """

    def __init__(self, uniform_share: Annotated[float, Field(gt=0, le=1)] = 0.5) -> None:
        self.uniform_share = uniform_share

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Compute each item's probability from its number of interactions, float64 ``[num_items]``."""
        popular = counts / max(counts.sum(), 1.0)
        probabilities = self.uniform_share / len(counts) + (1 - self.uniform_share) * popular
        self.probabilities = probabilities / probabilities.sum()
        self.log_q = torch.from_numpy(np.log(self.probabilities).astype(np.float32))

    def draw(self, positives: Rows, count: int, generator: np.random.Generator) -> Rows:
        """Return item rows, int64 ``[count]``."""
        return generator.choice(len(self.probabilities), count, p=self.probabilities)


@hookimpl
def register_negative_samplers(register: Callable[[str, NegativeSamplerFactory], None]) -> None:
    """Register the negative sampler."""
    register("my_part", MyPart)
