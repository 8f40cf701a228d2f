"""Metrics beyond accuracy: coverage of the catalogue, evenness, novelty and diversity."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions

_LISTS_AT_ONCE = 2_048  # Of 20 vectors of 64: 10 MB.

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]


def beyond_accuracy(
    ranked: Int64s,
    popularity: Int64s,
    num_users: int,
    *,
    groups: Int64s | None = None,
    vectors: Float32s | None = None,
) -> dict[str, float]:
    """Return the metrics below of some ranked lists, by name.

    Args:
        ranked: int64 ``[n, k]``, item codes of each list, the best first; -1 where the list is shorter.
        popularity: int64 ``[num_items]``, number of users of each item; items without users are not in the catalogue.
        num_users: Number of users.
        groups: int64 ``[num_items]``, from ``item_groups``; without them, ``diversity`` is left out.
        vectors: float32 ``[num_items, width]``; without them, ``vector_diversity`` is left out.
    """
    num_catalogue = int((popularity > 0).sum())
    metrics = {
        "coverage": coverage(ranked, num_catalogue),
        "gini": gini(ranked, num_catalogue),
        "popularity_rank": popularity_rank(ranked, popularity),
        "novelty": novelty(ranked, popularity, num_users),
    }
    if groups is not None:
        metrics["diversity"] = group_diversity(ranked, groups)
    if vectors is not None:
        metrics["vector_diversity"] = vector_diversity(ranked, vectors)
    return metrics


def coverage(ranked: Int64s, num_catalogue: int) -> float:
    """Return the share of the catalogue that is in at least one list; Ge, Delgado-Battenfeld & Jannach 2010."""
    return len(_exposures(ranked)) / num_catalogue if num_catalogue else 0.0


def gini(ranked: Int64s, num_catalogue: int) -> float:
    """Return how unevenly the catalogue is shown: 0 if all items are shown equally often, near 1 if only one is shown.

    This is the Gini index of the number of lists that each item is in, 0 for items never shown; Fleder & Hosanagar
    2009.
    """
    shown = np.sort(_exposures(ranked))
    if len(shown) == 0:
        return 0.0
    ranks = np.arange(num_catalogue - len(shown), num_catalogue) + 1  # Items never shown come first, and add nothing.
    return float(((2 * ranks - num_catalogue - 1) * shown).sum() / (num_catalogue * shown.sum()))


def popularity_rank(ranked: Int64s, popularity: Int64s) -> float:
    """Return the mean popularity rank of the shown items: 1 is the most popular item; ties share their mean rank."""
    shown = ranked[ranked >= 0]
    return float(stats.rankdata(-popularity)[shown].mean()) if len(shown) else 0.0


def novelty(ranked: Int64s, popularity: Int64s, num_users: int) -> float:
    """Return the mean self-information of the shown items, in bits: log2(number of users / users of the item).

    Zhou et al. 2010, Solving the apparent diversity-accuracy dilemma of recommender systems. An item without users
    counts as if it had one.
    """
    shown = ranked[ranked >= 0]
    return float(np.log2(num_users / np.maximum(popularity[shown], 1)).mean()) if len(shown) else 0.0


def group_diversity(ranked: Int64s, groups: Int64s) -> float:
    """Return the share of pairs of items in a list that are of different groups, a mean over the lists.

    This is 1 minus the intra-list similarity of Ziegler et al. 2005, with "same group" as the similarity. An item
    without a group (-1) differs from every other; lists with fewer than two items are left out.
    """
    item_group = np.where(ranked >= 0, groups[ranked], -1)
    num_shown = (ranked >= 0).sum(1)
    num_pairs = num_shown * (num_shown - 1) / 2
    num_same = np.zeros(len(ranked))
    for distance in range(1, ranked.shape[1]):
        is_same = (item_group[:, distance:] == item_group[:, :-distance]) & (item_group[:, distance:] >= 0)
        num_same += is_same.sum(1)
    has_pairs = num_pairs > 0
    return float((1 - num_same[has_pairs] / num_pairs[has_pairs]).mean()) if has_pairs.any() else 0.0


def vector_diversity(ranked: Int64s, vectors: Float32s) -> float:
    """Return the mean of 1 − cosine over the pairs of items in a list, a mean over the lists.

    This is 1 minus the intra-list similarity of Ziegler et al. 2005; lists with fewer than two items are left out.
    """
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    is_shown = ranked >= 0
    num_shown = is_shown.sum(1)
    cosines = np.empty(len(ranked))
    for first in range(0, len(ranked), _LISTS_AT_ONCE):
        chunk = slice(first, first + _LISTS_AT_ONCE)
        lists = np.where(is_shown[chunk, :, None], units[ranked[chunk]], 0.0)  # [lists, k, width]
        # The squared sum of unit vectors is the sum of all cosines: each vector with itself, and each pair twice.
        cosines[chunk] = ((lists.sum(1) ** 2).sum(1) - (lists**2).sum((1, 2))) / 2
    num_pairs = num_shown * (num_shown - 1) / 2
    has_pairs = num_pairs > 0
    return float((1 - cosines[has_pairs] / num_pairs[has_pairs]).mean()) if has_pairs.any() else 0.0


def item_popularity(interactions: Interactions, split: Split) -> Int64s:
    """Return the number of users of each item in the training set, int64 ``[num_items]``."""
    num_items = len(interactions.item_ids)
    pairs = np.unique(
        interactions.user_codes[split.train].astype(np.int64) * num_items + interactions.item_codes[split.train]
    )
    return np.bincount(pairs % num_items, minlength=num_items)


def item_groups(dataset: Dataset, names: Sequence[str]) -> Int64s:
    """Return the group of each item, int64 ``[num_items]``; -1 for items without a group.

    Args:
        dataset: Its upserts hold the attributes.
        names: Names of attributes, such as ``settings.ranking.item_groups``. The first one that any item has is used;
            where an item has several values, the first counts.
    """
    codes = np.full(len(dataset.interactions.item_ids), -1, np.int64)
    code_of_item = {item_id: code for code, item_id in enumerate(dataset.interactions.item_ids)}
    items = [node for node in dataset.upserts if node.node_type == "item" and node.node_id in code_of_item]
    name = next((name for name in names if any(node.categories.get(name) for node in items)), None)
    if name is None:
        return codes
    code_of_group: dict[str, int] = {}
    for node in items:
        if values := node.categories.get(name):
            codes[code_of_item[node.node_id]] = code_of_group.setdefault(values[0], len(code_of_group))
    return codes


def _exposures(ranked: Int64s) -> Int64s:
    """Return the number of lists that each shown item is in, int64 ``[num_shown]``."""
    counts: Int64s = np.unique(ranked[ranked >= 0], return_counts=True)[1]
    return counts
