"""What users dislike, for a training: items that their vectors are moved away from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from springtide.graph.view import GraphView
from springtide.interactions import Observed
from springtide.ranking.dislikes import doubt_of_habit, fade_dislikes, share_left
from springtide.settings.interaction_rules import InteractionRules

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_TEMPERATURE = 0.15  # Divisor of cosines, as in the losses of single cosines.
_LEAST_TRUST = 0.01  # A user whose every interaction is followed by a dislike is still drawn.


@dataclass(frozen=True, slots=True)
class Dislikes:
    """Pairs of a user and an item that they dislike.

    Attributes:
        user_rows: int64 ``[num_pairs]``.
        item_rows: int64 ``[num_pairs]``.
        strengths: float64 ``[num_pairs]``, above 0: the weights of the dislikes of each pair, faded and added up.
        latest_ms: int64 ``[num_pairs]``, time of the latest dislike of each pair.
    """

    user_rows: Int64s
    item_rows: Int64s
    strengths: Float64s
    latest_ms: Int64s

    def __len__(self) -> int:
        return len(self.user_rows)

    @classmethod
    def none(cls) -> "Dislikes":
        """Return no dislikes."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))

    @classmethod
    def of(cls, events: Observed, interactions: Observed, newest_ms: int, before_ms: int | None) -> "Dislikes":
        """Add up the dislikes that later positive interactions have not taken back.

        Args:
            events: Negative interactions.
            interactions: Positive interactions.
            newest_ms: Time that ages are counted from.
            before_ms: Dislikes strictly before this time count; None for all.
        """
        chosen = slice(None) if before_ms is None else events.timestamps_ms < before_ms
        keys, liked = _keys(events)[chosen], _keys(interactions)
        times_ms, weights = events.timestamps_ms[chosen], events.weights[chosen]
        left = share_left(keys, times_ms, weights, liked, interactions.timestamps_ms, interactions.weights)
        pairs, inverse = np.unique(keys, return_inverse=True)
        faded = fade_dislikes(weights, times_ms, newest_ms) * left
        strengths: Float64s = np.bincount(inverse, faded, minlength=len(pairs)).astype(np.float64)
        latest_ms = np.full(len(pairs), np.iinfo(np.int64).min)
        np.maximum.at(latest_ms, inverse, times_ms)
        stands = strengths > 0
        return cls(pairs[stands] >> 32, pairs[stands] & 0xFFFFFFFF, strengths[stands], latest_ms[stands])

    def trust(self, interactions: Observed) -> Float64s | None:
        """Return how much of each positive interaction still counts, float64 ``[num_interactions]``; None for all.

        Where a user dislikes an item that they once chose, a training draws these interactions less often.
        """
        if not len(self):
            return None
        pairs, keys = self.user_rows << 32 | self.item_rows, _keys(interactions)
        index = np.minimum(np.searchsorted(pairs, keys), len(pairs) - 1)
        strengths = np.where(pairs[index] == keys, self.strengths[index], 0.0)
        return np.maximum(1.0 - doubt_of_habit(strengths).astype(np.float64), _LEAST_TRUST)


class DislikeSampler:
    """Draws items that given users dislike, with replacement.

    Args:
        dislikes: All pairs.
        likes: float64 ``[num_users]``, sum of the weights of each user's positive interactions.
    """

    def __init__(self, dislikes: Dislikes, likes: Float64s) -> None:
        self._item_rows = dislikes.item_rows  # Pairs are in the order of users.
        self._first = np.searchsorted(dislikes.user_rows, np.arange(len(likes) + 1))
        # A user's dislikes together count beside the root of their likes: one dislike says more than one of many likes.
        total = np.bincount(dislikes.user_rows, dislikes.strengths, minlength=len(likes)) + np.sqrt(likes)
        counts = np.diff(self._first)
        self._weights = (dislikes.strengths * (counts / np.maximum(total, 1e-12))[dislikes.user_rows]).astype(
            np.float32
        )

    def draw(
        self, users: Int64s, count: int, generator: np.random.Generator
    ) -> tuple[Int64s, Int64s, npt.NDArray[np.float32]]:
        """Return ``count`` disliked items of each user that has any.

        Returns:
            Positions in ``users`` and item rows, int64 ``[num_drawn]`` each; and how much each counts, float32
            ``[num_drawn]``: a user's mean is at most 1.
        """
        counts = self._first[users + 1] - self._first[users]
        position = np.repeat(np.flatnonzero(counts > 0), count)
        within = (generator.random(len(position)) * counts[position]).astype(np.int64)
        index = self._first[users][position] + within
        return position, self._item_rows[index], self._weights[index]


def dislike_loss(cosines: Tensor, weights: Tensor, num_wanted: int) -> Tensor:
    """Return the loss of drawn dislikes, float32 scalar: binary cross entropy of "no", beside any main loss.

    It is a term of its own, not more negatives of the main loss: so every loss learns from dislikes, those too that
    look at no negatives, and a dislike counts by its weight. The items' vectors get no gradient from it: what one user
    dislikes is moved away from that user, and not from all others.

    Args:
        cosines: float32 ``[num_drawn]``, of users with items that they dislike.
        weights: float32 ``[num_drawn]``, how much each counts.
        num_wanted: Number that would be drawn if every user had dislikes, so that a user counts the same in any batch.
    """
    return (weights * F.softplus(cosines / _TEMPERATURE)).sum() / num_wanted  # −log(1 − σ(x))


def disliked_events(view: GraphView, rules: InteractionRules) -> Observed:
    """Return all negative interactions, oldest first, without circumstances."""
    return _events_of(view, rules, rules.negative_relations)


def shown_events(view: GraphView, rules: InteractionRules) -> Observed:
    """Return all interactions by which items were put before users, oldest first, without circumstances."""
    return _events_of(view, rules, rules.shown_relations)


def _events_of(view: GraphView, rules: InteractionRules, relations: Sequence[str]) -> Observed:
    edges = [view.edges(rules.edge_type(relation)) for relation in relations]
    times_ms = np.concatenate([np.zeros(0, np.int64), *(each.timestamps_ms for each in edges)])
    order = np.argsort(times_ms, kind="stable")
    return Observed(
        np.concatenate([np.zeros(0, np.int32), *(each.source for each in edges)])[order],
        np.concatenate([np.zeros(0, np.int32), *(each.target for each in edges)])[order],
        times_ms[order],
        np.concatenate([np.zeros(0, np.float32), *(each.weights for each in edges)])[order],
    )


def _keys(events: Observed) -> Int64s:
    """Return one number for each event's pair of user and item, int64 ``[n]``."""
    keys: Int64s = events.user_rows.astype(np.int64) << 32 | events.item_rows.astype(np.int64)
    return keys
