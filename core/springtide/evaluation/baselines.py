"""The simplest things that a model must beat: what is popular, what lately was, and what a user has again and again."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.evaluation.splits import Split
from springtide.events.model import Interactions

K = 20

RankItems = Callable[[npt.NDArray[np.int64], bool], npt.NDArray[np.int64]]
"""From users (codes, int64 ``[n]``), and whether to leave out what they had, to item codes int64 ``[n, K]``.

The best come first; -1 where there are no more."""

POPULARITY = "popularity"
LATE_POPULARITY = "popularity, last 28 days"
OWN_COUNTS = "own counts, then popularity"
BASELINES = (POPULARITY, LATE_POPULARITY, OWN_COUNTS)
"""Names, in the order of our tables."""


def make_baseline(name: str, interactions: Interactions, split: Split) -> RankItems:
    """Count the train part.

    Args:
        name: One of ``BASELINES``.
        interactions: In time order.
        split: Which of them may be looked at.
    """
    users = interactions.user_codes[split.train].astype(np.int64)
    items = interactions.item_codes[split.train].astype(np.int64)
    num_items = len(interactions.item_ids)
    pairs, counts = np.unique(users * num_items + items, return_counts=True)
    first_pair = np.searchsorted(pairs // num_items, np.arange(len(interactions.user_ids) + 1))
    own_counts: npt.NDArray[np.int64] | None = None
    if name == LATE_POPULARITY:
        times = interactions.timestamps_ms[split.train]
        items = items[times > times[-1] - 28 * MS_PER_DAY]
        shared = np.bincount(items, minlength=num_items).astype(np.float64)
    else:
        shared = np.bincount(pairs % num_items, minlength=num_items).astype(np.float64)  # Users of each item.
    if name == OWN_COUNTS:
        shared /= shared.max() + 1.0  # Below one: it decides only between items that the user had equally often.
        own_counts = counts

    def rank(asked: npt.NDArray[np.int64], is_new_only: bool) -> npt.NDArray[np.int64]:
        count = min(K, num_items)
        ranked = np.full((len(asked), K), -1, np.int64)
        for position, user in enumerate(asked):
            mine = slice(first_pair[user], first_pair[user + 1])
            scores = shared.copy()
            if is_new_only:
                scores[pairs[mine] % num_items] = -1.0
            elif own_counts is not None:
                scores[pairs[mine] % num_items] += own_counts[mine]
            best = np.argpartition(-scores, count - 1)[:count]
            ranked[position, :count] = best[np.argsort(-scores[best], kind="stable")]
        return ranked

    return rank
