"""What a training step is shown: users, and some of their interactions and ratings."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.training.graph import TrainingGraph
from springtide.training.links import Ratings

Int64s = npt.NDArray[np.int64]


class PositiveSampler:
    """Draws interactions of given users, each by its weight, with replacement.

    Args:
        graph: The interactions.
        weights: float64 ``[num_interactions]``, how likely each is to be drawn among its user's; 0 for never.
        visits: float64 ``[num_users]``, how likely each user is to be looked at in a pass; None for certainly.
    """

    def __init__(
        self, graph: TrainingGraph, weights: npt.NDArray[np.float64], visits: npt.NDArray[np.float64] | None = None
    ) -> None:
        self._order = np.argsort(graph.interactions.user_rows, kind="stable")
        self._items = graph.interactions.item_rows[self._order].astype(np.int64)
        self._first = np.searchsorted(graph.interactions.user_rows[self._order], np.arange(graph.num_users + 1))
        self._cumulative = np.concatenate([[0.0], np.cumsum(weights[self._order])])
        of_user = np.diff(self._cumulative[self._first])
        self.active_users: Int64s = np.flatnonzero(of_user > 0)
        self._visits = None if visits is None else visits[self.active_users]
        if self._visits is not None and not self._visits.any():
            raise ValueError("wanted a chance above 0 for some user, got none")

    @property
    def users_per_pass(self) -> float:
        """How many users a pass is expected to look at."""
        return float(len(self.active_users) if self._visits is None else self._visits.sum())

    def batches(self, batch_users: int, generator: np.random.Generator) -> Iterator[Int64s]:
        """Yield batches of users without end: pass after pass, each user once in a pass, in random order."""
        while True:
            users = generator.permutation(self._visited(generator))
            for first in range(0, len(users), batch_users):
                yield users[first : first + batch_users]

    def _visited(self, generator: np.random.Generator) -> Int64s:
        if self._visits is None:
            return self.active_users
        return self.active_users[generator.random(len(self.active_users)) < self._visits]

    def draw(self, users: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return positions of interactions in the graph's, int64 ``[num_users, count]``."""
        low = self._cumulative[self._first[users]][:, None]
        high = self._cumulative[self._first[users + 1]][:, None]
        points = low + generator.random((len(users), count)) * (high - low)
        drawn = np.searchsorted(self._cumulative, points, side="right") - 1
        # A point may round up to the end of its range: it stays with its user all the same.
        positions: Int64s = self._order[np.minimum(drawn, self._first[users + 1][:, None] - 1)]
        return positions

    def own_items(self, users: Int64s) -> tuple[Int64s, Int64s]:
        """Return all interactions of the users: positions in ``users``, and item rows, each int64 ``[num_own]``."""
        counts = self._first[users + 1] - self._first[users]
        position = np.repeat(np.arange(len(users)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self._items[self._first[users][position] + within]


class RatingSampler:
    """Draws ratings of given users, with replacement.

    Args:
        ratings: All of them.
        num_users: Number of user rows.
    """

    def __init__(self, ratings: Ratings, num_users: int) -> None:
        self._order = np.argsort(ratings.user_rows, kind="stable")
        self._first = np.searchsorted(ratings.user_rows[self._order], np.arange(num_users + 1))
        self._num_items = int(ratings.item_rows.max(initial=-1)) + 1
        self._pairs = np.unique(ratings.user_rows * self._num_items + ratings.item_rows)

    def draw(self, users: Int64s, count: int, generator: np.random.Generator) -> tuple[Int64s, Int64s]:
        """Return ``count`` ratings of each user that has any: positions in ``users`` and in the ratings, int64 each."""
        counts = self._first[users + 1] - self._first[users]
        position = np.repeat(np.flatnonzero(counts > 0), count)
        within = (generator.random(len(position)) * counts[position]).astype(np.int64)
        return position, self._order[self._first[users][position] + within]

    def is_rated(self, users: Int64s, items: Int64s) -> npt.NDArray[np.bool_]:
        """Return whether each user rated each of its items, bool ``[num_users, n]`` of int64 ``[num_users, n]``."""
        if not len(self._pairs):
            return np.zeros(items.shape, bool)
        wanted = users[:, None] * self._num_items + items
        place = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        found: npt.NDArray[np.bool_] = (items < self._num_items) & (self._pairs[place] == wanted)
        return found


def is_seen(sampler: PositiveSampler, users: Int64s, items: Int64s, num_items: int) -> Tensor:
    """Return bool ``[num_users, num_sampled]``: whether the user has an interaction with the sampled item."""
    distinct, inverse = np.unique(items, return_inverse=True)
    column_of = np.full(num_items, -1, np.int64)
    column_of[distinct] = np.arange(len(distinct))
    position, own = sampler.own_items(users)
    column = column_of[own]
    marks = np.zeros((len(users), len(distinct)), bool)
    marks[position[column >= 0], column[column >= 0]] = True
    return torch.from_numpy(marks[:, inverse])
