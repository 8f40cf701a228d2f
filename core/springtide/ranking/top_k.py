"""The best items by their scores, and the rank of a given item."""

import heapq
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from springtide.ids import IdMap

Array = npt.NDArray[np.float32]


def best_of(scores: Array, counts: Sequence[int], ids: IdMap) -> list[tuple[npt.NDArray[np.int64], list[str]]]:
    """Return the rows and the ids of the items with the highest finite scores, best first, for each query.

    Items that are forgotten at this moment are left out, even if their scores are finite. Items of equal scores are in
    the order of their ids, so that two servers that read the same events in another order give the same answer.

    Args:
        scores: float32 ``[num_queries, num_items]``; scores of forgotten items may be overwritten.
        counts: The most items to return for each query.
        ids: Ids of the items.
    """
    # One more than is wanted: it tells whether the last ones have to be chosen among items of equal scores.
    values, rows_of_best = torch.topk(torch.from_numpy(scores), min(max(counts, default=0) + 1, scores.shape[1]))
    top = []
    for position, (count, of_query) in enumerate(zip(counts, rows_of_best.numpy(), strict=True)):
        rows, names = _in_order(scores[position], values[position].numpy(), of_query, count, ids)
        while not all(names):
            # Some were forgotten after the scores were made, which is rare: the search is repeated without them.
            scores[position, rows[[not name for name in names]]] = -np.inf
            again, found = torch.topk(torch.from_numpy(scores[position]), min(count + 1, scores.shape[1]))
            rows, names = _in_order(scores[position], again.numpy(), found.numpy(), count, ids)
        top.append((rows, names))
    return top


def _in_order(
    scores: Array, values: Array, rows: npt.NDArray[np.int64], count: int, ids: IdMap
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the best rows and their ids, those of equal scores in the order of their ids.

    Args:
        scores: float32 ``[num_items]``.
        values: float32 ``[m]``, the highest scores, descending; more than ``count`` of them if there are more.
        rows: int64 ``[m]``, their rows.
        count: The most rows to return.
        ids: Ids of the items.
    """
    if 0 < count < len(values) and values[count - 1] == values[count] and np.isfinite(values[count]):
        better, equal = rows[values > values[count]], np.flatnonzero(scores == values[count])
        names = ids.ids(equal)  # A forgotten item has no name; it comes first, so that the caller meets it.
        chosen = heapq.nsmallest(count - len(better), range(len(equal)), key=names.__getitem__)
        rows = np.concatenate([better, equal[chosen]])
    else:
        rows = rows[:count][np.isfinite(values[:count])]
    values, names = scores[rows], ids.ids(rows)
    if (values[1:] == values[:-1]).any():
        order = sorted(range(len(rows)), key=lambda index: (-values[index], names[index]))
        return rows[order], [names[index] for index in order]
    return rows, names


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
