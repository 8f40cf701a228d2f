"""Ranking metrics under full ranking: every item is a candidate, none is sampled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]

K = 20
"""Length of the ranked lists, and the k of the metrics that decide: NDCG@20, Recall@20."""

KS = (5, 10, K)
"""Every k that metrics are computed for."""


@dataclass(frozen=True, slots=True)
class RankingMetrics:
    """Means over users.

    Attributes:
        ndcg: Normalised discounted cumulative gain; the ideal list has min(k, number of relevant items) hits on top.
        recall: Hits over min(k, number of relevant items).
        num_users: Number of users with at least one relevant item.
    """

    ndcg: float
    recall: float
    num_users: int


def discounts(length: int) -> Float64s:
    """Return what a hit at each rank adds to DCG, float64 ``[length]``: 1 / log2(1 + rank), ranks from 1."""
    values: Float64s = 1.0 / np.log2(np.arange(1, length + 1) + 1.0)
    return values


def ndcg_of_ranks(ranks: npt.NDArray[np.int64], k: int = K) -> Float64s:
    """Return NDCG@k of queries with one relevant item each, float64 ``[n]``: 1 / log2(1 + rank), 0 beyond k.

    Args:
        ranks: int64 ``[n]``, rank of the relevant item, from 1.
        k: Length of the list.
    """
    values: Float64s = np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)
    return values


def ranking_metrics(is_hit: npt.NDArray[np.bool_], num_relevant: npt.NDArray[np.int64]) -> RankingMetrics:
    """Return mean NDCG@k and Recall@k of the ranked lists of some users; k is the length of the lists.

    Args:
        is_hit: bool ``[num_users, k]``, whether the item at each rank is relevant, the best rank first.
        num_relevant: int64 ``[num_users]``, number of relevant items; users with none are left out.
    """
    has_any = num_relevant > 0
    k = is_hit.shape[1]
    per_user = metrics_of_each(is_hit[has_any], num_relevant[has_any], (k,))
    means = means_of({name: per_user[f"{name}@{k}"] for name in ("ndcg", "recall")})
    return RankingMetrics(means["ndcg"], means["recall"], int(has_any.sum()))


def metrics_of_each(
    is_hit: npt.NDArray[np.bool_], num_relevant: npt.NDArray[np.int64], ks: Sequence[int] = KS
) -> dict[str, Float64s]:
    """Return the metrics of each query, by names such as ``ndcg@20``, float64 ``[n]`` each.

    Relevance is binary. ``best`` = min(k, number of relevant items) is the largest number of hits that a list of
    length k can have.

    - ``ndcg@k``: Σ 1/log2(1 + rank) over the hits, divided by the same sum for ``best`` hits on top.
      Järvelin & Kekäläinen 2002.
    - ``recall@k``: hits / ``best``, so that the best possible list has 1.
    - ``mrr@k``: 1 / rank of the first hit, 0 without a hit. Voorhees 1999.
    - ``hit@k``: 1 with a hit, otherwise 0.
    - ``map@k``: sum of the precisions at the ranks of the hits, divided by ``best``. Buckley & Voorhees 2000, cut at k.

    Args:
        is_hit: bool ``[n, depth]``, whether the item at each rank is relevant, the best rank first.
        num_relevant: int64 ``[n]``, number of relevant items, at least 1.
        ks: Each 1 to ``depth``.

    Raises:
        ValueError: If a query has no relevant item, or the lists are shorter than a k.
    """
    depth = is_hit.shape[1]
    if len(is_hit) != len(num_relevant) or np.any(num_relevant < 1):
        raise ValueError("wanted a number of relevant items for each query, all at least 1")
    if wrong := [k for k in ks if not 1 <= k <= depth]:
        raise ValueError(f"wanted k of 1 to {depth}, the length of the lists, got {wrong[0]}")
    ranks = np.arange(1, depth + 1)
    gains = discounts(depth)
    ideals = np.cumsum(gains)
    hits = is_hit.astype(np.float64)
    num_hits = np.cumsum(is_hit, 1, dtype=np.int32)
    precisions = hits * num_hits / ranks
    first = np.where(num_hits[:, -1] > 0, is_hit.argmax(1) + 1, depth + 1)  # Rank of the first hit.
    metrics: dict[str, Float64s] = {}
    for k in ks:
        best = np.minimum(num_relevant, k)
        metrics[f"ndcg@{k}"] = hits[:, :k] @ gains[:k] / ideals[best - 1]
        metrics[f"recall@{k}"] = num_hits[:, k - 1] / best
        metrics[f"mrr@{k}"] = np.where(first <= k, 1.0 / first, 0.0)
        metrics[f"hit@{k}"] = (first <= k).astype(np.float64)
        metrics[f"map@{k}"] = precisions[:, :k].sum(1) / best
    return metrics


def metrics_of_ranks(ranks: npt.NDArray[np.int64], ks: Sequence[int] = KS) -> dict[str, Float64s]:
    """Return the metrics of queries with one relevant item each, float64 ``[n]`` each.

    They equal those of ``metrics_of_each`` for one relevant item; ``mrr`` has no cut-off.

    Args:
        ranks: int64 ``[n]``, rank of the relevant item among all candidates, from 1.
        ks: Lengths of the list.

    Raises:
        ValueError: If a rank is below 1.
    """
    if np.any(ranks < 1):
        raise ValueError(f"wanted ranks from 1, got {ranks.min()}")
    metrics = {"mrr": 1.0 / ranks}
    for k in ks:
        metrics[f"hit@{k}"] = (ranks <= k).astype(np.float64)
        metrics[f"ndcg@{k}"] = ndcg_of_ranks(ranks, k)
    return metrics


def means_of(per_query: Mapping[str, Float64s]) -> dict[str, float]:
    """Return the mean over the queries of each metric; 0 where there are no queries."""
    return {name: float(values.mean()) if len(values) else 0.0 for name, values in per_query.items()}
