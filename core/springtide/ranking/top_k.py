"""The best items by their scores, and the rank of a given item."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from springtide.ids import IdMap

Array = npt.NDArray[np.float32]


def best_of(scores: Array, counts: Sequence[int], ids: IdMap) -> list[tuple[npt.NDArray[np.int64], list[str]]]:
    """Return the rows and the ids of the items with the highest finite scores, best first, for each query.

    Items that are forgotten at this moment are left out, even if their scores are finite.

    Args:
        scores: float32 ``[num_queries, num_items]``; scores of forgotten items may be overwritten.
        counts: The most items to return for each query.
        ids: Ids of the items.
    """
    values, rows_of_best = torch.topk(torch.from_numpy(scores), min(max(counts, default=0), scores.shape[1]))
    top = []
    for position, (count, of_query) in enumerate(zip(counts, rows_of_best.numpy(), strict=True)):
        rows = of_query[:count][np.isfinite(values[position, :count].numpy())]
        names = ids.ids(rows)
        while not all(names):
            # Some were forgotten after the scores were made, which is rare: the search is repeated without them.
            scores[position, rows[[not name for name in names]]] = -np.inf
            again, found = torch.topk(torch.from_numpy(scores[position]), min(count, scores.shape[1]))
            rows = found[torch.isfinite(again)].numpy()
            names = ids.ids(rows)
        top.append((rows, names))
    return top


def ranks_of(scores: Array, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return the rank of one item in each row of scores, int64 ``[n]``, 1 for the best.

    Items of equal scores share the middle one of their ranks. An item that is not ranked has rank ``num_items + 1``.

    Args:
        scores: float32 ``[n, num_items]``, ``-inf`` for items that are not ranked.
        rows: int32 ``[n]``; an item without a column (-1, or past the last) is not ranked.
    """
    num_items = scores.shape[1]
    ranks = np.full(len(rows), num_items + 1, np.int64)
    for position, (of_query, row) in enumerate(zip(scores, rows.tolist(), strict=True)):
        if 0 <= row < num_items and np.isfinite(of_query[row]):
            num_higher = np.count_nonzero(of_query > of_query[row])
            num_equal = np.count_nonzero(of_query == of_query[row])
            ranks[position] = 1 + num_higher + (num_equal - 1) // 2
    return ranks
