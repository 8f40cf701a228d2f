"""Negative samplers, which draw items for users to be compared with, in place of all unseen items."""

from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from springtide.plugins.contracts import NegativeSampler

Int64s = npt.NDArray[np.int64]
Share = Annotated[float, Field(ge=0, lt=1)]


class Uniform(NegativeSampler):
    """All items with the same probability."""

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Set the number of items."""
        self._num_items = len(counts)
        self.log_q = torch.full((len(counts),), -float(np.log(max(len(counts), 1))))

    def draw(self, positives: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return int64 ``[count]``, with replacement."""
        return generator.integers(0, self._num_items, count)


class Popularity(NegativeSampler):
    """Items with probability proportional to a power of their popularity.

    Mikolov et al. 2013, "Distributed representations of words and phrases and their compositionality", section 2.2,
    for the power of 3/4. One is added to all counts, so that items without interactions are drawn too.

    Args:
        power: Exponent of the popularity; 0 is uniform.
    """

    def __init__(self, power: NonNegativeFloat = 0.75) -> None:
        self.power = power

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Compute the probabilities from the counts."""
        chances = (counts + 1.0) ** self.power
        chances /= chances.sum()
        self._cumulative = np.cumsum(chances)
        self.log_q = torch.from_numpy(np.log(chances).astype(np.float32))

    def draw(self, positives: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return int64 ``[count]``, with replacement."""
        drawn = np.searchsorted(self._cumulative, generator.random(count) * self._cumulative[-1], side="right")
        rows: Int64s = np.minimum(drawn, len(self._cumulative) - 1)
        return rows


class InBatch(NegativeSampler):
    """The positive items of the step: each user is compared with the items of the other users.

    Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations", section 3: items
    are drawn in proportion to their popularity, which ``log_q`` corrects.
    """

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Compute each item's share of the interactions; an item without any counts as having one."""
        shares = np.maximum(counts, 1.0) / max(counts.sum(), 1.0)
        self.log_q = torch.from_numpy(np.log(shares).astype(np.float32))

    def draw(self, positives: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return int64 ``[count]``, with replacement."""
        return generator.choice(positives.ravel(), count)


class Hard(NegativeSampler):
    """Hard negatives: for each user the nearest items of a random pool, and some random ones.

    Ying et al. 2018 (PinSage), section 3.3: unseen items near to a user have the largest gradients. Xiong et al. 2021
    (ANCE) show why the current vectors must select them. The nearest of all are skipped, since they are likely to be
    items that the user would choose.

    Args:
        power: The pool is drawn without replacement, by this power of popularity.
        pool_factor: Size of the pool as a multiple of the number of wanted items; all items if there are fewer.
        skip: Number of nearest items that are skipped.
        share: Share of random items among the selected.
    """

    is_selective: ClassVar[bool] = True

    def __init__(
        self,
        power: NonNegativeFloat = 0.75,
        pool_factor: Annotated[float, Field(ge=1)] = 4.0,
        skip: NonNegativeInt = 10,
        share: Share = 0.5,
    ) -> None:
        self.power = power
        self.pool_factor = pool_factor
        self.skip = skip
        self.share = share

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Compute the probabilities from the counts."""
        log_chances = self.power * np.log(counts + 1.0)
        self._log_chances = log_chances - np.logaddexp.reduce(log_chances)
        self.log_q = torch.from_numpy(self._log_chances.astype(np.float32))

    def draw(self, positives: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return the pool, int64 ``[num_drawn]``, without replacement, in random order."""
        # Gumbel top-k: the same as drawing one item after another without replacement (Kool et al. 2019).
        keys = self._log_chances + generator.gumbel(size=len(self._log_chances))
        size = min(round(self.pool_factor * count), len(keys))
        chosen = np.argpartition(-keys, size - 1)[:size]
        pool: Int64s = chosen[np.argsort(-keys[chosen])]
        return pool

    def select(self, cosine: Tensor, is_seen: Tensor, count: int) -> Tensor | None:
        """Return positions in the pool, int64 ``[num_users, num_selected]``, hard and random items interleaved."""
        count = min(count, cosine.shape[1])
        num_random = round(self.share * count)
        is_random = ~is_seen & ((~is_seen).cumsum(1) <= num_random)  # The first unseen items of the pool.
        # Order of preference: random items, hard items that are not skipped, skipped items, seen items.
        score = cosine.masked_fill(is_random | is_seen, -4.0)
        nearest = score.topk(min(self.skip, cosine.shape[1]), dim=1).indices
        score = score.scatter(1, nearest, -3.0).masked_fill(is_random, 4.0).masked_fill(is_seen, -4.0)
        selected = score.topk(count, dim=1).indices
        # Users who have seen most of the pool get its unseen items several times.
        position = torch.arange(count, device=cosine.device) % (~is_seen).sum(1, keepdim=True).clamp(min=1)
        selected = selected.gather(1, position)
        # Interleaved, since some losses use only the first items.
        return selected[:, _interleaved(num_random, count - num_random).to(cosine.device)]


def _interleaved(num_first: int, num_second: int) -> Tensor:
    """Return the positions of two runs, one after the other, in an order that spreads both evenly, int64."""
    share = torch.cat([(torch.arange(count) + 0.5) / max(count, 1) for count in (num_first, num_second)])
    return torch.argsort(share, stable=True)
