"""Cutting a data set by time, for every user at the same moment."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.events.model import Interactions


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of interactions, oldest first.

    Attributes:
        train: int64 ``[num_train]``.
        test: int64 ``[num_test]``, all later than every one of ``train``, with users and items that ``train`` has.
    """

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def global_time_split(interactions: Interactions, test_share: float = 0.1, min_count: int = 5) -> Split:
    """Cut at one moment: the last ``test_share`` of the interactions are the test part.

    Then, in the train part, items need ``min_count`` distinct users, and users ``min_count`` distinct items that are
    left; what else is dropped from both parts. Whoever has no past cannot be ranked for.

    Args:
        interactions: In time order.
        test_share: Between 0 and 1.
        min_count: At least 1.
    """
    cut = int(len(interactions) * (1.0 - test_share))
    users = interactions.user_codes.astype(np.int64)
    items = interactions.item_codes.astype(np.int64)
    num_items = len(interactions.item_ids)
    pairs = np.unique(users[:cut] * num_items + items[:cut])
    is_item = np.bincount(pairs % num_items, minlength=num_items) >= min_count
    pairs = pairs[is_item[pairs % num_items]]
    is_user = np.bincount(pairs // num_items, minlength=len(interactions.user_ids)) >= min_count
    is_kept = is_user[users] & is_item[items]
    # A user can be kept whose interactions are with dropped items only: those are not in the train part either.
    kept = np.flatnonzero(is_kept)
    return Split(kept[kept < cut], kept[kept >= cut])
