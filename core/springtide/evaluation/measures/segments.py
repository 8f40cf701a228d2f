"""Segments of users and items that are reported separately: by user activity and by item age."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEVER_SEEN = "never seen"


@dataclass(frozen=True, slots=True)
class Segments:
    """The segment of each of n queries, users or items.

    Attributes:
        names: Names of the segments, in the order of the tables.
        codes: int64 ``[n]``, indices into ``names``.
    """

    names: tuple[str, ...]
    codes: Int64s

    def masks(self) -> dict[str, Bools]:
        """Return a mask for each segment, bool ``[n]``; empty segments are left out."""
        masks = {name: self.codes == code for code, name in enumerate(self.names)}
        return {name: mask for name, mask in masks.items() if mask.any()}


def user_activity(
    interactions: Interactions, split: Split, users: Int64s, bounds: Sequence[int] = (10, 50, 200)
) -> Segments:
    """Return the segment of each user by the number of interactions in the training set.

    Args:
        interactions: All interactions, in time order.
        split: Which of them are the training set.
        users: int64 ``[n]``, user codes.
        bounds: First number of each segment but the first, ascending.
    """
    return Segments(_names_between(bounds), np.searchsorted(bounds, _num_trained(interactions, split, users), "right"))


def user_activity_quarters(interactions: Interactions, split: Split, users: Int64s) -> Segments:
    """Return the quarter of each user by the number of interactions in the training set, the least active first.

    Users with the same number are in the same quarter, so quarters may differ in size.

    Args:
        interactions: All interactions, in time order.
        split: Which of them are the training set.
        users: int64 ``[n]``, user codes.
    """
    names = ("1st quarter", "2nd quarter", "3rd quarter", "4th quarter")
    counts = _num_trained(interactions, split, users)
    if len(counts) == 0:
        return Segments(names, np.zeros(0, np.int64))
    return Segments(names, np.searchsorted(np.quantile(counts, [0.25, 0.5, 0.75]), counts, "left"))


def item_age(
    interactions: Interactions, split: Split, items: Int64s, bounds_days: Sequence[int] = (7, 28, 90)
) -> Segments:
    """Return the segment of each item by the days from its first interaction to the cut.

    The cut is at the newest interaction of the training set. Interactions before the cut count even where the split
    dropped them: the item existed.

    Args:
        interactions: All interactions, in time order.
        split: Where they are cut.
        items: int64 ``[n]``, item codes.
        bounds_days: First day of each segment but the first, ascending.
    """
    names = (*_names_between(bounds_days, " days"), NEVER_SEEN)
    end = int(split.train[-1]) + 1
    cut_ms = int(interactions.timestamps_ms[end - 1])
    first_ms = np.full(len(interactions.item_ids), np.iinfo(np.int64).max)
    # Written in reverse order, so that the earliest of an item's times is the one that stays.
    first_ms[interactions.item_codes[:end][::-1]] = interactions.timestamps_ms[:end][::-1]
    first_ms = first_ms[items]
    is_seen = first_ms <= cut_ms
    ages_days = np.where(is_seen, cut_ms - first_ms, 0) / MS_PER_DAY
    codes = np.searchsorted(bounds_days, ages_days, "right")
    return Segments(names, np.where(is_seen, codes, len(names) - 1))


def _num_trained(interactions: Interactions, split: Split, users: Int64s) -> Int64s:
    """Return the number of interactions of each user in the training set, int64 ``[n]``."""
    counts: Int64s = np.bincount(interactions.user_codes[split.train], minlength=len(interactions.user_ids))[users]
    return counts


def _names_between(bounds: Sequence[int], unit: str = "") -> tuple[str, ...]:
    """Return names such as ``< 10``, ``10-49``, ``>= 50``."""
    between = [f"{low}-{high - 1}{unit}" for low, high in pairwise(bounds)]
    return (f"< {bounds[0]}{unit}", *between, f">= {bounds[-1]}{unit}")
