"""What a user dislikes: it lowers the items themselves at once, and the items like them.

A dislike counts by its weight, and fades with its age. A later positive interaction of the user with the same item
takes it back: all of it if it weighs as much, and a part if it weighs less, as a view does beside a purchase.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.graph.pair_weights import fade
from springtide.interactions import History

Array = npt.NDArray[np.float32]
DISLIKE = "dislike"  # Name of the factor among the weights of an answer.

_HALF_LIFE_DAYS = 180.0  # Tastes change, but more slowly than what is bought: habits have half-lives of 30 and 90 days.
_DOUBT = 2.0  # One dislike of weight 1 undoes 86 % of what a habit adds to an item's score, and two undo 98 %.
_PRIOR = 2.0  # Weight of dislikes at which the vector is moved by half of what it is moved by endless ones.


@dataclass(frozen=True, slots=True)
class Disliked:
    """The items that a user dislikes at a moment.

    Attributes:
        rows: int32 ``[m]``, ascending.
        strengths: float32 ``[m]``, above 0: the sum of the weights of the dislikes of each, faded.
    """

    rows: npt.NDArray[np.int32]
    strengths: Array

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def doubts(self) -> Array:
        """Which part of the habit with each item no longer counts, float32 ``[m]``, 0 to 1."""
        return doubt_of_habit(self.strengths)

    def below(self, num_items: int) -> "Disliked":
        """Return the items with rows below a number."""
        is_below = self.rows < num_items
        return self if is_below.all() else Disliked(self.rows[is_below], self.strengths[is_below])


NOTHING_DISLIKED = Disliked(np.empty(0, np.int32), np.empty(0, np.float32))


def doubt_of_habit(strengths: npt.NDArray[Any]) -> Array:
    """Return which part of a habit dislikes of some strengths undo, float32 ``[n]``, 0 to 1."""
    doubts: Array = (1.0 - np.exp(-_DOUBT * strengths)).astype(np.float32)
    return doubts


def standing(dislikes: History, liked: Sequence[History]) -> History:
    """Return the dislikes that later positive interactions have not taken back, with the weights that are left.

    Args:
        dislikes: The negative interactions of a user, newest first.
        liked: Their positive interactions, in several histories.
    """
    if not len(dislikes.item_rows):
        return dislikes
    columns = [(history.item_rows, history.timestamps_ms, history.weights) for history in liked]
    rows, times_ms, weights = (np.concatenate(column) for column in zip(*columns, strict=True))
    left = share_left(dislikes.item_rows, dislikes.timestamps_ms, dislikes.weights, rows, times_ms, weights)
    stands = left > 0
    return History(dislikes.item_rows[stands], dislikes.timestamps_ms[stands], (dislikes.weights * left)[stands])


def share_left(
    keys: npt.NDArray[Any],
    timestamps_ms: npt.NDArray[np.int64],
    weights: Array,
    liked_keys: npt.NDArray[Any],
    liked_timestamps_ms: npt.NDArray[np.int64],
    liked_weights: Array,
) -> Array:
    """Return which share of each dislike later positive interactions of the same pair have not taken back.

    Args:
        keys: Integers ``[n]``, the pair of user and item of each dislike.
        timestamps_ms: int64 ``[n]``.
        weights: float32 ``[n]``, above 0.
        liked_keys: Integers ``[m]``, the pair of each positive interaction.
        liked_timestamps_ms: int64 ``[m]``.
        liked_weights: float32 ``[m]``.

    Returns:
        float32 ``[n]``, 0 to 1.
    """
    left = np.ones(len(keys), np.float32)
    chosen = np.flatnonzero(np.isin(liked_keys, keys))
    chosen = chosen[np.argsort(liked_keys[chosen], kind="stable")]
    if not len(chosen):
        return left
    first, stop = (np.searchsorted(liked_keys[chosen], keys, side=side) for side in ("left", "right"))
    dislike = np.repeat(np.arange(len(keys)), stop - first)
    within = np.arange(len(dislike)) - np.repeat(np.cumsum(stop - first) - (stop - first), stop - first)
    like = chosen[first[dislike] + within]
    is_later = liked_timestamps_ms[like] > timestamps_ms[dislike]
    share = np.maximum(0.0, 1.0 - liked_weights[like] / weights[dislike]).astype(np.float32)
    np.multiply.at(left, dislike, np.where(is_later, share, np.float32(1.0)))
    return left


def disliked_at(dislikes: History, now_ms: int) -> Disliked:
    """Return the items that a user dislikes at a moment, given the dislikes that stand."""
    if not len(dislikes.item_rows):
        return NOTHING_DISLIKED
    rows, inverse = dislikes.distinct()
    faded = fade_dislikes(dislikes.weights, dislikes.timestamps_ms, now_ms)
    strengths = np.bincount(inverse, faded, minlength=len(rows))
    return Disliked(rows, strengths.astype(np.float32))


def direction(dislikes: History, item_vectors: Array, now_ms: int) -> Array | None:
    """Return the mean vector of what a user dislikes, shrunk to 0 where that is little, float32 ``[d]``.

    It is ``Σ w v / (Σ w + prior)`` over the dislikes, so it is shorter than 1.

    Args:
        dislikes: The dislikes that stand; items past the last vector are left out.
        item_vectors: float32 ``[num_items, d]``, unit vectors, or 0 for an item of which nothing is known.
        now_ms: The time that they fade until.

    Returns:
        The vector; None if nothing is known of what they dislike.
    """
    is_known = dislikes.item_rows < len(item_vectors)
    if not is_known.any():
        return None
    weights = np.where(is_known, fade_dislikes(dislikes.weights, dislikes.timestamps_ms, now_ms), 0.0)
    vectors = item_vectors[np.where(is_known, dislikes.item_rows, 0)]
    mean: Array = ((weights @ vectors) / (weights.sum() + _PRIOR)).astype(np.float32)
    return mean if mean.any() else None


def moved_away(vector: Array | None, disliked: Array, exponent: float) -> Array:
    """Return a user's vector, moved away from what they dislike, float32 ``[d]`` (Rocchio 1971, relevance feedback).

    It is not stretched to length 1 again: that would raise all other items near the user, and the cosines of a close
    group of items would hardly fall when one of them is disliked. So an item's cosine falls by ``exponent`` times its
    similarity to ``disliked``.

    Args:
        vector: The user's unit vector; None if only dislikes are known of them.
        disliked: What ``direction`` returned.
        exponent: How far it is moved.

    Returns:
        A vector no longer than 1.
    """
    moved = -exponent * disliked if vector is None else vector - exponent * disliked
    moved_vector: Array = (moved / max(float(np.linalg.norm(moved)), 1.0)).astype(np.float32)
    return moved_vector


def log_weights(disliked: Disliked, habits: Array, exponent: float) -> Array:
    """Return what dislikes add to the scores of their items, float32 ``[m]``, 0 or less.

    Each undoes what the habit with its item adds, and takes ``exponent`` times its strength from the score.

    Args:
        disliked: The items.
        habits: float32 ``[m]``, how much higher the score of each is than if the user had never had it.
        exponent: What a dislike of weight 1 takes from the score.
    """
    return -disliked.doubts * np.maximum(habits, 0.0) - np.float32(exponent) * disliked.strengths


def lower_ranked(scores: Array, disliked: Disliked) -> None:
    """Lower disliked items in the scores of a baseline, whose scale is unknown, in place.

    Each moves towards the lowest finite score, by the part that ``Disliked.doubts`` says.

    Args:
        scores: float32 ``[num_items]``, ``-inf`` for items that are not ranked.
        disliked: The items, with rows below ``num_items``.
    """
    is_ranked = np.isfinite(scores[disliked.rows])
    if is_ranked.any():
        rows = disliked.rows[is_ranked]
        lowest = scores[np.isfinite(scores)].min()
        scores[rows] -= disliked.doubts[is_ranked] * (scores[rows] - lowest)


def fade_dislikes(weights: Array, timestamps_ms: npt.NDArray[np.int64], now_ms: int) -> npt.NDArray[np.float64]:
    """Return the weights of dislikes, halved with every half-life of their age, float64 ``[n]``."""
    return fade(weights, np.maximum(now_ms - timestamps_ms, 0) / MS_PER_DAY, _HALF_LIFE_DAYS)
