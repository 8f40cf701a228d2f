"""What a training step looks at: users, some of their interactions and ratings, and how likely each is drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.graph.pair_weights import fade
from springtide.interactions import Observed
from springtide.training.graph import TrainingGraph
from springtide.training.kernels import draw_positions, mark_seen
from springtide.training.message_edges import Ratings

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


def chances_by_age(interactions: Observed, half_life_days: float | None) -> Float64s:
    """Return how likely each interaction is drawn, by its weight and its age at the newest one.

    Args:
        interactions: At least one, oldest first.
        half_life_days: After how many days an interaction is drawn half as often; None for no decay.

    Returns:
        float64 ``[num_interactions]``, relative to each other.
    """
    ages_days = (interactions.timestamps_ms[-1] - interactions.timestamps_ms) / MS_PER_DAY
    return fade(interactions.weights, ages_days, half_life_days)


def replay_chances(num_interactions: int, split: int, ratio: float) -> Float64s:
    """Return how likely a fine-tuning draws each interaction.

    Args:
        num_interactions: How many there are.
        split: Interactions before this position are old: the base model has learned from them.
        ratio: How many old interactions are drawn for each new one, on average.

    Returns:
        float64 ``[num_interactions]``: 1 for new interactions; the old ones share ``ratio`` times the number of new
        ones. All are 1 if none is new.
    """
    chances = np.ones(num_interactions)
    chances[:split] = ratio * (num_interactions - split) / split if split < num_interactions else 1.0
    return chances


def replay_user_chances(
    user_rows: npt.NDArray[np.integer[Any]], split: int, num_users: int, ratio: float
) -> Float64s | None:
    """Return the probability that one pass of a fine-tuning includes each user.

    Users with a new interaction are always included. Of all others, ``ratio`` for each of these are: where many users
    come and go, a pass over all of them would spend most of its steps on the past.

    Args:
        user_rows: Integers ``[n]``, the users of positive interactions, oldest first, then those of new dislikes.
        split: Those before this position are old.
        num_users: Number of user rows.
        ratio: How many users without a new interaction are included for each user with one, on average.

    Returns:
        float64 ``[num_users]``; None if no interaction is new.
    """
    chances = np.zeros(num_users)
    chances[user_rows[split:]] = 1.0
    num_new = chances.sum()
    if not num_new:
        return None
    chances[chances == 0.0] = min(1.0, ratio * num_new / max(1.0, num_users - num_new))
    return chances


def ranges(starts: Int64s, counts: Int64s) -> tuple[Int64s, Int64s]:
    """Return the numbers from each start on, ``counts`` of them, one range after another.

    Args:
        starts: int64 ``[n]``, first number of each range.
        counts: int64 ``[n]``, length of each range.

    Returns:
        int64, for each number the position of its range; and int64, the numbers.
    """
    position = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
    return position, starts[position] + offset


class PositiveSampler:
    """Draws interactions of given users, with replacement.

    Args:
        graph: The interactions.
        interaction_chances: float64 ``[num_interactions]``, how likely each is drawn among those of its user; 0 for
            never.
        user_chances: float64 ``[num_users]``, probability that a pass over the users includes each of them; None to
            include all.

    Attributes:
        active_users: int64, users with an interaction that can be drawn, ascending.

    Raises:
        ValueError: If no user can be included.
    """

    def __init__(
        self, graph: TrainingGraph, interaction_chances: Float64s, user_chances: Float64s | None = None
    ) -> None:
        self._num_items = graph.num_items
        self._items_are_users = graph.item_start == 0
        self._order = np.argsort(graph.interactions.user_rows, kind="stable")
        self._items = graph.interactions.item_rows[self._order].astype(np.int64)
        self._first = np.searchsorted(graph.interactions.user_rows[self._order], np.arange(graph.num_users + 1))
        self._cumulative = np.concatenate([[0.0], np.cumsum(interaction_chances[self._order])])
        total_chances = np.diff(self._cumulative[self._first])  # [num_users]
        self.active_users: Int64s = np.flatnonzero(total_chances > 0)
        self._user_chances = None if user_chances is None else user_chances[self.active_users]
        if self._user_chances is not None and not self._user_chances.any():
            raise ValueError("wanted a chance above 0 for some user, got none")

    @property
    def users_per_pass(self) -> float:
        """Expected number of users in one pass."""
        return float(len(self.active_users) if self._user_chances is None else self._user_chances.sum())

    @property
    def edges_per_active_user(self) -> float:
        """Mean number of interactions of a user who can be drawn."""
        return float((self._first[self.active_users + 1] - self._first[self.active_users]).mean())

    def batches(self, batch_users: int, generator: np.random.Generator) -> Iterator[Int64s]:
        """Yield batches of users without end: pass after pass, each user at most once in a pass, in random order."""
        while True:
            users = generator.permutation(self._users_of_pass(generator))
            for first in range(0, len(users), batch_users):
                yield users[first : first + batch_users]

    def _users_of_pass(self, generator: np.random.Generator) -> Int64s:
        if self._user_chances is None:
            return self.active_users
        return self.active_users[generator.random(len(self.active_users)) < self._user_chances]

    def draw(self, users: Int64s, count: int, generator: np.random.Generator) -> Int64s:
        """Return ``count`` interactions of each user, int64 ``[num_users, count]``: positions in the graph's."""
        drawn = np.empty((len(users), count), np.int64)
        draw_positions(self._cumulative, self._order, self._first, users, generator.random(drawn.shape), drawn)
        return drawn

    def is_seen(self, users: Int64s, items: Int64s) -> npt.NDArray[np.bool_]:
        """Return whether each user has an interaction with each item.

        In a graph of users alone, users count as seen by themselves, so that they are no negatives of their own.

        Args:
            users: int64 ``[num_users]``.
            items: int64 ``[num_sampled]``, the same for all users; an item may be there twice.

        Returns:
            bool ``[num_users, num_sampled]``.
        """
        seen = np.empty((len(users), len(items)), bool)
        nobody = np.full(self._num_items, -1, np.int32)
        mark_seen(self._items, self._first, users, np.ascontiguousarray(items), nobody, seen)
        return seen | (users[:, None] == items[None, :]) if self._items_are_users else seen


class RatingSampler:
    """Draws ratings of given users, with replacement.

    Args:
        ratings: All ratings; None to draw none.
        num_users: Number of user rows.
    """

    def __init__(self, ratings: Ratings | None, num_users: int) -> None:
        self._is_on = ratings is not None
        ratings = Ratings.none() if ratings is None else ratings
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
        """Return whether each user rated each of its items.

        Args:
            users: int64 ``[num_users]``.
            items: int64 ``[num_users, n]``, item rows.

        Returns:
            bool ``[num_users, n]``; empty if the sampler was made without ratings.
        """
        if not self._is_on:
            return np.zeros(0, bool)
        if not len(self._pairs):
            return np.zeros(items.shape, bool)
        pairs = users[:, None] * self._num_items + items
        index = np.minimum(np.searchsorted(self._pairs, pairs), len(self._pairs) - 1)
        found: npt.NDArray[np.bool_] = (items < self._num_items) & (self._pairs[index] == pairs)
        return found
