"""Splits of a data set: at one moment for all users, walking forward in time, or before each user's last event."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.events.model import Interactions

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of the interactions of each set, oldest first.

    Attributes:
        train: int64 ``[num_train]``.
        test: int64 ``[num_test]``.
        validation: int64 ``[num_validation]``, between the two in time, to choose settings by; None if there is none.
    """

    train: Int64s
    test: Int64s
    validation: Int64s | None = None


def global_time_split(interactions: Interactions, test_share: float = 0.1, min_count: int = 5) -> Split:
    """Cut at one moment: the last ``test_share`` of the interactions are the test set.

    Then cold users and items are dropped from both sets: in the training set, an item needs ``min_count`` distinct
    users, and a user ``min_count`` distinct items among those that are left.

    Args:
        interactions: In time order.
        test_share: Between 0 and 1.
        min_count: See above; 0 keeps cold users and items.
    """
    cut = int(len(interactions) * (1.0 - test_share))
    is_kept = _is_kept(interactions, np.arange(len(interactions)) < cut, min_count)
    kept = np.flatnonzero(is_kept)
    return Split(kept[kept < cut], kept[kept >= cut])


def walk_forward_splits(
    interactions: Interactions, base_share: float = 0.6, block_share: float = 0.1, min_count: int = 5
) -> list[Split]:
    """Return one split for each block of interactions, walking forward in time.

    All interactions before a block are its training set; the first half of the block is the validation set, the second
    half the test set. Cold users and items are dropped for each block, as in ``global_time_split``.

    Args:
        interactions: In time order.
        base_share: Share of the interactions before the first block, between 0 and 1.
        block_share: Share of each block; a rest at the end that is smaller than a block is not used.
        min_count: See above; 0 keeps cold users and items.

    Raises:
        ValueError: If there is no room for a block.
    """
    num_blocks = int((1.0 - base_share) / block_share + 1e-9) if block_share > 0 else 0
    if base_share <= 0 or num_blocks < 1:
        raise ValueError(
            f"wanted a base and room for a block behind it, got base_share={base_share}, block_share={block_share}"
        )
    splits = []
    for block in range(num_blocks):
        # Rounded, so that 0.6 + 3 × 0.1 is 0.9 and not a row less.
        shares = (base_share + (block + part) * block_share for part in (0.0, 0.5, 1.0))
        start, middle, end = (int(len(interactions) * round(share, 9)) for share in shares)
        kept = np.flatnonzero(_is_kept(interactions, np.arange(len(interactions)) < start, min_count))
        first, second, last = np.searchsorted(kept, [start, middle, end])
        splits.append(Split(kept[:first], kept[second:last], kept[first:second]))
    return splits


def leave_one_out(interactions: Interactions, min_count: int = 5) -> Split:
    """Test on each user's last interaction and train on all others: only for comparison with papers that do so.

    This split leaks the future: the training set holds interactions that are later than some of the test set, so it
    knows popularity and trends that a live server could not know, and metrics come out too high. Users with a single
    interaction have none in the test set. Cold users and items are dropped as in ``global_time_split``.

    Args:
        interactions: In time order.
        min_count: See above; 0 keeps cold users and items.
    """
    users = interactions.user_codes
    last = np.full(len(interactions.user_ids), -1, np.int64)
    last[users] = np.arange(len(users))  # Each user's latest is written last, and stays.
    is_last = np.zeros(len(users), bool)
    is_last[last[(last >= 0) & (np.bincount(users, minlength=len(last)) > 1)]] = True
    is_kept = _is_kept(interactions, ~is_last, min_count)
    return Split(np.flatnonzero(is_kept & ~is_last), np.flatnonzero(is_kept & is_last))


def cold_users(interactions: Interactions, split: Split, min_count: int = 5) -> Bools:
    """Return whether each user has fewer than ``min_count`` interactions in the training set, bool ``[num_users]``."""
    counts = np.bincount(interactions.user_codes[split.train], minlength=len(interactions.user_ids))
    return counts < min_count


def cold_items(interactions: Interactions, split: Split, min_count: int = 5) -> Bools:
    """Return whether each item has fewer than ``min_count`` interactions in the training set, bool ``[num_items]``."""
    counts = np.bincount(interactions.item_codes[split.train], minlength=len(interactions.item_ids))
    return counts < min_count


def _is_kept(interactions: Interactions, is_train: Bools, min_count: int) -> Bools:
    """Return whether user and item of each interaction are frequent enough in the training set, bool ``[n]``."""
    users = interactions.user_codes.astype(np.int64)
    items = interactions.item_codes.astype(np.int64)
    num_items = len(interactions.item_ids)
    pairs = np.unique(users[is_train] * num_items + items[is_train])
    is_item = np.bincount(pairs % num_items, minlength=num_items) >= min_count
    pairs = pairs[is_item[pairs % num_items]]
    is_user = np.bincount(pairs // num_items, minlength=len(interactions.user_ids)) >= min_count
    # Both must be kept: interactions of kept users with dropped items are dropped too.
    is_kept: Bools = is_user[users] & is_item[items]
    return is_kept
