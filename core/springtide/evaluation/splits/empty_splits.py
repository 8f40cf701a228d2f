"""Why a split has nothing to train on, or nothing to test on: the rule that left nothing, with its numbers."""

import numpy as np

from springtide.evaluation.splits.time_splits import Split
from springtide.event_files.times import in_words
from springtide.events.model import Interactions


def why_empty(interactions: Interactions, undropped: Split, min_count: int = 5) -> str:
    """Return which rule left nothing on one side of a split, in words with numbers.

    Args:
        interactions: All interactions.
        undropped: The same split with all users and items.
        min_count: Users that an item needs, and items that a user needs, in the training part; 0 if none is dropped.
    """
    num_train, num_test = len(undropped.train), len(undropped.test)
    all_of_them = "1 interaction" if len(interactions) == 1 else f"{len(interactions):,} interactions"
    parts = f"of {all_of_them}, {num_train:,} are for training and {num_test:,} for the test"
    if not num_train or not num_test:
        return f"{parts}: too few for this split"
    is_train = np.zeros(len(interactions), bool)
    is_train[undropped.train] = True
    users, items = interactions.user_codes.astype(np.int64), interactions.item_codes.astype(np.int64)
    num_items = len(interactions.item_ids)
    pairs = np.unique(users[is_train] * num_items + items[is_train])
    users_of_item = np.bincount(pairs % num_items, minlength=num_items)
    is_item = users_of_item >= min_count
    items_of_user = np.bincount(pairs[is_item[pairs % num_items]] // num_items, minlength=len(interactions.user_ids))
    is_user = items_of_user >= min_count
    if not is_item.any():
        rule = (
            f"an item needs {min_count} users in the training part, and none of {num_items:,} has them (the most that "
            f"one has is {users_of_item.max():,})"
        )
    elif not is_user.any():
        rule = (
            f"a user needs {min_count} items in the training part that have {min_count} users each ({is_item.sum():,} "
            f"of {num_items:,} do), and none of {len(is_user):,} has them (the most that one has is "
            f"{items_of_user.max():,})"
        )
    else:
        rule = (
            f"{is_user.sum():,} of {len(is_user):,} users have {min_count} items in the training part, and "
            f"{is_item.sum():,} of {num_items:,} items {min_count} users; of these none meet in the test part"
        )
    return f"{parts}; {rule}"


def note_on_times(interactions: Interactions) -> str:
    """Return what to say of interactions that all have one time; empty if they do not."""
    times = interactions.timestamps_ms
    if len(times) < 2 or times[0] != times[-1]:
        return ""
    return (
        f"all {len(times):,} interactions have one time, {in_words(int(times[0]))}: they are split in the order of the "
        "file, not in time"
    )
