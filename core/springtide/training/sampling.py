"""What a training step is shown: users, some of their edges, and items that stand for all the others."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.training.graph import TrainingGraph


class PositiveSampler:
    """Draws interactions of given users, each by its weight, with replacement.

    Args:
        graph: The interactions.
        weights: float64 ``[num_interactions]``, how likely each is to be drawn among its user's; 0 for never.
    """

    def __init__(self, graph: TrainingGraph, weights: npt.NDArray[np.float64]) -> None:
        order = np.argsort(graph.interactions.user_rows, kind="stable")
        self._items = graph.interactions.item_rows[order].astype(np.int64)
        self._first = np.searchsorted(graph.interactions.user_rows[order], np.arange(graph.num_users + 1))
        self._cumulative = np.concatenate([[0.0], np.cumsum(weights[order])])
        of_user = np.diff(self._cumulative[self._first])
        self.active_users: npt.NDArray[np.int64] = np.flatnonzero(of_user > 0)

    def batches(self, batch_users: int, generator: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
        """Yield batches of users without end: every active user once, in random order, then again."""
        while True:
            users = generator.permutation(self.active_users)
            for first in range(0, len(users), batch_users):
                yield users[first : first + batch_users]

    def draw(self, users: npt.NDArray[np.int64], count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return item rows, int64 ``[num_users, count]``."""
        low = self._cumulative[self._first[users]][:, None]
        high = self._cumulative[self._first[users + 1]][:, None]
        points = low + generator.random((len(users), count)) * (high - low)
        drawn = np.searchsorted(self._cumulative, points, side="right") - 1
        # A point may round up to the end of its range: it stays with its user all the same.
        items: npt.NDArray[np.int64] = self._items[np.minimum(drawn, self._first[users + 1][:, None] - 1)]
        return items

    def own_items(self, users: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return all interactions of the users: positions in ``users``, and item rows, each int64 ``[num_own]``."""
        counts = self._first[users + 1] - self._first[users]
        position = np.repeat(np.arange(len(users)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self._items[self._first[users][position] + within]


class NegativeSampler:
    """Draws items by a power of their popularity, with replacement; one draw is shared by the whole batch.

    Mikolov et al. 2013 (word2vec), section 2.2, for the power of 3/4.

    Args:
        counts: float64 ``[num_items]``, interactions of each item.
        power: 0 is uniform, 1 is by popularity.
    """

    def __init__(self, counts: npt.NDArray[np.float64], power: float = 0.75) -> None:
        chances = (counts + 1.0) ** power
        chances /= chances.sum()
        self._cumulative = np.cumsum(chances)
        self.log_q = torch.from_numpy(np.log(chances).astype(np.float32))

    def draw(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return item rows, int64 ``[count]``."""
        drawn = np.searchsorted(self._cumulative, generator.random(count) * self._cumulative[-1], side="right")
        rows: npt.NDArray[np.int64] = np.minimum(drawn, len(self._cumulative) - 1)
        return rows


def is_own(
    sampler: PositiveSampler, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64], num_items: int
) -> Tensor:
    """Return bool ``[num_users, num_sampled]``: whether the user has an interaction with the sampled item."""
    distinct, inverse = np.unique(items, return_inverse=True)
    column_of = np.full(num_items, -1, np.int64)
    column_of[distinct] = np.arange(len(distinct))
    position, own = sampler.own_items(users)
    column = column_of[own]
    marks = np.zeros((len(users), len(distinct)), bool)
    marks[position[column >= 0], column[column >= 0]] = True
    return torch.from_numpy(marks[:, inverse])
