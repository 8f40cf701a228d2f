"""Ranking metrics under full ranking: no sampled candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]

KS = (5, 10, 20)
"""Lengths of the list that are looked at."""


@dataclass(frozen=True, slots=True)
class RankingMetrics:
    """Means over users.

    Attributes:
        ndcg: Normalised discounted cumulative gain; the ideal has min(k, number of relevant items) hits on top.
        recall: Hits over min(k, number of relevant items).
        num_users: Users with at least one relevant item.
    """

    ndcg: float
    recall: float
    num_users: int


def ranking_metrics(is_hit: npt.NDArray[np.bool_], num_relevant: npt.NDArray[np.int64]) -> RankingMetrics:
    """Return the metrics at k of some users' answers.

    Args:
        is_hit: bool ``[num_users, k]``, whether the item at each place, the best first, is relevant.
        num_relevant: int64 ``[num_users]``, how many items are relevant; users with none are left out.
    """
    has_any = num_relevant > 0
    k = is_hit.shape[1]
    of_each = metrics_of_each(is_hit[has_any], num_relevant[has_any], (k,))
    means = means_of({name: of_each[f"{name}@{k}"] for name in ("ndcg", "recall")})
    return RankingMetrics(means["ndcg"], means["recall"], int(has_any.sum()))


def metrics_of_each(
    is_hit: npt.NDArray[np.bool_], num_relevant: npt.NDArray[np.int64], ks: Sequence[int] = KS
) -> dict[str, Float64s]:
    """Return the metrics of each question, by names such as ``ndcg@20``, float64 ``[n]`` each.

    With binary relevance, and ``most`` = min(k, number of relevant items), which is what a list of k can hold:

    - ``ndcg@k``: Σ 1/log2(1 + place) over the hits, by that of ``most`` hits on top. Järvelin & Kekäläinen 2002.
    - ``recall@k``: hits / ``most``, which is 1 for the best list there can be.
    - ``mrr@k``: 1 / place of the first hit, 0 without one. Voorhees 1999.
    - ``hit@k``: 1 with a hit, otherwise 0.
    - ``map@k``: mean, over ``most``, of the precision at the place of each hit. Buckley & Voorhees 2000, cut at k.

    Args:
        is_hit: bool ``[n, depth]``, whether the item at each place, the best first, is relevant.
        num_relevant: int64 ``[n]``, how many items are relevant, at least 1.
        ks: Each at most ``depth``.

    Raises:
        ValueError: If to some question nothing is relevant, or the lists are shorter than a k.
    """
    depth = is_hit.shape[1]
    if len(is_hit) != len(num_relevant) or np.any(num_relevant < 1):
        raise ValueError("wanted a number of relevant items for each question, all at least 1")
    if wrong := [k for k in ks if not 1 <= k <= depth]:
        raise ValueError(f"wanted k of 1 to {depth}, the length of the lists, got {wrong[0]}")
    places = np.arange(1, depth + 1)
    discounts = 1.0 / np.log2(places + 1.0)
    ideals = np.cumsum(discounts)
    hits = is_hit.astype(np.float64)
    num_hits = np.cumsum(is_hit, 1, dtype=np.int32)
    precisions = hits * num_hits / places
    first = np.where(num_hits[:, -1] > 0, is_hit.argmax(1) + 1, depth + 1)  # 1-based
    found: dict[str, Float64s] = {}
    for k in ks:
        most = np.minimum(num_relevant, k)
        found[f"ndcg@{k}"] = hits[:, :k] @ discounts[:k] / ideals[most - 1]
        found[f"recall@{k}"] = num_hits[:, k - 1] / most
        found[f"mrr@{k}"] = np.where(first <= k, 1.0 / first, 0.0)
        found[f"hit@{k}"] = (first <= k).astype(np.float64)
        found[f"map@{k}"] = precisions[:, :k].sum(1) / most
    return found


def metrics_of_ranks(ranks: npt.NDArray[np.int64], ks: Sequence[int] = KS) -> dict[str, Float64s]:
    """Return the metrics of each question with one true item, float64 ``[n]`` each.

    They are what ``metrics_of_each`` gives for one relevant item; ``mrr`` is not cut.

    Args:
        ranks: int64 ``[n]``, the place of the true item among all, from 1.
        ks: Lengths of the list.

    Raises:
        ValueError: If a rank is below 1.
    """
    if np.any(ranks < 1):
        raise ValueError(f"wanted ranks from 1, got {ranks.min()}")
    found = {"mrr": 1.0 / ranks}
    for k in ks:
        found[f"hit@{k}"] = (ranks <= k).astype(np.float64)
        found[f"ndcg@{k}"] = np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)
    return found


def means_of(of_each: Mapping[str, Float64s]) -> dict[str, float]:
    """Return the mean over the questions of each metric; 0 where there are no questions."""
    return {name: float(values.mean()) if len(values) else 0.0 for name, values in of_each.items()}
