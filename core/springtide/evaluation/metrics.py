"""Ranking metrics under full ranking: no sampled candidates."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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

    Järvelin & Kekäläinen 2002 for NDCG, with binary relevance.

    Args:
        is_hit: bool ``[num_users, k]``, whether the item at each place, the best first, is relevant.
        num_relevant: int64 ``[num_users]``, how many items are relevant; users with none are left out.
    """
    has_any = num_relevant > 0
    is_hit, num_relevant = is_hit[has_any], num_relevant[has_any]
    if len(is_hit) == 0:
        return RankingMetrics(0.0, 0.0, 0)
    k = is_hit.shape[1]
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    most = np.minimum(num_relevant, k)
    ideal = np.cumsum(discounts)[most - 1]
    ndcg = (is_hit * discounts).sum(1) / ideal
    recall = is_hit.sum(1) / most
    return RankingMetrics(float(ndcg.mean()), float(recall.mean()), len(is_hit))
