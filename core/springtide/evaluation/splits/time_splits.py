"""Cutting a data set: by time for every user at the same moment, once or walking forward, or by each user's last."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.events.model import Interactions

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of interactions, oldest first.

    Attributes:
        train: int64 ``[num_train]``.
        test: int64 ``[num_test]``; what is asked for.
        validation: int64 ``[num_validation]``, between the two, to choose settings on; None where there is none.
    """

    train: Int64s
    test: Int64s
    validation: Int64s | None = None


def global_time_split(interactions: Interactions, test_share: float = 0.1, min_count: int = 5) -> Split:
    """Cut at one moment: the last ``test_share`` of the interactions are the test part.

    Then, in the train part, items need ``min_count`` distinct users, and users ``min_count`` distinct items that are
    left; what else is dropped from both parts. Whoever has no past cannot be ranked for.

    Args:
        interactions: In time order.
        test_share: Between 0 and 1.
        min_count: 0 to keep the cold users and items: see ``cold_users``.
    """
    cut = int(len(interactions) * (1.0 - test_share))
    is_kept = _is_kept(interactions, np.arange(len(interactions)) < cut, min_count)
    kept = np.flatnonzero(is_kept)
    return Split(kept[kept < cut], kept[kept >= cut])


def walk_forward_splits(
    interactions: Interactions, base_share: float = 0.6, block_share: float = 0.1, min_count: int = 5
) -> list[Split]:
    """Cut again and again, each time a block later.

    For each block, all that comes before it is the train part, its first half is for validation, its second for the
    test. Users and items are dropped as ``global_time_split`` drops them, anew for each block.

    Args:
        interactions: In time order.
        base_share: The share before the first block, between 0 and 1.
        block_share: Of each block; what is left at the end and smaller than a block is not used.
        min_count: 0 to keep the cold users and items: see ``cold_users``.

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
    """Test on each user's last interaction, and train on all others: only to compare with papers that do.

    It leaks the future: what some users do later is trained on, and what others did earlier is asked for. Popularity
    and trends of a time yet to come are thereby known, so figures come out higher than any service will see. Users and
    items are dropped as ``global_time_split`` drops them; of users with one interaction nothing is asked.

    Args:
        interactions: In time order.
        min_count: 0 to keep the cold users and items: see ``cold_users``.
    """
    users = interactions.user_codes
    last = np.full(len(interactions.user_ids), -1, np.int64)
    last[users] = np.arange(len(users))  # Of several, the last one written stays: the latest.
    is_last = np.zeros(len(users), bool)
    is_last[last[(last >= 0) & (np.bincount(users, minlength=len(last)) > 1)]] = True
    is_kept = _is_kept(interactions, ~is_last, min_count)
    return Split(np.flatnonzero(is_kept & ~is_last), np.flatnonzero(is_kept & is_last))


def cold_users(interactions: Interactions, split: Split, min_count: int = 5) -> Bools:
    """Return which users have fewer than ``min_count`` interactions in the train part, bool ``[num_users]``."""
    counts = np.bincount(interactions.user_codes[split.train], minlength=len(interactions.user_ids))
    return counts < min_count


def cold_items(interactions: Interactions, split: Split, min_count: int = 5) -> Bools:
    """Return which items have fewer than ``min_count`` interactions in the train part, bool ``[num_items]``."""
    counts = np.bincount(interactions.item_codes[split.train], minlength=len(interactions.item_ids))
    return counts < min_count


def _is_kept(interactions: Interactions, is_train: Bools, min_count: int) -> Bools:
    """Return which interactions are of users and items that the train part has enough of, bool ``[n]``."""
    users = interactions.user_codes.astype(np.int64)
    items = interactions.item_codes.astype(np.int64)
    num_items = len(interactions.item_ids)
    pairs = np.unique(users[is_train] * num_items + items[is_train])
    is_item = np.bincount(pairs % num_items, minlength=num_items) >= min_count
    pairs = pairs[is_item[pairs % num_items]]
    is_user = np.bincount(pairs // num_items, minlength=len(interactions.user_ids)) >= min_count
    # A user can be kept whose interactions are with dropped items only: those are not in the train part either.
    is_kept: Bools = is_user[users] & is_item[items]
    return is_kept
