"""Negative samplers: which items stand for all those that a user did not choose."""

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
    """Every item is as likely as any other."""

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Take the number of items."""
        self._num_items = len(counts)
        self.log_q = torch.full((len(counts),), -float(np.log(max(len(counts), 1))))

    def draw(self, positives: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return int64 ``[count]``, with replacement."""
        return generator.integers(0, self._num_items, count)


class Popularity(NegativeSampler):
    """Items by a power of their popularity.

    Mikolov et al. 2013, "Distributed representations of words and phrases and their compositionality", section 2.2,
    for the power of 3/4. Counts are one more than they are, so that items which nobody chose are drawn too.

    Args:
        power: 0 is uniform, 1 is by popularity.
    """

    def __init__(self, power: NonNegativeFloat = 0.75) -> None:
        self.power = power

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Turn counts into chances."""
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
    """The items of the step's own edges: each user is compared with what the others chose.

    Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations", section 3: an item
    is drawn as often as it is chosen, for which ``log_q`` corrects.
    """

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Take each item's share of the interactions; one that has none counts as having one."""
        shares = np.maximum(counts, 1.0) / max(counts.sum(), 1.0)
        self.log_q = torch.from_numpy(np.log(shares).astype(np.float32))

    def draw(self, positives: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return int64 ``[count]``, with replacement."""
        return generator.choice(positives.ravel(), count)


class Hard(NegativeSampler):
    """For each user, those items of a pool that its vector is nearest to, and some random ones.

    Ying et al. 2018 (PinSage), section 3.3: items that are near to a user and yet not its own teach the most. Xiong et
    al. 2021 (ANCE) on why the vectors of now must choose them. The very nearest are likely to be items that the user
    would take and has not met: they are skipped.

    Args:
        power: The pool is drawn by this power of popularity, each item once.
        pool_factor: How many times as many items as wanted are drawn into the pool, if there are as many.
        skip: How many of the nearest are left out.
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
        """Turn counts into chances."""
        log_chances = self.power * np.log(counts + 1.0)
        self._log_chances = log_chances - np.logaddexp.reduce(log_chances)
        self.log_q = torch.from_numpy(self._log_chances.astype(np.float32))

    def draw(self, positives: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return the pool, int64 ``[num_drawn]``, without replacement and in the order drawn."""
        # Gumbel noise on the logs, then the largest: the same as one draw after another (Kool et al. 2019).
        keys = self._log_chances + generator.gumbel(size=len(self._log_chances))
        size = min(round(self.pool_factor * count), len(keys))
        chosen = np.argpartition(-keys, size - 1)[:size]
        pool: Int64s = chosen[np.argsort(-keys[chosen])]
        return pool

    def select(self, cosine: Tensor, is_seen: Tensor, count: int) -> Tensor | None:
        """Return positions in the pool, int64 ``[num_users, num_selected]``: hard ones and random ones in turn."""
        count = min(count, cosine.shape[1])
        num_random = round(self.share * count)
        is_random = ~is_seen & ((~is_seen).cumsum(1) <= num_random)  # The first drawn.
        # By this, the largest are taken: random ones, the hard ones that are not skipped, those that are, own ones.
        score = cosine.masked_fill(is_random | is_seen, -4.0)
        nearest = score.topk(min(self.skip, cosine.shape[1]), dim=1).indices
        score = score.scatter(1, nearest, -3.0).masked_fill(is_random, 4.0).masked_fill(is_seen, -4.0)
        selected = score.topk(count, dim=1).indices
        # Who has too many of the pool for that is compared with the others more than once.
        place = torch.arange(count, device=cosine.device) % (~is_seen).sum(1, keepdim=True).clamp(min=1)
        selected = selected.gather(1, place)
        # Losses that look at the first few find both kinds there.
        return selected[:, _in_turn(num_random, count - num_random).to(cosine.device)]


def _in_turn(num_first: int, num_second: int) -> Tensor:
    """Return an order of the numbers below the sum in which two runs are spread over each other evenly."""
    place = torch.cat([(torch.arange(many) + 0.5) / max(many, 1) for many in (num_first, num_second)])
    return torch.argsort(place, stable=True)
